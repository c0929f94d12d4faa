"""Oracles: closed-form posteriors and marginals, inverses, the programs' own samplers; z-tests at a level of 1e-6."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import unigen as ug
from tests.diffusion_problems import gaussian_ddpm, gaussian_diffusion
from tests.problems import gaussian_posterior
from unigen.dynamics.schedule import VPLinear
from unigen.dynamics.variance_exploding import VE
from unigen.errors import (
    ArgumentError,
    ContextError,
    NotFittedError,
    ShapeError,
    UnsupportedQueryError,
)
from unigen.evaluate.processes import process
from unigen.study.catalogue import entries

F64 = torch.float64
LEVEL = 1e-6  # false-positive rate of a test of several numbers


def fitted(program: Any) -> Any:
    program.fitted = True
    return program.double()


def is_normal(x: Tensor, mean: Any, std: Any) -> bool:
    """Whether the columns of x (N, D) have the mean and variance of N(mean, std²), Bonferroni over both and all D."""
    n, d = x.shape
    z, level = (x - mean) / std, LEVEL / (4 * d)
    squares = z.square().sum(0)
    low, high = (float(stats.chi2.ppf(level, n)), float(stats.chi2.isf(level, n)))
    means = (z.mean(0) * math.sqrt(n)).abs() < float(stats.norm.isf(level))
    return bool(means.all() and ((squares > low) & (squares < high)).all())


def moons(n: int = 200) -> Tensor:
    return torch.randn(n, 2, dtype=F64) @ torch.tensor([[1.5, 0.4], [0.0, 0.5]], dtype=F64) + 1.0


# -- maps --------------------------------------------------------------------------------------------------


def test_ppca_goes_by_draws_of_its_posterior():
    ppca = fitted(ug.PPCA(features=3, latents=2))
    x = torch.randn(1, 3, dtype=F64).expand(20_000, 3)
    found = process(ppca, x, n=20_000)
    w, noise = ppca.weight.detach().numpy(), ppca.variance.expand(3).detach().numpy()
    mean, covariance = gaussian_posterior(w, noise, ppca.mean.detach().numpy(), x[:1].numpy())
    assert found.forward is not None and found.forward[0].equal(x)
    root = torch.linalg.cholesky(torch.from_numpy(covariance))
    white = torch.linalg.solve_triangular(root, (found.forward[1] - torch.from_numpy(mean)).mT, upper=False)
    assert is_normal(white.mT, 0.0, 1.0)
    assert is_normal(found.reverse[0], 0.0, 1.0)
    given = (
        found.reverse[1] - found.reverse[0] @ ppca.weight.detach().mT - ppca.mean.detach()
    ) / ppca.variance.sqrt()
    assert is_normal(given.detach(), 0.0, 1.0)
    assert found.times.tolist() == [0.0, 1.0]
    assert found.forward_step == found.reverse_step == "one stochastic step"


@pytest.mark.parametrize("family", [ug.RealNVP, ug.MAF, ug.NSF])
def test_a_flow_goes_there_and_back(family: Any):
    flow, x = fitted(family(2, hidden=(16,))), moons(100)
    flow.initialise(x)
    found = process(flow, x, seed=1)
    assert found.forward is not None
    torch.testing.assert_close(flow.from_noise(found.forward[1]), x, rtol=0, atol=1e-5)
    torch.testing.assert_close(flow.from_noise(found.reverse[0]), found.reverse[1], rtol=0, atol=1e-5)
    assert found.reverse[1].equal(flow.sample(100, seed=1))
    assert found.forward_step == found.reverse_step == "one deterministic step"


def test_pca_is_deterministic_both_ways():
    pca = fitted(ug.PCA(features=3, latents=3))
    pca.solve(x := torch.randn(50, 3, dtype=F64))
    found = process(pca, x)
    assert found.forward is not None
    torch.testing.assert_close(pca.decode(found.forward[1]), x)
    assert found.forward_step == found.reverse_step == "one deterministic step"


def test_a_gan_has_no_forward_process():
    gan = fitted(ug.GAN(2, latents=3, hidden=(8,)))
    found = process(gan, moons(), n=10, seed=2)
    assert found.forward is None and found.forward_step is None
    assert found.no_forward == "no forward process: the likelihood is implicit"
    assert found.reverse_step == "one deterministic step"
    torch.testing.assert_close(gan.generator(found.reverse[0]).reshape(10, 2), found.reverse[1])
    assert found.reverse[1].equal(gan.sample(10, seed=2))


def test_a_mixture_goes_through_its_component():
    mixture = fitted(ug.GaussianMixture(2, components=3))
    mixture.initialise(x := moons())
    found = process(mixture, x)
    assert found.forward is not None and found.forward[1].shape == (200,)
    assert set(found.forward[1].tolist()) <= {0.0, 1.0, 2.0}
    assert found.forward_step == "one stochastic step"


# -- coordinates -------------------------------------------------------------------------------------------


def gaussian_made() -> tuple[Any, Tensor]:
    """A MADE in the order 1, 0 that is N(0, Σ), and L of x_{order} = L z."""
    made = fitted(ug.MADE(2, hidden=(8,), order=[1, 0], direct=False))
    x = torch.randn(4000, 2, dtype=F64) @ torch.tensor([[1.0, 0.6], [0.0, 0.8]], dtype=F64)
    made.initialise(x)
    return made, x


def test_an_autoregression_is_rosenblatts_map():
    made, x = gaussian_made()
    found = process(made, x, n=300, steps=5, seed=3)
    each = made.marginal().conditionals(x[:300])
    noise = ((x[:300] - each.mean) / each.stddev).detach()
    assert found.forward is not None and found.steps == 2
    torch.testing.assert_close(found.forward[2], noise, rtol=1e-6, atol=1e-6)
    assert found.forward[1][:, 1].equal(x[:300, 1])  # the first in order stays longest
    torch.testing.assert_close(found.forward[1][:, 0], noise[:, 0], rtol=1e-6, atol=1e-6)
    assert found.reverse[2].equal(made.sample(300, seed=3))
    assert found.reverse_step == "coordinate by coordinate"
    assert found.times.tolist() == [0.0, 0.5, 1.0]


def test_noise_of_an_autoregression_is_standard_normal_of_its_own_draws():
    made, _ = gaussian_made()
    binary = fitted(ug.MADE(3, likelihood=ug.Bernoulli(), hidden=(8,)))
    pixels = fitted(ug.PixelCNN((1, 2, 2), ug.Categorical(5), width=4, layers=1))
    for program in (made, binary, pixels):
        found = process(program, program.sample(4000), n=4000)
        assert found.forward is not None
        for noise in (found.forward[-1].flatten(1), found.reverse[0].flatten(1)):
            assert is_normal(noise, 0.0, 1.0)
            assert float(torch.corrcoef(noise.mT).triu(1).abs().max()) < 5 / math.sqrt(4000)


def test_a_level_lies_in_its_interval():
    program = fitted(ug.MADE(1, likelihood=ug.Bernoulli(), hidden=(4,)))
    found = process(program, torch.tensor([[0.0], [1.0]], dtype=F64).repeat(50, 1))
    q = 1 - float(program.marginal().conditionals(torch.zeros(1, 1, dtype=F64)).mean.detach())
    assert found.forward is not None
    rank = torch.special.ndtr(found.forward[1])
    assert bool((rank[0::2] <= q).all() and (rank[1::2] >= q).all())


# -- dynamics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [VPLinear(0.1, 4.0), VE(0.05, 3.0)], ids=["VP", "VE"])
def test_the_forward_sde_has_its_closed_form_marginals(schedule: Any):
    mean, std, n = 1.0, 0.5, 20_000
    program = gaussian_diffusion(schedule, mean, std, sampler=ug.ReverseSDE(8))
    program.fitted = True
    x = mean + std * torch.randn(n, 1, dtype=F64)
    found = process(program, x, n=n, steps=4)
    assert found.forward is not None and found.forward[0].equal(x)
    for t, state in zip(found.times, found.forward, strict=True):
        alpha, sigma = (float(schedule.alpha(t)), float(schedule.sigma(t))) if t > 0 else (1.0, 0.0)
        assert is_normal(state, alpha * mean, math.hypot(alpha * std, sigma))
    one, two = found.forward[1] - mean * schedule.alpha(found.times[1]), found.forward[3]
    two = two - mean * schedule.alpha(found.times[3])
    (a1, s1), (a3, _) = ((float(schedule.alpha(t)), float(schedule.sigma(t))) for t in found.times[[1, 3]])
    covariance = a3 / a1 * ((a1 * std) ** 2 + s1**2)  # of a Markov chain
    spread = float(one.std() * two.std())
    assert abs(float((one * two).mean()) - covariance) < 5.5 * spread * math.sqrt(2 / n)


def test_the_reverse_sde_ends_in_the_programs_draws():
    schedule = VPLinear()
    program = gaussian_diffusion(schedule, 1.0, 0.5, sampler=ug.ReverseSDE(100))
    program.fitted = True
    program.denoiser.loc.fill_(3.0)
    program.denoiser.scale.fill_(2.0)  # states are in the data's units
    x = program.sample(5000)
    found = process(program, x, n=5000, steps=4, seed=4)
    assert found.reverse[-1].equal(program.sample(5000, seed=4))
    assert is_normal(found.reverse[0], 3.0, 2.0)
    assert (found.reverse_step, found.forward_step, found.steps) == ("SDE", "SDE", 4)
    assert found.times[0] == 0 and found.times[-1] == 1 and bool((found.times.diff() > 0).all())
    there, back = found.forward, found.reverse
    assert there is not None
    for k in (1, 2, 3):  # the reversal has the same marginals, up to the error of 100 steps
        assert abs(float(there[k].mean() - back[4 - k].mean())) < 0.2
        assert abs(float(there[k].std() / back[4 - k].std()) - 1) < 0.1


def test_the_flow_beside_a_diffusion_is_a_gaussians_map():
    """Of Gaussian data the flow is affine: z_t = alpha_t m + alpha_0 (x − m) r(t) / r(0), r² = alpha² s² + sigma²."""
    schedule, mean, std = VPLinear(), 1.0, 0.5
    program = gaussian_diffusion(schedule, mean, std, sampler=ug.ReverseSDE(10))
    program.fitted = True
    x = mean + std * torch.randn(50, 1, dtype=F64)
    beside = process(program, x, steps=3).beside
    assert (
        beside is not None
        and beside.forward is not None
        and beside.forward_step == beside.reverse_step == "ODE"
    )
    start = program.denoiser.start
    for fraction, state in list(zip(beside.times, beside.forward, strict=True))[1:]:
        t = start + (1 - start) * fraction
        a, s, a0, s0 = (
            schedule.alpha(t),
            schedule.sigma(t),
            *(f(torch.tensor(start, dtype=F64)) for f in (schedule.alpha, schedule.sigma)),
        )
        ratio = torch.sqrt((a * std) ** 2 + s**2) / torch.sqrt((a0 * std) ** 2 + s0**2)
        torch.testing.assert_close(state, a * mean + ratio * a0 * (x - mean), rtol=0, atol=2e-3)
    torch.testing.assert_close(program.from_noise(beside.forward[-1]), x, rtol=0, atol=2e-3)


def test_a_deterministic_sampler_makes_the_reverse_an_ode():
    program = gaussian_diffusion(VPLinear(), sampler=ug.DDIM(5))
    program.fitted = True
    found = process(program, torch.randn(20, 1, dtype=F64))
    assert (found.forward_step, found.reverse_step, found.steps, found.beside) == ("SDE", "ODE", 5, None)


def test_discrete_diffusion_is_a_chain_with_closed_form_marginals():
    schedule, mean, std, n = VPLinear(), 1.0, 0.5, 5000
    program = gaussian_ddpm(schedule, 6, mean, std)
    program.fitted = True
    found = process(program, mean + std * torch.randn(n, 1, dtype=F64), n=n, steps=3, seed=5)
    assert found.forward is not None and (found.steps, found.forward_step) == (3, "chain")
    for state, t in zip(found.forward[1:], program.times[[1, 3, 5]], strict=True):
        a, s = float(schedule.alpha(t)), float(schedule.sigma(t))
        assert is_normal(state, a * mean, math.hypot(a * std, s))
    assert found.reverse[-1].equal(program.sample(n, seed=5))
    assert found.beside is not None and found.beside.forward_step == "ODE"


@pytest.mark.parametrize("make", [ug.CNF, ug.FlowMatching])
def test_an_ode_leads_there_and_back(make: Any):
    flow = fitted(make(2, hidden=(16,)) if make is ug.CNF else make(2, hidden=16, blocks=1))
    flow.initialise(x := moons(30))
    found = process(flow, x, steps=3, seed=6)
    assert found.forward is not None and found.steps == 3
    noise = flow.flow.to_unit(found.forward[-1])  # states are in the data's units
    torch.testing.assert_close(noise, flow.to_noise(x), rtol=0, atol=1e-3)
    torch.testing.assert_close(flow.from_noise(noise), x, rtol=0, atol=1e-3)
    torch.testing.assert_close(found.reverse[-1], flow.sample(30, seed=6), rtol=0, atol=1e-3)
    start = flow.flow.to_unit(found.reverse[0])
    torch.testing.assert_close(flow.from_noise(start), found.reverse[-1], rtol=0, atol=1e-3)
    assert found.forward_step == found.reverse_step == "ODE"


class Centre(torch.nn.Module):
    """Predicts that every path ends in the middle of the other end."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_a_bridge_leads_both_ways_to_the_other_end():
    """Brownian bridges to 0: X' = X (1 − h / (1 − t)) + sigma √h ε, so that means and variances follow step by step."""
    steps, sigma, n = 40, 0.7, 20_000
    bridge = fitted(ug.SchroedingerBridge(1, hidden=(8,), steps=steps, reference=ug.BrownianMotion(sigma)))
    bridge.bridge.network_0, bridge.bridge.network_1 = Centre(), Centre()
    found = process(bridge, 0.5 * torch.randn(n, 1, dtype=F64), n=n, steps=4)
    assert found.forward is not None
    assert (found.forward_step, found.reverse_step, found.steps) == ("SDE", "SDE", 4)
    for states, variance in ((found.forward, 0.25), (found.reverse, 1.0)):
        assert is_normal(states[0], 0.0, math.sqrt(variance))
        for i in range(steps):
            variance = variance * (1 - 1 / (steps - i)) ** 2 + sigma**2 / steps
            if (i + 1) % 10 == 0:
                assert is_normal(states[(i + 1) // 10], 0.0, math.sqrt(variance))


def test_an_energy_is_reached_by_its_chain_and_has_no_forward_process():
    """Of E = x² / 2s² a step of size h is x' = (1 − h / s²) x + √(2h) ε: means and variances follow step by step."""
    s, h, n = 0.3, 0.003, 20_000
    well = ug.Potential(
        lambda x: 0.5 * (x / s).square().sum(-1), 1, sampler=ug.Langevin(30, h)
    ).double()  # nothing to fit
    x = 2.0 + torch.randn(n, 1, dtype=F64)
    found = process(well, x, n=n, steps=3)
    mean, variance = float(x.mean()), float(x.var(correction=0))  # of the noise that the chain starts from
    for k, state in enumerate(found.reverse):
        assert is_normal(state, mean, math.sqrt(variance)), f"after {10 * k} steps"
        for _ in range(10):
            mean, variance = mean * (1 - h / s**2), variance * (1 - h / s**2) ** 2 + 2 * h
    assert found.forward is None and (found.reverse_step, found.steps) == ("chain", 3)
    assert found.no_forward is not None and found.no_forward.startswith("no forward process: an energy")


@pytest.mark.parametrize("make", [lambda: ug.RBM(4, 3), lambda: ug.Ising.grid(2, 2, coupling=0.3)])
def test_spins_go_by_sweeps_from_fair_coins(make: Any):
    program = make().double()
    program.sampler = ug.Gibbs(steps=30)
    program.fitted = True
    x = program.sample(4000)
    found = process(program, x, n=4000, steps=3)
    assert set(found.reverse[0].unique().tolist()) == set(x.unique().tolist())
    n, p = 4000, found.reverse[0].eq(x.max()).double().mean(0)
    assert bool(((p - 0.5).abs() < 6 * 0.5 / math.sqrt(n)).all())
    exact = program.states().sample(200_000).double().mean(0)
    assert bool(((found.reverse[-1].mean(0) - exact).abs() < 6 / math.sqrt(n)).all())
    assert found.forward is None


# -- several latents, paths --------------------------------------------------------------------------------


def test_a_ladder_is_a_chain_of_its_levels():
    ladder = fitted(ug.LadderVAE(4, latents=(3, 2), hidden=(8,)))
    found = process(ladder, torch.randn(10, 4, dtype=F64))
    assert found.forward is not None
    assert [tuple(state.shape) for state in found.forward] == [(10, 4), (10, 3), (10, 2)]
    assert [tuple(state.shape) for state in found.reverse] == [(10, 2), (10, 3), (10, 4)]
    assert found.forward_step == "chain" and found.beside is None


def test_a_latent_sde_goes_through_a_path():
    model = fitted(ug.LatentSDE(features=1, times=(0.0, 0.5, 1.0), latents=2, dt=0.25))
    found = process(model, torch.randn(6, 3, 1, dtype=F64))
    assert found.forward is not None and (found.forward_step, found.reverse_step) == ("SDE", "SDE")
    assert found.forward[1].shape == (6, 5, 2) and found.reverse[0].shape == (6, 5, 2)


# -- the question ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: ug.PPCA(2, latents=1),
        lambda: ug.MAF(2, hidden=(8,)),
        lambda: ug.Diffusion(2, hidden=8, blocks=1, sampler=ug.ReverseSDE(5)),
        lambda: ug.EnergyModel(2, hidden=(8,), sampler=ug.Langevin(5)),
        lambda: ug.SchroedingerBridge(2, hidden=(8,), steps=5),
        lambda: ug.MADE(2, hidden=(8,)),
    ],
)
def test_a_seed_reproduces_and_leaves_the_stream_alone(make: Any):
    program, x = fitted(make()), moons(20)
    state = torch.get_rng_state()
    one, two, other = (process(program, x, n=7, steps=3, seed=seed) for seed in (0, 0, 1))
    assert torch.get_rng_state().equal(state)
    for a, b in zip((*one.reverse, *(one.forward or ())), (*two.reverse, *(two.forward or ())), strict=True):
        assert a.equal(b) and a.shape[0] == 7
    assert not one.reverse[-1].equal(other.reverse[-1])
    assert len(one.reverse) == one.times.shape[0] == one.steps + 1 <= 4


