"""Oracles: table 1 of Karras et al. 2022 written out, unit variances, and the least c_out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.diffusion_problems import ZeroTerminal
from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.edm import EDMInput, EDMOutput
from unigen.dynamics.prediction import V
from unigen.dynamics.schedule import LogLinearSNR, VPCosine
from unigen.dynamics.variance_exploding import VE
from unigen.errors import ArgumentError
from unigen.models.diffusion import Diffusion
from unigen.samplers.edm import EDM
from unigen.testing.check import check_program

F64 = torch.float64
SCHEDULES = [VE(0.002, 80.0), VPCosine(1e4, 1e-4), LogLinearSNR()]


def paper(level, s):
    """c_skip, c_out, c_in, c_noise of table 1, and λ."""
    total = level**2 + s**2
    return (
        s**2 / total,
        level * s / torch.sqrt(total),
        1 / torch.sqrt(total),
        torch.log(level) / 4,
        total / (level * s) ** 2,
    )


@pytest.mark.parametrize("s", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_denoiser_is_that_of_the_paper(schedule, s):
    class Recorder(nn.Module):
        def forward(self, x, level):
            self.seen = x, level
            return torch.sin(3 * x) + level[:, None]

    network, t = Recorder(), torch.linspace(0.02, 0.98, 9, dtype=F64)
    denoiser = Denoiser(EDMInput(network, schedule, s), schedule, EDMOutput(s), (2,)).double()
    y, level = torch.randn(9, 2, dtype=F64), (schedule.sigma(t) / schedule.alpha(t))[:, None]
    c_skip, c_out, c_in, c_noise, _ = paper(level, s)
    x0, eps = denoiser(schedule.alpha(t)[:, None] * y, t)
    expected = c_skip * y + c_out * (torch.sin(3 * c_in * y) + c_noise)
    torch.testing.assert_close(x0, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(x0 + level * eps, y, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(network.seen[0], c_in * y)
    torch.testing.assert_close(network.seen[1], c_noise[:, 0])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_input_and_target_have_unit_variance_and_the_weighted_target_too(schedule):
    s, n = 0.5, 40_000
    x0, eps = s * torch.randn(n, 1, dtype=F64), torch.randn(n, 1, dtype=F64)
    for t in torch.tensor([0.05, 0.4, 0.7, 0.95], dtype=F64):
        z, seen = schedule.alpha(t) * x0 + schedule.sigma(t) * eps, []

        class Recorder(nn.Module):
            def forward(self, x, level, seen=seen):
                seen.append(x)
                return x

        EDMInput(Recorder(), schedule, s)(z, t.expand(n))
        target = EDMOutput(s).value(x0, eps, t, schedule)
        for value in (seen[0], target):
            assert abs(float(value.var()) - 1) < 5 * math.sqrt(2 / n)
        assert abs(float((seen[0] * target).mean())) < 5 / math.sqrt(n), (
            "what is predicted is not in the input's line"
        )
        _, c_out, _, _, weight = paper(schedule.sigma(t) / schedule.alpha(t), s)
        assert float(weight * c_out**2) == pytest.approx(1.0, rel=1e-9)


def test_c_skip_is_the_one_of_least_c_out():
    """c_out² = (1 − c_skip)² s² + c_skip² ς² for unit variance of the target; its derivative in c_skip vanishes."""
    level, s = torch.tensor([0.1, 0.7, 5.0], dtype=F64), 0.5
    skip = paper(level, s)[0].requires_grad_(True)
    square = (1 - skip) ** 2 * s**2 + skip**2 * level**2
    torch.testing.assert_close(square, paper(level, s)[1] ** 2)
    torch.testing.assert_close(torch.autograd.grad(square.sum(), skip)[0], torch.zeros(3, dtype=F64))


def test_it_is_minus_v_for_unit_data_and_variance_preserving_noise():
    schedule, t = VPCosine(), torch.linspace(0, 1, 7, dtype=F64)
    x0, eps = torch.randn(7, 3, dtype=F64), torch.randn(7, 3, dtype=F64)
    torch.testing.assert_close(EDMOutput().value(x0, eps, t, schedule), -V().value(x0, eps, t, schedule))


@pytest.mark.parametrize("schedule", [*SCHEDULES, ZeroTerminal()], ids=lambda s: type(s).__name__)
def test_pair_inverts_value_at_both_ends_too(schedule):
    prediction, t = EDMOutput(0.7), torch.tensor([0.0, 0.3, 1.0], dtype=F64)
    x0, eps = torch.randn(3, 2, dtype=F64), torch.randn(3, 2, dtype=F64)
    alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
    pair = prediction.pair(prediction.value(x0, eps, t, schedule), alpha * x0 + sigma * eps, t, schedule)
    for found, truth in zip(pair, (x0, eps), strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-9)


def test_a_program_with_it_obeys_the_laws(tmp_path):
    import unigen as ug
    from unigen.nn.residual import ResidualMLP

    def build():
        schedule = VE(0.01, 50.0)
        network = EDMInput(ResidualMLP(2, hidden=8, blocks=1), schedule)
        return Diffusion(2, network=network, schedule=schedule, prediction=EDMOutput(), sampler=EDM(8))

    program = build()
    check_program(program)
    again = ug.load(ug.save(program, tmp_path / "edm.safetensors"), into=build())
    assert torch.equal(again.sample(3, seed=0), program.sample(3, seed=0))
    plain = Diffusion(2, hidden=8, blocks=1, prediction=EDMOutput(0.5))
    assert ug.load(ug.save(plain, tmp_path / "plain.safetensors")).denoiser.prediction.sigma_data == 0.5


def test_bad_settings_are_refused():
    for build in (lambda: EDMOutput(0.0), lambda: EDMInput(nn.Identity(), VPCosine(), math.nan)):
        with pytest.raises(ArgumentError, match="positive"):
            build()
    with pytest.raises(ArgumentError, match=r"no signal at t = 1.*EDMOutput"):
        EDMInput(nn.Identity(), ZeroTerminal())
