from __future__ import annotations

import copy
import math

import pytest
import torch

import unigen as ug
from tests.diffusion_problems import GaussianNoise
from unigen.dynamics.learned_snr import LearnedSNR
from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import LogLinearSNR
from unigen.errors import ArgumentError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.models.diffusion import Diffusion
from unigen.objectives.denoising import DenoisingScoreMatching
from unigen.samplers.ddim import DDIM
from unigen.samplers.dpm_solver import DPMSolver
from unigen.samplers.edm import EDM
from unigen.samplers.reverse_sde import ReverseSDE
from unigen.testing.check import check_program

F64 = torch.float64


def random_schedule(**options) -> LearnedSNR:
    """A schedule far from the linear one, its ends where they began."""
    schedule = LearnedSNR(**options).double()
    with torch.no_grad():
        for p in (schedule.height, schedule.slope, schedule.centre):
            p.add_(torch.randn_like(p) * 2.0)
    return schedule


def test_it_begins_as_the_linear_schedule():
    t = torch.linspace(0, 1, 201, dtype=F64)
    gap = LearnedSNR().log_snr(t) - LogLinearSNR().log_snr(t)
    assert float(gap.detach().abs().max()) < 0.01 * 16.0


@torch.no_grad()
def test_it_is_monotone_and_keeps_its_ends_whatever_the_parameters():
    for _ in range(10):
        schedule = LearnedSNR(snr_max=1e3, snr_min=1e-2, hidden=3).double()
        schedule.slope.copy_(30.0 * torch.randn(3))
        schedule.height.copy_(5.0 + torch.randn(3))
        schedule.check_monotone()
        ends = schedule.log_snr(torch.tensor([0.0, 1.0], dtype=F64))
        torch.testing.assert_close(ends, torch.log(torch.tensor([1e3, 1e-2], dtype=F64)), rtol=1e-6, atol=0)


@torch.no_grad()
def test_only_the_ends_enter_the_bound():
    """½ ∫ (g²/sigma²) E‖eps − eps_hat‖² dt = ½ log (1 + s² snr_max) / (1 + s² snr_min) for N(0, s²) data."""
    t, s2 = (torch.arange(20_000, dtype=F64) + 0.5) / 20_000, 0.3
    exact = 0.5 * math.log((1 + s2 * 1e3) / (1 + s2 * 1e-2))
    for _ in range(3):
        schedule = random_schedule(snr_max=1e3, snr_min=1e-2, hidden=4)
        signal = schedule.alpha(t) ** 2 * s2
        error = signal / (signal + schedule.sigma(t) ** 2)
        diffusion = 0.5 * schedule.diffusion_squared(t) / schedule.sigma(t) ** 2 * error
        assert float(diffusion.mean()) == pytest.approx(exact, rel=1e-5)


def test_gradients_are_those_of_finite_differences():
    schedule, t = random_schedule(hidden=3), torch.linspace(0.02, 0.98, 7, dtype=F64)
    names = [name for name, _ in schedule.named_parameters()]

    def levels(*values: torch.Tensor) -> torch.Tensor:
        with_values = copy.deepcopy(schedule)
        for name, value in zip(names, values, strict=True):
            delattr(with_values, name)
            setattr(with_values, name, value)
        return torch.stack([with_values.log_snr(t), with_values.rate(t)])

    assert torch.autograd.gradcheck(levels, tuple(p for _, p in schedule.named_parameters()))


def test_training_reaches_the_ends_but_not_where_they_are_fixed():
    x = torch.randn(256, 2)
    for ends in (True, False):
        program = Diffusion(2, hidden=8, blocks=1, schedule=LearnedSNR(50.0, 0.05, hidden=4, ends=ends))
        before = copy.deepcopy(program.denoiser.schedule.state_dict())
        ug.fit(program, x, steps=20, progress=False, compile=False)
        after = program.denoiser.schedule.state_dict()
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved == {"height", "slope", "centre"} | ({"gamma_0", "log_fall"} if ends else set())


def test_gradients_of_the_bound_are_those_of_its_closed_form():
    """−log p(u) ≤ L(a, b), a and b the log SNR at 0 and 1, r = e^b: for N(0, s²) data and the optimal network

    L = ½ log (1 + s² e^a) / (1 + s² r) + ½ (log 2πe − a) + ½ ((s² − 1) r / (1 + r) + log (1 + r)).
    """
    s2, top, r, batches = 4.0, 20.0, 0.2, 60
    schedule = random_schedule(snr_max=top, snr_min=r, hidden=4)
    program = Diffusion(
        1, network=GaussianNoise(schedule, std=2.0), schedule=schedule, prediction=Eps()
    ).double()
    by_top = 0.5 * s2 * top / (1 + s2 * top) - 0.5
    by_end = 0.5 * ((s2 - 1) * r / (1 + r) ** 2 + r / (1 + r) - s2 * r / (1 + s2 * r))
    exact = {"gamma_0": -by_top - by_end, "log_fall": -by_end * math.log(top / r)}
    parameters = dict(schedule.named_parameters())
    draws = []
    for _ in range(batches):
        loss = -program.surrogate(2.0 * torch.randn(2000, 1, dtype=F64)).mean()
        draws.append(torch.cat(torch.autograd.grad(loss, tuple(parameters.values()))))
    gradients = torch.stack(draws)
    truth = torch.cat([torch.full_like(p, exact.get(name, 0.0)) for name, p in parameters.items()])
    error = gradients.std(0) / math.sqrt(batches)
    assert bool(((gradients.mean(0) - truth).abs() < 5 * error).all())
    assert float(error[0]) < 0.2 * abs(exact["gamma_0"])


def test_the_traced_step_equals_the_eager_one():
    results = []
    for traced in (False, True):
        torch.manual_seed(0)
        program = Diffusion(3, hidden=8, blocks=1, schedule=LearnedSNR(hidden=4)).double()
        (player,) = DenoisingScoreMatching().players(program)
        optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
        example = (torch.randn(6, 3, dtype=F64),)
        step = EagerStep(player.loss, player.parameters, optimizer)
        if traced:
            step = CompiledStep(
                player.loss, player.parameters, optimizer, example=example, compiler=interpreted
            )
        torch.manual_seed(1)
        for n in (6, 9, 4):
            step(torch.randn(n, 3, dtype=F64))
        results.append([p.detach().clone() for p in program.parameters()])
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-10, rtol=0)


def test_laws_and_file(tmp_path):
    program = Diffusion(2, hidden=8, blocks=1, schedule=random_schedule(hidden=4).float())
    check_program(program)
    again = ug.load(ug.save(program, tmp_path / "diffusion.safetensors"))
    t = torch.linspace(0, 1, 5)
    with torch.no_grad():
        torch.testing.assert_close(again.denoiser.schedule.log_snr(t), program.denoiser.schedule.log_snr(t))


@pytest.mark.parametrize("sampler", [DDIM(5), EDM(5, churn=2.0), DPMSolver(5), ReverseSDE(5)], ids=repr)
def test_any_sampler_walks_it(sampler):
    program = Diffusion(2, hidden=8, blocks=1, schedule=LearnedSNR())
    assert torch.isfinite(program.sample(3, sampler=sampler)).all()


def test_a_time_outside_is_refused():
    with pytest.raises(ArgumentError, match="unit interval"):
        LearnedSNR().log_snr(1.5)
