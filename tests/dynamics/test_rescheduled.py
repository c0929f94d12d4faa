from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import ZeroTerminal, gaussian_diffusion
from unigen.dynamics.prediction import Eps
from unigen.dynamics.rescheduled import Rescheduled, match_snr
from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.dynamics.variance_exploding import VE, SubVP
from unigen.errors import ArgumentError
from unigen.models.diffusion import Diffusion
from unigen.samplers.dpm_solver import DPMSolver

SOURCE = LogLinearSNR(1e4, 1e-4)
TARGETS = [VPCosine(1e3, 1e-3), VE(0.02, 60.0), VPLinear(1.0, 9.0), SubVP(1.0, 4.0)]


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_marginals_are_equal_after_the_change_of_time_and_scale(target):
    """c z_source(t') has the mean c alpha_source and deviation c sigma_source of z_target(t)."""
    t = torch.linspace(0.05, 1.0, 21, dtype=torch.float64)
    time, scale = match_snr(SOURCE, target, t)
    torch.testing.assert_close(scale * SOURCE.alpha(time), target.alpha(t), rtol=1e-9, atol=0)
    torch.testing.assert_close(scale * SOURCE.sigma(time), target.sigma(t), rtol=1e-9, atol=0)


def test_there_and_back_is_the_identity():
    t = torch.linspace(0.05, 1.0, 21, dtype=torch.float64)
    time, scale = match_snr(SOURCE, VPCosine(1e3, 1e-3), t)
    again, inverse = match_snr(VPCosine(1e3, 1e-3), SOURCE, time)
    torch.testing.assert_close(again, t, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(scale * inverse, torch.ones_like(t))


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_the_rescheduled_network_is_optimal_for_the_new_schedule(target):
    old = gaussian_diffusion(SOURCE, mean=0.4, std=0.5)
    best = gaussian_diffusion(target, mean=0.4, std=0.5, start=0.1)
    z, t = torch.randn(9, 1, dtype=torch.float64), torch.linspace(0.1, 1.0, 9, dtype=torch.float64)
    ours = Rescheduled(old.denoiser, target, start=0.1)(z, t)
    torch.testing.assert_close(ours, best.denoiser(z, t)[1], rtol=1e-8, atol=1e-8)


def test_an_exponential_integrator_draws_the_same_under_both():
    """DPM-Solver sees λ alone: with the same ends of the SNR and the same noise, draws are equal."""
    wanted = VPCosine(1e4, 1e-4)
    old = gaussian_diffusion(SOURCE, mean=0.4, std=0.5)
    new = Diffusion(1, network=Rescheduled(old.denoiser, wanted), schedule=wanted, prediction=Eps()).double()
    z = torch.randn(9, 1, dtype=torch.float64)
    one, other = (DPMSolver(8).push(program, z) for program in (old, new))
    torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


def test_noise_that_the_source_never_met_is_refused():
    with pytest.raises(ArgumentError, match="log SNR"):
        match_snr(LogLinearSNR(10.0, 0.1), VPCosine(), 0.9)
    old = gaussian_diffusion(VPLinear(), start=0.1)
    with pytest.raises(ArgumentError, match="larger start"):
        Rescheduled(old.denoiser, VPCosine(math.exp(9), math.exp(-9)))
    assert Rescheduled(old.denoiser, VPCosine(math.exp(9), math.exp(-9)), start=0.5).start == 0.5


def test_no_signal_at_the_end_is_no_level_of_any_other_schedule():
    with pytest.raises(ArgumentError, match="never has this log SNR"):
        match_snr(LogLinearSNR(), ZeroTerminal(), torch.tensor([0.5, 1.0], dtype=torch.float64))
    time, _ = match_snr(ZeroTerminal(), LogLinearSNR(50.0, 0.1), 1.0)
    assert float(ZeroTerminal().log_snr(time)) == pytest.approx(math.log(0.1), abs=1e-5)
