from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import ZeroTerminal, gaussian_diffusion, mixture_diffusion, mixture_log_prob
from unigen.dynamics.prediction import X0
from unigen.dynamics.schedule import LogLinearSNR, VPLinear
from unigen.dynamics.sde import ForwardSDE
from unigen.dynamics.sde import ReverseSDE as Dynamics
from unigen.dynamics.solvers import integrate_sde
from unigen.errors import ArgumentError, NonFiniteError
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.samplers.grids import EqualLogSNR, EqualTimes, KarrasTimes
from unigen.samplers.predictor_corrector import PredictorCorrector
from unigen.samplers.reverse_sde import ReverseSDE


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("method", ["euler", "heun"])
def test_draws_of_the_optimal_network_have_the_moments_of_the_data(noise, method):
    n, bias = 50_000, 0.02  # bias of 300 steps, and of the noise that is left at the start
    program = gaussian_diffusion(LogLinearSNR(1e4, 1e-4), mean=-1.0, std=0.5)
    x = program.sample(n, sampler=ReverseSDE(300, noise, method))
    assert abs(float(x.mean()) + 1.0) < bias + 5 * 0.5 / math.sqrt(n)
    assert abs(float(x.std()) / 0.5 - 1) < bias + 5 / math.sqrt(2 * n)


def test_draws_of_a_mixture_pass_a_test_of_their_density():
    """E log p(x) and its variance under the data, by the draws and by the mixture itself."""
    centres, std, n = torch.tensor([[-2.0, 0.0], [2.0, 1.0]]), 0.35, 20_000
    program = mixture_diffusion(VPLinear(), centres, std, start=1e-4)
    x = program.sample(n, sampler=ReverseSDE(400))
    ours = mixture_log_prob(x, centres, std)
    truth = mixture_log_prob(
        centres.double()[torch.randint(2, (n,))] + std * torch.randn(n, 2).double(), centres, std
    )
    stderr = math.sqrt(float(ours.var() + truth.var()) / n)
    assert abs(float(ours.mean() - truth.mean())) < 0.03 + 5 * stderr
    assert abs(float((x[:, 0] > 0).double().mean()) - 0.5) < 5 * 0.5 / math.sqrt(n)


@pytest.mark.parametrize(
    "times",
    [EqualLogSNR(), KarrasTimes(), torch.linspace(1.0, 0.0, 301) ** 1.5],
    ids=["snr", "karras", "given"],
)
def test_any_grid_gives_the_moments_of_the_data(times):
    n, bias = 20_000, 0.03
    program = gaussian_diffusion(LogLinearSNR(1e4, 1e-4), mean=-1.0, std=0.5)
    x = program.sample(n, sampler=ReverseSDE(300, times=times))
    assert abs(float(x.mean()) + 1.0) < bias + 5 * 0.5 / math.sqrt(n)
    assert abs(float(x.std()) / 0.5 - 1) < bias + 5 / math.sqrt(2 * n)


def test_a_walk_may_end_early():
    """At t = 0.5, SNR 1, the state over alpha has the variance 1 + 1 of N(0, 1) data; its mean given it ½."""
    program, n = gaussian_diffusion(LogLinearSNR(1e4, 1e-4)), 20_000
    for denoise, variance in ((False, 2.0), (True, 0.5)):
        sampler = ReverseSDE(100, denoise=denoise, times=torch.linspace(1.0, 0.5, 101))
        got = float(program.sample(n, sampler=sampler).var())
        assert got == pytest.approx(variance, rel=0.03 + 5 * math.sqrt(2 / n))


def test_ending_with_the_mean_removes_the_noise_that_is_left():
    schedule = LogLinearSNR(3.0, 1e-4)
    program, n = gaussian_diffusion(schedule), 50_000
    noisy, clean = (program.sample(n, sampler=ReverseSDE(200, denoise=flag)).var() for flag in (False, True))
    assert float(noisy) == pytest.approx(1 + 1 / 3, abs=0.05)  # 1 + 1/SNR
    assert float(clean) == pytest.approx(3 / 4, abs=0.05)  # SNR / (1 + SNR)


