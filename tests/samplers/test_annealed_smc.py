"""Posterior draws of programs that have a density and no denoiser, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import unigen as ug
from tests.conditional_problems import CENTRES, STDS, WEIGHTS, MixturePosterior
from unigen.distributions.likelihoods import Bernoulli
from unigen.dynamics.observation import Inpainting, LinearObservation
from unigen.errors import ArgumentError, NonFiniteError, ShapeError, UnsupportedQueryError
from unigen.samplers.annealed_smc import AnnealedSMC

OBSERVATION = LinearObservation(torch.tensor([[1.0, 0.7]]).double(), torch.tensor([0.8]).double(), 0.3)
ONE = torch.ones(1).double()


def mixture() -> ug.GaussianMixture:
    program = ug.GaussianMixture(2, 3, covariance="diagonal").double()
    with torch.no_grad():
        program.logits.copy_(WEIGHTS.log())
        program.means.copy_(CENTRES)
        program.log_scales.copy_(STDS.log()[:, None].expand(3, 2))
    return program


def worst(values: Tensor, truth: Tensor) -> float:
    """The largest error of the means of independent runs (R, D) in standard errors."""
    return float(((values.mean(0) - truth) / (values.std(0) / math.sqrt(values.shape[0]))).abs().max())


@pytest.mark.parametrize("noise", [0.3, 0.03])
def test_a_mixture_has_its_exact_posterior(noise):
    """Moments, weights of the components and log p(y); a sharper observation takes more degrees."""
    program, runs = mixture(), 12
    observation = LinearObservation(OBSERVATION.matrix, OBSERVATION.y, noise)
    truth = MixturePosterior(WEIGHTS, CENTRES, STDS, observation)
    found = [AnnealedSMC(observation, 300, moves=3).posterior(program) for _ in range(runs)]
    assert worst(torch.stack([r.expect(r.draws) for r in found]), truth.mean) < 6.0
    assert worst(torch.stack([r.expect(r.draws**2) for r in found]), truth.second) < 6.0
    shares = torch.stack([r.expect(program.posterior(r.draws).probs.detach()) for r in found])
    assert worst(shares, truth.weights) < 6.0
    z = torch.cat([r.log_evidence.value for r in found]).exp()
    # adapting β biases p(y) by the order of 1/K: a hundredth beside the errors of the runs
    assert (
        abs(float(z.mean()) / math.exp(truth.log_evidence) - 1.0)
        < 5.0 * float(z.std() / z.mean()) / runs**0.5 + 0.02
    )


def test_ppca_has_its_exact_posterior():
    """A normal of full covariance and a correlated posterior; inpainting two of five entries."""
    program = ug.PPCA(5, 2).double()
    ug.fit(program, torch.randn(200, 5).double() @ torch.randn(5, 5).double())
    law, known, y = (
        program.marginal(),
        torch.tensor([True, False, True, False, False]),
        torch.randn(5).double(),
    )
    loc, covariance, noise = law.mean.detach(), law.covariance_matrix.detach(), 0.1
    a = torch.eye(5).double()[known]
    s = a @ covariance @ a.T + noise**2 * torch.eye(2).double()
    gain = covariance @ a.T @ torch.linalg.inv(s)
    mean, left = loc + gain @ (y[known] - loc[known]), covariance - gain @ a @ covariance
    found = [AnnealedSMC(Inpainting(known, y, noise), 200, moves=3).posterior(program) for _ in range(12)]
    assert worst(torch.stack([r.expect(r.draws) for r in found]), mean) < 6.5
    squares = torch.stack([r.expect((r.draws - mean).square()) for r in found])
    assert worst(squares, left.diagonal()) < 6.5
    log_y = torch.distributions.MultivariateNormal(loc[known], s).log_prob(y[known])
    value = torch.cat([r.log_evidence.value for r in found])
    assert float(value.mean()) == pytest.approx(float(log_y), abs=5.0 * float(value.std()) / 12**0.5 + 0.02)


def test_an_unnormalised_density_will_do():
    """An energy model of N(0, I): its draws are of Langevin chains, its log Z is not needed."""

    class Zero(nn.Module):
        def forward(self, u: Tensor) -> Tensor:
            return 0.0 * u.sum(-1)

    program = ug.EnergyModel(2, energy=Zero(), sampler=ug.Langevin(60, 0.3, adjusted=True)).double()
    truth = MixturePosterior(ONE, torch.zeros(1, 2).double(), ONE, OBSERVATION)
    found = [AnnealedSMC(OBSERVATION, 500).posterior(program) for _ in range(12)]
    assert worst(torch.stack([r.expect(r.draws) for r in found]), truth.mean) < 6.5
    assert worst(torch.stack([r.expect(r.draws**2) for r in found]), truth.second) < 6.5


def test_a_flow_and_a_likelihood_of_ones_own():
    """A nonlinear observation of an affine flow, by quadrature on a grid."""
    program = ug.MAF(2, hidden=(8,)).double()

    def log_prob(x: Tensor) -> Tensor:
        return -0.5 * ((x.square().sum(-1) - 1.0) / 0.2).square()

    axis = torch.linspace(-5.0, 5.0, 201).double()
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        weights = torch.softmax(program.log_prob(grid).value + log_prob(grid), 0)
    runs = [AnnealedSMC(log_prob, 200, moves=3).posterior(program) for _ in range(12)]
    values = torch.stack([torch.cat((r.expect(r.draws), r.expect(r.draws**2))) for r in runs])
    assert worst(values, torch.cat((weights @ grid, weights @ grid**2))) < 6.5


def test_it_is_a_sampler():
    program, sampler = mixture(), AnnealedSMC(OBSERVATION, 64)
    x = program.sample(100, sampler=sampler, seed=1)
    assert x.shape == (100, 2)
    assert torch.equal(x, program.sample(100, sampler=sampler, seed=1))
    found = sampler.posterior(program)
    assert found.resampled == found.ess.shape[0]
    assert torch.unique(found.draws, dim=0).shape[0] > 48  # the moves part what resampling doubled
    assert found.log_evidence.stderr is not None
    x = ug.PPCA(20, 2).sample(
        30, sampler=AnnealedSMC(lambda x: -x.square().sum(-1), 32)
    )  # fewer particles than entries
    assert x.shape == (30, 20)
    assert bool(x.isfinite().all())


def test_misuse_is_refused():
    with pytest.raises(UnsupportedQueryError, match=r"lower bound.*exact"):
        ug.VAE(2, 1).sample(2, sampler=AnnealedSMC(OBSERVATION))
    with pytest.raises(UnsupportedQueryError, match="Euclidean"):
        ug.MADE(2, likelihood=Bernoulli()).sample(2, sampler=AnnealedSMC(OBSERVATION))
    with pytest.raises(ShapeError, match="column"):
        ug.PPCA(3, 1).sample(2, sampler=AnnealedSMC(OBSERVATION))
    with pytest.raises(ArgumentError, match="gradient"):
        ug.PPCA(3, 1).sample(2, sampler=AnnealedSMC(lambda x: (x.detach() > 0).float().sum(-1)))
    with pytest.raises(ArgumentError, match="moves"):
        AnnealedSMC(OBSERVATION, moves=0)
    with pytest.raises(ArgumentError, match="threshold"):
        AnnealedSMC(OBSERVATION, threshold=1.0)
    with pytest.raises(NonFiniteError, match="finite"):
        mixture().sample(2, sampler=AnnealedSMC(lambda x: x.sum(-1) * math.nan))
