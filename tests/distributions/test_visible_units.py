"""Visible units: their log partition is a sum or an integral, their tempered conditional a normalised product."""

from __future__ import annotations

import math

import pytest
import torch

from tests.boltzmann_problems import states
from unigen.distributions.visible_units import BernoulliUnits, GaussianUnits
from unigen.errors import ArgumentError

A = torch.tensor([0.7, -1.3], dtype=torch.float64)


def units(kind):
    made = kind(2).double()
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(0.4 * torch.randn_like(value))
    return made


def grid() -> torch.Tensor:
    line = torch.linspace(-24, 24, 601, dtype=torch.float64)
    return torch.cartesian_prod(line, line)


def points(made) -> tuple[torch.Tensor, float]:
    return (states(2), 1.0) if made.finite else (grid(), 0.08**2)


@pytest.mark.parametrize("kind", [BernoulliUnits, GaussianUnits])
def test_the_log_partition_is_the_sum_over_x(kind):
    made = units(kind)
    x, step = points(made)
    log_mass = made.log_base(x) + made.statistic(x) @ A
    total = (log_mass.logsumexp(0) + math.log(step)).item()
    assert made.log_partition(A).item() == pytest.approx(total, abs=1e-8)
    difference = made.conditional(A).log_prob(x).sum(-1) - (log_mass - made.log_partition(A))
    near = log_mass > log_mass.max() - 50
    assert float(difference.detach()[near].abs().max()) < 1e-10


@pytest.mark.parametrize("kind", [BernoulliUnits, GaussianUnits])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_tempered_conditional_is_the_normalised_product(kind, beta):
    made = units(kind)
    made.initialise(
        torch.randint(2, (50, 2)).double() if made.finite else 2 + 0.7 * torch.randn(50, 2).double()
    )
    with torch.no_grad():
        made.bias.add_(0.5)
    x, _ = points(made)
    mass = (1 - beta) * made.log_reference(x) + beta * (made.log_base(x) + made.statistic(x) @ A)
    found = made.conditional(A, beta).log_prob(x).sum(-1) - mass
    near = mass > mass.max() - 50
    assert float((found - found[near][0]).detach()[near].abs().max()) < 1e-9


@pytest.mark.parametrize("kind", [BernoulliUnits, GaussianUnits])
@pytest.mark.parametrize("beta", [0.4, 1.0])
def test_draws_come_from_the_conditional(kind, beta):
    made, n = units(kind), 40_000
    x = made.draw(A.expand(n, 2), beta)
    p = made.conditional(A, beta)
    assert bool(((x.mean(0) - p.mean).abs() < 5 * p.stddev / n**0.5).all())
    if not made.finite:
        assert bool(((x.std(0) / p.stddev - 1).abs() < 5 / (2 * n) ** 0.5).all())


def test_starting_values_are_those_of_independent_features():
    bits, reals = BernoulliUnits(3), GaussianUnits(3)
    x = (torch.rand(200, 3) < torch.tensor([0.0, 0.3, 1.0])).float()
    bits.initialise(x)
    torch.testing.assert_close(bits.mean, (x.sum(0) + 0.5) / 201)
    torch.testing.assert_close(bits.bias.sigmoid(), bits.mean)
    x = 2 + 3 * torch.randn(500, 3)
    reals.initialise(x)
    torch.testing.assert_close(reals.conditional(torch.zeros(3)).mean, x.mean(0))
    torch.testing.assert_close(reals.sigma, x.std(0, unbiased=False))
    assert float(GaussianUnits(3, 0.5).sigma[0]) == 0.5


def test_bad_arguments_are_refused():
    for kind in (BernoulliUnits, GaussianUnits):
        with pytest.raises(ArgumentError, match="features"):
            kind(0)
    for scale in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ArgumentError, match="scale"):
            GaussianUnits(2, scale)