def test_a_seed_reproduces_and_progress_is_told():
    seen = []
    program = Diffusion(3, hidden=8, blocks=1)
    sampler = ReverseSDE(4, progress=lambda k, total: seen.append((k, total)))
    assert torch.equal(program.sample(5, sampler=sampler, seed=1), program.sample(5, sampler=sampler, seed=1))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)] * 2


def test_context_reaches_the_network():
    program = Diffusion(3, hidden=8, blocks=1, context=2)
    with torch.no_grad():
        program.denoiser.network.output.weight.normal_()
    one, other = (program.sample(4, torch.full((1, 2), c), sampler=ReverseSDE(5), seed=0) for c in (0.0, 5.0))
    assert one.shape == (4, 3)
    assert not torch.allclose(one, other)


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="steps"):
        ReverseSDE(0)
    with pytest.raises(ArgumentError, match="noise"):
        ReverseSDE(noise=math.nan)
    with pytest.raises(ArgumentError, match="Diffusion"):
        PPCA(3, 1).sample(2, sampler=ReverseSDE())


def test_a_divergent_network_says_so():
    program = Diffusion(3, hidden=8, blocks=1)
    with torch.no_grad():
        program.denoiser.network.output.bias.fill_(math.inf)
    with pytest.raises(NonFiniteError, match="diverged"):
        program.sample(2, sampler=ReverseSDE(3))


@pytest.mark.parametrize("method", ["milstein", "srk"])
def test_methods_of_torchsde_have_the_moments_of_the_data(method):
    n, bias = 10_000, 0.03
    program = gaussian_diffusion(LogLinearSNR(1e4, 1e-4), mean=-1.0, std=0.5)
    sampler = ReverseSDE(150, method=method)
    x = program.sample(n, sampler=sampler, seed=0)
    assert abs(float(x.mean()) + 1.0) < bias + 5 * 0.5 / math.sqrt(n)
    assert abs(float(x.std()) / 0.5 - 1) < bias + 5 / math.sqrt(2 * n)
    torch.testing.assert_close(sampler.trajectory(program, n, seed=0).draws, x)


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_a_step_is_that_of_the_solver_with_the_same_noise(method, monkeypatch):
    program, times = gaussian_diffusion(LogLinearSNR(), std=0.5, dims=2), torch.linspace(1, 0, 6) ** 1.5
    z, noise = torch.randn(4, 2, dtype=torch.float64), torch.randn(5, 4, 2, dtype=torch.float64)
    rows = iter(noise)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn_like", lambda _: next(rows))
        ours = ReverseSDE(5, 0.7, method, times=times).push(program, z)
    grid = times.double()

    class Path:
        shape, levy_area_approximation = (4, 2), "none"

        def __call__(self, ta, tb):
            step = next(i for i in range(5) if math.isclose(float(grid[i]), tb))
            return -noise[step] * math.sqrt(tb - ta)

    reverse = Dynamics(ForwardSDE(LogLinearSNR()), program.denoiser.score, 0.7)
    end = integrate_sde(reverse.drift, reverse.diffusion, z, grid, method, brownian=Path())
    torch.testing.assert_close(ours, end / LogLinearSNR().alpha(grid[-1]), rtol=1e-10, atol=1e-10)


def test_methods_are_known_and_rates_are_finite():
    with pytest.raises(ArgumentError, match=r"euler \| heun \| milstein \| srk"):
        ReverseSDE(method="leapfrog")
    program = gaussian_diffusion(LogLinearSNR())
    with pytest.raises(ArgumentError, match="takes all steps itself"):
        program.sample(2, sampler=PredictorCorrector(ReverseSDE(3, method="srk")))
    assert program.sample(2, sampler=PredictorCorrector(ReverseSDE(3))).shape == (2, 1)
    network = program.denoiser.network
    endless = Diffusion(1, network=network, schedule=ZeroTerminal(), prediction=X0()).double()
    with pytest.raises(ArgumentError, match=r"finite ends.*EqualTimes"):
        endless.sample(2, sampler=ReverseSDE(3))
    with pytest.raises(ArgumentError, match="infinite at an end"):
        endless.sample(2, sampler=ReverseSDE(3, times=EqualTimes()))
