"""Oracles: integrals by quadrature, distribution functions in closed form, the variance of two estimators."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from tests.diffusion_problems import GaussianNoise, ZeroTerminal, gaussian_diffusion
from unigen.dynamics.learned_snr import LearnedSNR
from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.dynamics.time_density import LogNormalNoise, UniformLogSNR, UniformTime
from unigen.dynamics.times import AntitheticTimes, LowDiscrepancyTimes, UniformTimes
from unigen.dynamics.variance_exploding import VE, SubVP
from unigen.errors import ArgumentError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.models.diffusion import Diffusion
from unigen.objectives.denoising import DenoisingScoreMatching

F64 = torch.float64
DENSITIES = [UniformTime(), UniformLogSNR(), LogNormalNoise(0.0, 1.5)]
SCHEDULES = [
    (VPLinear(), 1e-3),
    (VPCosine(1e3, 1e-3), 0.0),
    (VE(0.05, 20.0), 0.1),
    (SubVP(), 1e-2),
    (LearnedSNR(), 0.0),
]


@pytest.mark.parametrize(("schedule", "start"), SCHEDULES, ids=lambda value: repr(value))
@pytest.mark.parametrize("density", DENSITIES, ids=repr)
def test_every_integral_keeps_its_value(density, schedule, start):
    """E factor(t) h(t) = ∫ h dt / (1 − start), for each u exactly where the map is a change of variables."""
    n = 2_001 if isinstance(schedule, LearnedSNR) else 20_001
    u = (torch.arange(n, dtype=F64) + 0.5) / n
    t, factor = density.place(u, schedule, start)
    assert float(t.min()) >= start
    assert float(t.max()) <= 1.0
    assert bool((torch.diff(t) > 0).all())
    at = torch.linspace(start, 1.0, 20_001, dtype=F64)
    for h in (torch.ones_like, torch.cos, lambda x: x**2):
        exact = torch.trapezoid(h(at), at) / (1.0 - start)
        assert float((factor * h(t)).mean()) == pytest.approx(float(exact), rel=2e-3)
    slope = torch.diff(t) / torch.diff(u) / (1.0 - start)  # dt/du = 1/p, what the factor must be
    middle = slice(n // 10, -n // 10)
    torch.testing.assert_close(0.5 * (factor[1:] + factor[:-1])[middle], slope[middle], rtol=5e-3, atol=0)


@torch.no_grad()
def test_log_snr_is_uniform_and_log_noise_normal():
    schedule, u = VPCosine(1e4, 1e-4), torch.rand(4000, dtype=F64)
    snr = schedule.log_snr(UniformLogSNR().place(u, schedule, 0.0)[0])
    ends = math.log(1e4)
    assert stats.kstest((snr / (2 * ends) + 0.5).numpy(), "uniform").pvalue > 1e-7
    level = -0.5 * schedule.log_snr(LogNormalNoise(-0.5, 0.8).place(u, schedule, 0.0)[0])
    law = stats.truncnorm((-0.5 * ends + 0.5) / 0.8, (0.5 * ends + 0.5) / 0.8, loc=-0.5, scale=0.8)
    assert stats.kstest(level.numpy(), law.cdf).pvalue > 1e-7


@torch.no_grad()
def test_under_the_likelihood_every_log_snr_weighs_the_same():
    denoiser = gaussian_diffusion(VPLinear()).denoiser
    t, factor = UniformLogSNR().place(torch.rand(50, dtype=F64), denoiser.schedule, denoiser.start)
    ends = denoiser.schedule.log_snr(torch.tensor([denoiser.start, 1.0], dtype=F64))
    torch.testing.assert_close(
        factor * denoiser.likelihood_weight(t), (0.5 * (ends[0] - ends[1])).expand(50), rtol=1e-9, atol=0
    )


def estimates(density, times, batches=400, size=8):
    """Losses of the optimal network for N(0, 2²) data under VPLinear: mean and variance over batches."""
    program = gaussian_diffusion(VPLinear(), std=2.0)
    loss = DenoisingScoreMatching(times=times, density=density).players(program)[0].loss
    with torch.no_grad():
        return torch.stack([loss(2.0 * torch.randn(size, 1, dtype=F64)) for _ in range(batches)])


def test_the_likelihood_is_estimated_without_bias_and_with_less_variance():
    """−ELBO of N(0, 4): prior + ½ log (1 + 4 SNR_start) / (1 + 4 SNR_1) + reconstruction, by closed form."""
    denoiser = gaussian_diffusion(VPLinear(), std=2.0).denoiser
    ends = torch.tensor([denoiser.start, 1.0], dtype=F64)
    snr, alpha = torch.exp(denoiser.schedule.log_snr(ends)), denoiser.schedule.alpha(ends)[1]
    prior = 0.5 * (4 * alpha**2 - alpha**2 - torch.log1p(-(alpha**2)))
    reconstruction = 0.5 * (math.log(2 * math.pi * math.e) - torch.log(snr[0]))
    exact = float(prior + 0.5 * torch.log((1 + 4 * snr[0]) / (1 + 4 * snr[1])) + reconstruction)
    variance = {}
    for density in (UniformTime(), UniformLogSNR()):
        for times in (UniformTimes(), LowDiscrepancyTimes(), AntitheticTimes()):
            values = estimates(density, times)
            error = float(values.std()) / math.sqrt(len(values))
            assert abs(float(values.mean()) - exact) < 5 * error, (density, times)
            variance[repr(density), repr(times)] = float(values.var())
    uniform = variance["UniformTime()", "UniformTimes()"]
    assert variance["UniformLogSNR()", "UniformTimes()"] < uniform / 3
    assert variance["UniformLogSNR()", "LowDiscrepancyTimes()"] < uniform / 3


def test_the_traced_step_equals_the_eager_one():
    results = []
    for traced in (False, True):
        torch.manual_seed(0)
        program = Diffusion(3, hidden=8, blocks=1, schedule=LearnedSNR(hidden=2)).double()
        (player,) = DenoisingScoreMatching(density=UniformLogSNR()).players(program)
        optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
        step = EagerStep(player.loss, player.parameters, optimizer)
        if traced:
            example = (torch.randn(6, 3, dtype=F64),)
            step = CompiledStep(
                player.loss, player.parameters, optimizer, example=example, compiler=interpreted
            )
        torch.manual_seed(1)
        for n in (6, 9):
            step(torch.randn(n, 3, dtype=F64))
        results.append([p.detach().clone() for p in program.parameters()])
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-10, rtol=0)


@pytest.mark.parametrize("density", [UniformLogSNR(), LogNormalNoise()], ids=repr)
def test_no_signal_at_the_end_is_refused(density):
    program = Diffusion(2, hidden=8, blocks=1, schedule=ZeroTerminal())
    with pytest.raises(ArgumentError, match=r"finite ends.*-inf at t = 1"):
        DenoisingScoreMatching(density=density).players(program)
    DenoisingScoreMatching().players(program)


def test_noise_levels_that_never_come_are_refused():
    program = Diffusion(2, hidden=8, blocks=1, schedule=LogLinearSNR(10.0, 0.1))
    with pytest.raises(ArgumentError, match="hardly ever"):
        DenoisingScoreMatching(density=LogNormalNoise(8.0, 0.5)).players(program)
    for bad in ({"std": 0.0}, {"mean": math.nan}):
        with pytest.raises(ArgumentError, match="std > 0"):
            LogNormalNoise(**bad)


def test_learned_ends_have_the_gradient_of_the_bound_whatever_the_density():
    """The density follows the schedule, and the estimate of the gradient stays unbiased: that of the closed form.

    L = ½ log (1 + s² e^a) / (1 + s² r) + ½ (log 2πe − a) + ½ ((s² − 1) r / (1 + r) + log (1 + r)), a, log r the ends.
    """
    s2, top, r, batches = 4.0, 20.0, 0.2, 40
    schedule = LearnedSNR(top, r, hidden=4).double()
    with torch.no_grad():
        schedule.height.add_(2.0 * torch.randn(4))
    network = GaussianNoise(schedule, std=2.0)
    program = Diffusion(1, network=network, schedule=schedule, prediction=Eps()).double()
    by_top = 0.5 * s2 * top / (1 + s2 * top) - 0.5
    by_end = 0.5 * ((s2 - 1) * r / (1 + r) ** 2 + r / (1 + r) - s2 * r / (1 + s2 * r))
    exact = torch.tensor([-by_top - by_end, -by_end * math.log(top / r)], dtype=F64)
    for density in (UniformLogSNR(), LogNormalNoise(0.0, 1.0)):
        loss = DenoisingScoreMatching(density=density).players(program)[0].loss
        ends = (schedule.gamma_0, schedule.log_fall)
        draws = [
            torch.cat(torch.autograd.grad(loss(2.0 * torch.randn(1000, 1, dtype=F64)), ends))
            for _ in range(batches)
        ]
        gradients = torch.stack(draws)
        error = gradients.std(0) / math.sqrt(batches)
        assert bool(((gradients.mean(0) - exact).abs() < 5.5 * error).all()), density
