"""Oracle: the Gaussian, whose energy and normaliser are known."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from pyro import poutine
from torch.distributions import Normal, constraints

from unigen.distributions.energy import EnergyDistribution
from unigen.errors import DTypeError, ShapeError, SupportError, UnsupportedQueryError
from unigen.logprob import Kind


def gaussian(batch=()):
    return EnergyDistribution(
        lambda x: 0.5 * x.square().sum(-1), (2,), lambda shape: torch.randn(*shape, 2), batch_shape=batch
    )


def test_log_prob_is_minus_the_energy_and_log_z_is_the_known_constant():
    x = torch.randn(50, 2)
    gap = gaussian().log_prob(x) - Normal(0.0, 1.0).log_prob(x).sum(-1)
    torch.testing.assert_close(gap, torch.full((50,), math.log(2 * math.pi)))
    assert gaussian().kind is Kind.UNNORMALISED and not gaussian().has_rsample


def test_score_through_autograd():
    x = torch.randn(5, 2, requires_grad=True)
    (score,) = torch.autograd.grad(gaussian().log_prob(x).sum(), x)
    torch.testing.assert_close(score, -x.detach())


def test_draws_come_from_the_sampler_in_plates_too():
    p = gaussian((5,))
    assert p.sample((3,)).shape == (3, 5, 2)

    def model():
        with pyro.plate("particles", 3, dim=-2), pyro.plate("data", 5):
            return pyro.sample("x", gaussian())

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["x"]["log_prob"].shape == (3, 5)
    assert p.expand((4, 5)).log_prob(torch.zeros(2)).shape == (4, 5)


def test_refusals():
    with pytest.raises(UnsupportedQueryError):
        EnergyDistribution(lambda x: x.sum(-1), (2,)).sample()
    with pytest.raises(ShapeError, match="one number"):
        EnergyDistribution(lambda x: x[..., :1], (2,)).log_prob(torch.zeros(3, 2))
    with pytest.raises(ShapeError):
        EnergyDistribution(lambda x: x.sum(-1), (2,), lambda shape: torch.zeros(3)).sample()
    with pytest.raises(DTypeError):
        gaussian().log_prob(torch.zeros(3, 2, dtype=torch.long))
    positive = EnergyDistribution(lambda x: x.sum(-1), (2,), support=constraints.positive)
    with pytest.raises(SupportError):
        positive.log_prob(torch.tensor([[1.0, -1.0]]))
    assert positive.support.event_dim == 1
