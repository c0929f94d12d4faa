"""Relation 13: the worked example, programs, conversion, and the identity broken on purpose."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests.diffusion_problems import gaussian_ddpm, gaussian_diffusion
from unigen.dynamics.schedule import LogLinearSNR
from unigen.errors import UnsupportedQueryError
from unigen.models.ddpm import DDPM
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.relations.diffusion_hierarchy import STEPS, DiffusionHierarchy

RELATION = DiffusionHierarchy()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["terms"] == pytest.approx(
        {5: 24.956, 10: 9.3197, 50: 4.7983, 100: 4.4562}, rel=2e-5
    )
    assert evidence.details["limit"] == pytest.approx(4.146950, abs=1e-6)


def test_other_parameters():
    assert RELATION.check(std=0.5, snr=(50.0, 1e-2), steps=(3, 30), draws=20_000).holds


class ReverseWeight(DiffusionHierarchy):
    """Takes the ratio of the SNRs the other way round: a lower sum."""

    def step_weight(self, log_snr_s, log_snr_t):
        return -0.5 * torch.expm1(log_snr_t - log_snr_s)


def test_a_broken_identity_fails():
    assert not ReverseWeight().check(draws=2000).holds


def test_on_programs_that_share_a_denoiser():
    diffusion = Diffusion(2, hidden=16, blocks=1)
    x = 2 * torch.randn(100, 2) + 1
    ug.fit(diffusion, x, steps=20, progress=False, compile=False)
    ddpm = ug.convert(diffusion, to="DDPM")
    assert isinstance(ddpm, DDPM)
    assert ddpm.denoiser.network is diffusion.denoiser.network
    assert (ddpm.steps, ddpm.fitted) == (STEPS, True)
    evidence = RELATION.check_programs(diffusion, ddpm, x)
    assert evidence.holds, evidence
    back = ug.convert(ddpm, to="Diffusion")
    torch.testing.assert_close(back.to_noise(x[:3]), diffusion.to_noise(x[:3]))


def test_conversion_keeps_context_dtype_and_units():
    diffusion = Diffusion(3, hidden=8, blocks=1, context=2, schedule=LogLinearSNR(50.0, 0.1)).double()
    diffusion.initialise(5 * torch.randn(20, 3, dtype=torch.float64))
    ddpm = RELATION.convert(diffusion, to="DDPM")
    assert (ddpm.context_features, ddpm.dtype) == (2, torch.float64)
    torch.testing.assert_close(ddpm.denoiser.scale, diffusion.denoiser.scale)
    assert ddpm.sample(2, context=torch.zeros(2, 2)).shape == (2, 3)


def test_programs_of_different_networks_are_refused():
    schedule = LogLinearSNR()
    a, b = gaussian_diffusion(schedule), gaussian_ddpm(schedule, 5)
    with pytest.raises(UnsupportedQueryError, match="one denoiser serves both"):
        RELATION.check_programs(a, b, torch.randn(4, 1))
    with pytest.raises(UnsupportedQueryError, match="a Diffusion or a DDPM"):
        RELATION.convert(PPCA(3, 1), to="DDPM")


def test_figure():
    axes = RELATION.figure(most=20).axes[0]
    heights = axes.lines[0].get_ydata()
    assert list(heights) == sorted(heights, reverse=True)
