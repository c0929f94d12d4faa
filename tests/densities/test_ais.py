"""Annealed importance sampling: closed forms inside the bracket, T = 1 is importance weighting, honest errors."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from pyro import distributions as dist

import unigen as ug
from tests.densities.test_latent_space import Constrained
from tests.problems import toy_bound, toy_evidence
from tests.programs import Conditional, Toy
from unigen.densities.ais import AIS
from unigen.densities.importance import Importance
from unigen.errors import ArgumentError, NonFiniteError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.energy import EnergyModel
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.program import Program

ROWS = 400


def ones(n: int = ROWS) -> torch.Tensor:
    return torch.ones(n, 1, dtype=torch.float64)


class Jarzynski(Program):
    """Base N(0, 1); joint exp(−2z²)/√2π at every x, so that p(x) is ½: work of the potential ½z² → 2z²."""

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(torch.zeros(1).double(), 0.5).to_event(1))
            # a factor: N(z; 0, ½) · √(2π)/2·… is written as a Bernoulli(½) observation that z does not move
            half = torch.full_like(z, 0.5)
            return pyro.sample("x", dist.Bernoulli(half).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            return pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0).to_event(1))


def test_jarzynski_work_from_one_potential_to_the_other():
    """½z² → 2z²: log of the ratio of integrals −.693147, below in expectation and met by 100 steps."""
    found = Jarzynski().log_prob(ones(60), density=AIS(steps=60, chains=8, leapfrog=3))
    z = (found.value.mean() + math.log(2)) / (found.value.std() / 60**0.5)
    assert z.abs() < 5
    assert found.value.std() < 0.16  # a single jump has √((4 / √7 − 1) / 8) = .253


@pytest.mark.parametrize("chains", [1, 5])
def test_one_step_is_the_importance_weighted_bound(chains):
    found = Toy().log_prob(ones(4000), density=AIS(steps=1, chains=chains))
    assert found.kind is Kind.LOWER_BOUND
    assert abs(found.value.mean() - toy_bound(chains)) < 5 * found.value.std() / 4000**0.5


def test_the_toy_lies_inside_and_the_gap_shrinks_with_steps():
    """log p(1) = −1.515512 between both sides, whose distance falls from 2 to 30 steps."""
    truth, gaps = toy_evidence(), []
    for steps in (2, 30):
        density = AIS(steps=steps, chains=8, leapfrog=3)
        z = {"z": 0.5 + 0.5**0.5 * torch.randn(ROWS, 1).double()}
        lower, upper = density.lower(Toy(), ones()).bound, density.upper(Toy(), ones(), z).bound
        assert upper.kind is Kind.UPPER_BOUND and upper.stderr is None
        assert (
            lower.value.mean() - 5 * lower.mean().stderr
            < truth
            < upper.value.mean() + 5 * upper.mean().stderr
        )
        gaps.append((upper.value - lower.value).mean().item())
    assert gaps[0] > 0.1 and gaps[1] < gaps[0] / 3


def test_the_stated_error_is_the_spread():
    found = Toy().log_prob(ones(), density=AIS(steps=10, chains=32, leapfrog=2))
    assert found.stderr is not None
    assert found.stderr.mean().item() == pytest.approx(found.value.std().item(), rel=0.2)


def test_ppca_from_its_prior_reaches_the_closed_form():
    program = PPCA(4, 2).double()
    x = program.sample(30)
    exact = program.log_prob(x).value
    rough = program.log_prob(x, density=AIS(steps=1, chains=4, from_prior=True))
    fine = program.log_prob(x, density=AIS(steps=60, chains=4, leapfrog=3, from_prior=True))
    assert (exact - rough.value).mean() > 3 * (exact - fine.value).mean().abs()
    error = (fine.value - exact).std() / 30**0.5
    assert (fine.value - exact).mean() < 5 * error
    with_guide = program.log_prob(x, density=AIS(steps=4, chains=2))
    assert torch.allclose(with_guide.value, exact, atol=1e-9)


def test_constrained_latents_agree_with_importance_sampling():
    """Two estimates of log p(x), annealed (in the reals) and by 100,000 prior draws, within their errors."""
    program = Constrained()
    x = program.sample(6).double()
    annealed = program.log_prob(x, density=AIS(steps=60, chains=24, leapfrog=3, from_prior=True))
    total = torch.stack([_brute(x) for _ in range(5)]).logsumexp(0) - math.log(5)
    assert ((annealed.value - total).abs() < 6 * annealed.stderr + 0.03).all()


def _brute(x: torch.Tensor, draws: int = 20_000) -> torch.Tensor:
    """log p(x) of ``Constrained`` by draws of its prior, without unigen."""
    rate = torch.distributions.Gamma(torch.tensor(2.0).double(), 1.0).sample((draws,))
    weights = torch.distributions.Dirichlet(torch.tensor([2.0, 3.0, 4.0]).double()).sample((draws,))
    fraction = torch.distributions.Beta(torch.tensor(2.0).double(), 3.0).sample((draws,))
    loc = rate[:, None] * weights + fraction[:, None]
    each = torch.distributions.Normal(loc[:, None], 0.5).log_prob(x).sum(-1)
    return each.logsumexp(0) - math.log(draws)


def test_the_batch_cuts_rows_and_latents_alike():
    program = PPCA(4, 2).double()
    x = program.sample(9)
    density = AIS(steps=2, chains=4, leapfrog=1, batch=16)
    exact = program.log_prob(x).value
    z = {"z": program.posterior(x).sample()}
    assert torch.allclose(density.lower(program, x).bound.value, exact)
    assert torch.allclose(density.upper(program, x, z).bound.value, exact)


def test_an_energy_prior_stays_unnormalised():
    program = VAE(3, 2, hidden=(4,), prior=EnergyModel(2, hidden=(4,)))
    found = program.log_prob(torch.randn(3, 3), density=AIS(steps=3, chains=2))
    assert found.kind is Kind.UNNORMALISED


def test_a_conditional_program_cuts_its_context():
    program = VAE(3, 2, hidden=(8,), context=2)
    x, c = torch.randn(7, 3), torch.randn(7, 2)
    found = program.log_prob(x, c, density=AIS(steps=15, chains=16, leapfrog=2, batch=64))
    other = program.log_prob(x, c, density=Importance(5000))
    assert ((found.value - other.value).abs() < 6 * torch.hypot(found.stderr, other.stderr) + 0.02).all()


def test_refusals():
    for options in ({"steps": 0}, {"chains": 0}, {"leapfrog": 0}, {"batch": 0}, {"steps": 2.5}):
        with pytest.raises(ArgumentError):
            AIS(**options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnsupportedQueryError, match="no latent"):
        Conditional().log_prob(torch.zeros(2, 2), torch.zeros(2, 3), density=AIS(2, 2))
    with pytest.raises(UnsupportedQueryError, match="gradient"):
        Toy().score(ones(2), density=AIS(2, 2))


def test_a_guide_outside_the_prior_ends_in_an_error():
    class Outside(Toy):
        def guide(self, x):
            with self.plate(x):
                return pyro.sample("z", dist.Normal(torch.full_like(x, 1e200), 1.0).to_event(1))

    with pytest.raises(NonFiniteError, match="finite weight"):
        Outside().log_prob(ones(2), density=AIS(1, 2))


def test_it_saves_and_loads_as_the_density_of_a_program(tmp_path):
    program = ug.DDPM(2, density=AIS(steps=7, chains=3, from_prior=True))
    ug.save(program, tmp_path / "program.safetensors")
    found = ug.load(tmp_path / "program.safetensors").density
    assert repr(found) == repr(ug.AIS(7, 3, from_prior=True))