def test_a_conditional_program_is_given_its_context():
    flow = fitted(ug.NSF(2, context=1, hidden=(8,)))
    x, c = moons(20), torch.linspace(0, 1, 20, dtype=F64)[:, None]
    found = process(flow, x, c, n=5, seed=0)
    assert found.forward is not None
    assert found.forward[1].equal(flow.to_noise(x[:5], c[:5]))
    assert found.reverse[1].equal(flow.sample(5, c[:5], seed=0))
    assert process(flow, x, [[0.5]], n=5).reverse[1].shape == (5, 2)
    with pytest.raises(ContextError):
        process(flow, x)


def test_bad_input_is_refused_before_any_work():
    program, x = fitted(ug.PPCA(2, latents=1)), moons(20)
    wrong: list[dict[str, Any]] = [{"n": 0}, {"n": 21}, {"n": 2.5}, {"n": True}, {"steps": 0}]
    for options in wrong:
        with pytest.raises(ArgumentError, match=next(iter(options))):
            process(program, x, **options)
    with pytest.raises(ShapeError):
        process(program, torch.zeros(5, 3, dtype=F64))
    with pytest.raises(NotFittedError, match=r"ug\.fit"):
        process(ug.PPCA(2, latents=1), x)
    with pytest.raises(UnsupportedQueryError, match="latents, noise or a chain"):
        process(fitted(ug.MADE(2, orders=2, hidden=(8,))), x)


@pytest.mark.parametrize("row", entries(), ids=lambda row: row.name)
def test_every_family_has_a_process(row: Any):
    """As constructed, on 8 × 8 images: data at one end, draws at the other, a kind of step and a sentence for each."""
    program = row.build(64)
    program.fitted = True
    x = torch.rand(3, *program.event_shape)
    found = process(program, x, n=2, steps=2)
    assert found.reverse[-1].shape == (2, *program.event_shape)
    assert (found.forward is None) == (found.forward_step is None) == (found.no_forward is not None)
    if found.forward is not None:
        assert found.forward[0].equal(x[:2])
        assert [s.shape for s in found.forward] == [s.shape for s in reversed(found.reverse)]
    assert found.text.endswith(".") and str(found.reverse_step) in repr(found)
