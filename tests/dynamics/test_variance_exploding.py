from __future__ import annotations

import math

import pytest
import torch

import unigen as ug
from tests.diffusion_problems import gaussian_diffusion
from unigen.dynamics.schedule import VPLinear
from unigen.dynamics.variance_exploding import VE, SubVP
from unigen.samplers.edm import EDM


def test_noise_grows_geometrically_and_the_signal_stays():
    """In units of the data, z sigma_max = x + ς eps with ς from sigma_min to sigma_max."""
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    schedule = VE(0.01, 50.0)
    torch.testing.assert_close(schedule.alpha(t) * 50.0, torch.ones_like(t))
    torch.testing.assert_close(schedule.sigma(t) * 50.0, 0.01 * 5000.0**t, rtol=1e-12, atol=0)
    assert bool((schedule.drift_coefficient(t) == 0).all())


def test_less_noise_than_variance_preserving_with_the_same_signal():
    t = torch.linspace(1e-3, 1, 11, dtype=torch.float64)
    ours, theirs = SubVP(), VPLinear()
    torch.testing.assert_close(ours.alpha(t), theirs.alpha(t), rtol=1e-14, atol=0)
    torch.testing.assert_close(ours.sigma(t), theirs.sigma(t) ** 2, rtol=1e-13, atol=0)


@pytest.mark.parametrize(("schedule", "start"), [(VE(0.02, 80.0), None), (SubVP(), 1e-2)], ids=str)
def test_a_diffusion_of_gaussian_data_is_drawn_and_scored(schedule, start):
    """The flow is affine: x = m + (s_start / s_1) (z_1 − alpha_1 m) with s² = alpha² std² + sigma², z_1 ~ N(0, 1)."""
    m, n = -1.0, 20_000
    program = gaussian_diffusion(schedule, mean=m, std=0.5, start=start)
    ends = torch.tensor([program.denoiser.start, 1.0], dtype=torch.float64)
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    s = torch.sqrt(alpha**2 * 0.25 + sigma**2)
    ratio = float(s[0] / s[1] / alpha[0])
    truth = torch.distributions.Normal(m - ratio * float(alpha[1]) * m, ratio)
    at = torch.tensor([[-2.0], [-1.0], [0.3]], dtype=torch.float64)
    value = program.log_prob(at, density=ug.ProbabilityFlow(rtol=1e-8, atol=1e-8)).value
    torch.testing.assert_close(value, truth.log_prob(at[:, 0]), rtol=0, atol=1e-5)
    x = program.sample(n, sampler=EDM(60))  # its bias is below 0.005
    assert abs(float(x.mean() - truth.mean)) < 0.005 + 5 * ratio / math.sqrt(n)
    assert abs(float(x.std()) / ratio - 1.0) < 0.005 + 5 / math.sqrt(2 * n)


@pytest.mark.parametrize("schedule", [VE(0.5, 20.0), SubVP(1.0, 3.0)], ids=str)
def test_a_program_remembers_its_schedule(schedule, tmp_path):
    program = ug.Diffusion(3, hidden=8, blocks=1, schedule=schedule)
    again = ug.load(ug.save(program, tmp_path / "diffusion.safetensors"))
    assert repr(again.denoiser.schedule) == repr(schedule)
