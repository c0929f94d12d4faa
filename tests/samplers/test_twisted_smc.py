"""Twisted diffusion sampling against posteriors in closed form, with DPS beside it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import unigen as ug
from tests.conditional_problems import (
    CENTRES,
    SCHEDULE,
    STDS,
    WEIGHTS,
    LabelledMixture,
    MixturePosterior,
    gaussian_prior,
    labelled_diffusion,
)
from tests.diffusion_problems import ZeroTerminal
from unigen.dynamics.interpolant import Linear
from unigen.dynamics.observation import LinearObservation
from unigen.dynamics.posterior_guidance import DPS
from unigen.dynamics.prediction import X0, Eps
from unigen.errors import ArgumentError, ContextError, NonFiniteError, ShapeError
from unigen.samplers.grids import EqualLogSNR
from unigen.samplers.twisted_smc import TwistedSMC
from unigen.samplers.weighted_draws import WeightedDraws

OBSERVATION = LinearObservation(torch.tensor([[1.0, 0.7]]).double(), torch.tensor([1.2]).double(), 0.4)
ONE, MEAN, STD, STEPS, RUNS, K = torch.ones(1).double(), 0.4, 0.7, 20, 16, 300


def chain_law(mean: float, std: float, steps: int) -> tuple[float, float]:
    """Mean and standard deviation of x by the DDPM chain for N(mean, std²) data: every step is affine in z."""
    t = EqualLogSNR().times(steps, SCHEDULE, 0.0)
    alpha, sigma = SCHEDULE.alpha(t).tolist(), SCHEDULE.sigma(t).tolist()
    m, v = 0.0, 1.0
    for i in range(steps):
        a, s, a_next, s_next = alpha[i], sigma[i], alpha[i + 1], sigma[i + 1]
        k = (a * s_next / (s * a_next)) ** 2
        gain = a * std**2 / (a**2 * std**2 + s**2)  # u_hat = mean + gain (z − a mean)
        slope = k * a_next / a + a_next * (1 - k) * gain
        m = slope * m + a_next * (1 - k) * (mean - gain * a * mean)
        v = slope**2 * v + s_next**2 * (1 - k)
    return m / alpha[-1], math.sqrt(v) / alpha[-1]


def posterior_of_the_chain() -> MixturePosterior:
    """p(x | y) and p(y) where p(x) is the law of the chain itself."""
    mean, std = chain_law(MEAN, STD, STEPS)
    return MixturePosterior(ONE, mean * torch.ones(1, 2).double(), std * ONE, OBSERVATION)


def worst(values: Tensor, truth: Tensor) -> float:
    """The largest error of the means of independent runs (R, D) in standard errors."""
    return float(((values.mean(0) - truth) / (values.std(0) / math.sqrt(values.shape[0]))).abs().max())


def moments(runs: list[WeightedDraws]) -> tuple[Tensor, Tensor]:
    """Estimates of E[x | y] and E[x² | y], each (R, D)."""
    return torch.stack([r.expect(r.draws) for r in runs]), torch.stack([r.expect(r.draws**2) for r in runs])


@pytest.mark.parametrize("spread", [0.3, 100.0])
def test_it_is_exact_where_dps_is_not(spread):
    """The same chain, the same observation, z-tests at one bound: SMC passes with any twist, DPS fails.

    DPS has as many draws as all runs have particles, so that it has the standard errors of an SMC without loss.
    """
    truth, prior = posterior_of_the_chain(), gaussian_prior(MEAN, STD, 2)
    sampler = TwistedSMC(OBSERVATION, K, STEPS, spread=spread)
    first, second = moments([sampler.posterior(prior) for _ in range(RUNS)])
    assert worst(first, truth.mean) < 6.0  # of Student's t with 15 degrees of freedom, 12 claims: 3e-4
    assert worst(second, truth.second) < 6.0
    chain = ug.DDPMAncestral(STEPS, times=EqualLogSNR())
    x = ug.Guided(prior, DPS(OBSERVATION)).sample(RUNS * K, sampler=chain)
    blocks = torch.stack((x, x**2), 1).reshape(RUNS, K, 2, 2).mean(1)
    assert max(worst(blocks[:, 0], truth.mean), worst(blocks[:, 1], truth.second)) > 6.0


def test_what_dps_gets_wrong_is_within_the_resolution():
    """The bound above would refuse a mean that is off by 0.08 and 0.05, as that of DPS is."""
    truth, prior, sampler = (
        posterior_of_the_chain(),
        gaussian_prior(MEAN, STD, 2),
        TwistedSMC(OBSERVATION, 600, STEPS),
    )
    first, _ = moments([sampler.posterior(prior) for _ in range(RUNS)])
    assert worst(first, truth.mean + torch.tensor([0.08, 0.05]).double()) > 6.0


@pytest.mark.parametrize("variance", [0.0, 1.0])
def test_the_evidence_is_unbiased(variance):
    """E p_hat(y) = p(y) of the chain, by independent runs with few particles; the errors claimed are those seen."""
    prior, runs = gaussian_prior(0.0, 1.0, 2), 40  # with variance=1 the chain of N(0, I) is exact
    sampler = TwistedSMC(OBSERVATION, 64, 12, variance=variance, spread=0.5)
    found = [sampler.posterior(prior).log_evidence for _ in range(runs)]
    values = torch.cat([e.value for e in found])
    std = 1.0 if variance == 1.0 else chain_law(0.0, 1.0, 12)[1]
    truth = MixturePosterior(ONE, torch.zeros(1, 2).double(), std * ONE, OBSERVATION).log_evidence
    z = values.exp()
    assert abs(float((z.mean() - math.exp(truth)) / (z.std() / math.sqrt(runs)))) < 5.0
    claimed = torch.cat([e.stderr for e in found if e.stderr is not None]).square().mean()
    assert 0.3 < float(claimed / values.var()) < 3.0
    assert {str(e.kind) for e in found} == {"estimate"}


def test_the_chain_of_many_steps_is_the_program():
    """So that what is exact for the chain is close for the program: its law tends to that of the data as 1 / steps."""
    gaps = [abs(chain_law(MEAN, STD, steps)[1] - STD) for steps in (100, 200, 400)]
    assert gaps[2] < 0.01
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.1)
    assert gaps[1] / gaps[2] == pytest.approx(2.0, rel=0.1)


def test_the_components_of_a_mixture_have_their_posterior_weights():
    """Against the closed form of the mixture itself; 80 steps leave a bias below the bound."""
    observation = LinearObservation(torch.tensor([[1.0, 1.0]]).double(), torch.tensor([0.4]).double(), 0.6)
    truth = MixturePosterior(WEIGHTS, CENTRES, STDS, observation)
    prior, network, shares, evidence = labelled_diffusion(0), LabelledMixture(), [], []
    for _ in range(6):
        found = TwistedSMC(observation, 400, 80).posterior(prior)
        zero = torch.zeros(400).double()
        shares.append(found.expect(network.joint(found.draws, zero).softmax(-1)))
        evidence.append(found.log_evidence.value)
    error = torch.stack(shares).std(0) / math.sqrt(6)
    assert bool(((torch.stack(shares).mean(0) - truth.weights).abs() < 5.0 * error + 0.03).all())
    assert float(torch.cat(evidence).mean()) == pytest.approx(truth.log_evidence, abs=0.08)
    assert float((WEIGHTS - truth.weights).abs().max()) > 0.1  # the observation tells them apart


def test_a_flow_and_a_guided_program_are_conditioned_too():
    network = LabelledMixture(Linear().as_schedule())
    flow = ug.FlowMatching(2, network=network, interpolant=Linear(), prediction=Eps()).double()
    truth = MixturePosterior(WEIGHTS, CENTRES, STDS, OBSERVATION)
    found = TwistedSMC(OBSERVATION, 600, 100).posterior(flow)
    assert float((found.expect(found.draws) - truth.mean).abs().max()) < 0.2
    label = torch.tensor([[0.0, 0.0, 1.0]]).double()
    given = ug.Guided(labelled_diffusion(), ug.ClassifierFree(1.0))
    one = slice(2, 3)
    truth = MixturePosterior(ONE, CENTRES[one], STDS[one], OBSERVATION)
    found = TwistedSMC(OBSERVATION, 600, 100).posterior(given, label)
    assert float((found.expect(found.draws) - truth.mean).abs().max()) < 0.15


def test_it_is_a_sampler():
    prior, sampler = gaussian_prior(MEAN, STD, 2), TwistedSMC(OBSERVATION, 64, 10)
    x = prior.sample(100, sampler=sampler, seed=3)
    assert x.shape == (100, 2)
    assert torch.equal(x, prior.sample(100, sampler=sampler, seed=3))
    found = sampler.posterior(prior, seed=3)
    assert torch.equal(found.draws, sampler.posterior(prior, seed=3).draws)
    assert found.ess.shape == (12,)  # at the start, after each step, at the end
    assert 1.0 <= float(found.ess.min()) <= 64.0
    assert "log p(y)" in repr(found)
    single = ug.Diffusion(2, hidden=8, blocks=1).sample(3, sampler=sampler, seed=3)
    assert single.dtype == torch.float32


def test_progress_is_told():
    seen = []
    sampler = TwistedSMC(OBSERVATION, 4, 3, progress=lambda k, n: seen.append((k, n)))
    gaussian_prior(MEAN, STD, 2).sample(2, sampler=sampler)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_misuse_is_refused():
    with pytest.raises(ShapeError, match="one column a feature"):
        gaussian_prior(0.0, 1.0, 3).sample(2, sampler=TwistedSMC(OBSERVATION))
    with pytest.raises(ArgumentError, match="AnnealedSMC"):
        ug.PPCA(2, 1).sample(2, sampler=TwistedSMC(OBSERVATION))
    with pytest.raises(ContextError, match="one context"):
        labelled_diffusion().sample(3, torch.eye(3).double(), sampler=TwistedSMC(OBSERVATION, 8, 4))
    with pytest.raises(ContextError, match="no context"):
        TwistedSMC(OBSERVATION, 8, 4).posterior(labelled_diffusion())
    with pytest.raises(ArgumentError, match="steps"):
        TwistedSMC(OBSERVATION, steps=0)
    with pytest.raises(ArgumentError, match="particles"):
        TwistedSMC(OBSERVATION, particles=1)
    mute = ug.Diffusion(2, network=torch.nn.Linear(2, 2), schedule=ZeroTerminal(), prediction=X0())
    mute.denoiser.network.forward = lambda z, t: 0.5 * z
    with pytest.raises(ArgumentError, match="signal"):
        mute.sample(2, sampler=TwistedSMC(OBSERVATION, 4, 3, times=[1.0, 0.6, 0.3, 0.0]))
    broken = ug.Diffusion(2, hidden=8, blocks=1)
    with torch.no_grad():
        broken.denoiser.network.output.bias.fill_(math.inf)
    with pytest.raises(NonFiniteError, match="diverged"):
        broken.sample(2, sampler=TwistedSMC(OBSERVATION, 4, 3))
