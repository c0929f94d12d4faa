"""Weighted steps: closed forms on repeated examples, gradients that never lose, and what is undone."""

from __future__ import annotations

import copy

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import nn

from tests.programs import Conditional
from unigen.errors import ArgumentError, NoDensityError, ShapeError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.flow import MAF
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.objectives.elbo import ELBO
from unigen.objectives.likelihood import EM, MaximumLikelihood
from unigen.objectives.weighted import (
    default_objective,
    need_exact,
    raise_components,
    raise_likelihood,
    seed_components,
    takes_weights,
)
from unigen.program import Program


def test_who_has_a_weighted_step():
    assert all(takes_weights(p) for p in (PPCA(3, 1), FactorAnalysis(3, 1), GaussianMixture(3, 2)))
    assert takes_weights(MAF(3)) is None and takes_weights(VAE(3, 1)) is None


@pytest.mark.parametrize(
    "make", [lambda: PPCA(3, 1), lambda: FactorAnalysis(3, 1), lambda: MAF(3, hidden=())]
)
def test_the_weighted_likelihood_rises(make):
    program, x = make().double(), torch.randn(50, 3).double() * torch.tensor([3.0, 1.0, 0.5]) + 1
    w = torch.rand(50).double()
    values = []
    for _ in range(8):
        values.append((w * program.log_prob(x).value).sum().item())
        raise_likelihood(program, x, w)
    assert all(b >= a - 1e-9 for a, b in zip(values, values[1:], strict=False))
    assert values[-1] > values[0]


class Diagonal(Program):
    """x ~ N(m, diag exp(s)²), without a step of its own."""

    def __init__(self) -> None:
        super().__init__((2,))
        self.loc, self.log_scale = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(self.loc, self.log_scale.exp()).to_event(1), obs=x)


def test_gradients_reach_the_weighted_moments():
    x, w = torch.randn(200, 2).double() * torch.tensor([2.0, 0.5]) + 1, torch.rand(200).double()
    program = Diagonal().double()
    for _ in range(10):
        raise_likelihood(program, x, w)
    mean = (w @ x) / w.sum()
    assert torch.allclose(program.loc, mean, atol=3e-4)
    assert torch.allclose(program.log_scale.exp().square(), w @ (x - mean).square() / w.sum(), atol=1e-3)


class Collapsing(Diagonal):
    """Whose step ends in a point mass, and says nothing."""

    @torch.no_grad()
    def em_step(self, x, weights=None):
        self.loc.copy_(x[0])
        self.log_scale.fill_(-1e6)


def test_a_step_that_leaves_no_density_is_undone():
    program, x = Collapsing(), torch.randn(20, 2)
    before = program.log_prob(x).value
    with pytest.raises(ArgumentError, match="no maximum"):
        raise_likelihood(program, x, torch.ones(20))
    assert torch.equal(program.log_prob(x).value, before)


@pytest.mark.parametrize("make", [lambda: PPCA(2, 1), lambda: GaussianMixture(2, 2), Diagonal, Collapsing])
def test_an_empty_component_keeps_its_parameters(make):
    empty, full = make(), PPCA(2, 1)
    before = copy.deepcopy(empty.state_dict())
    r = torch.tensor([[0.0, 1.0]]).double().expand(30, 2)
    raise_components([empty, full], torch.randn(30, 2), r)
    assert all(torch.equal(before[k], v) for k, v in empty.state_dict().items() if k != "seeded")


def test_all_components_without_a_maximum_raise_and_one_does_not():
    bad, good = PPCA(3, 1).double(), PPCA(3, 1).double()
    x = torch.cat([torch.ones(5, 3), torch.randn(20, 3)]).double()
    r = torch.zeros(25, 2).double()
    r[:5, 0] = r[5:, 1] = 1.0
    before = bad.weight.clone()
    raise_components([bad, good], x, r)
    assert torch.equal(bad.weight, before)
    with pytest.raises(ArgumentError):
        raise_components([bad], x, r[:, :1])


def test_seeding():
    x = torch.cat([torch.randn(30, 2) - 9, torch.randn(30, 2) + 9])
    parts = [MAF(2, hidden=(4,)), PPCA(2, 1)]
    r = seed_components(parts, x, None, "M")
    assert torch.allclose(r.sum(1), torch.ones(60).double()) and r.min() == pytest.approx(0.01)
    better = torch.stack([p.log_prob(x).value for p in parts], -1).argmax(1)
    assert torch.equal(better, r.argmax(1))
    with pytest.raises(ShapeError, match="at least K = 2"):
        seed_components(parts, x[:1], None, "M")


def test_defaults_and_refusals():
    exact = PPCA(2, 1)
    assert isinstance(default_objective([exact], exact.kind), EM)
    assert isinstance(default_objective([exact, MAF(2)], exact.kind), MaximumLikelihood)
    assert isinstance(default_objective([Conditional()], exact.kind), MaximumLikelihood)
    vae = VAE(2, 1)
    assert isinstance(default_objective([vae], vae.kind), ELBO)
    with pytest.raises(NoDensityError, match="component 1, VAE: lower bound"):
        need_exact([exact, vae], "M")
