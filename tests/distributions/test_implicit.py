"""Oracle: the pushforward of a Gaussian by an affine map is a Gaussian."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from unigen.distributions.implicit import Implicit, pushforward
from unigen.errors import NoDensityError, ShapeError, UnsupportedQueryError


def test_pushforward_of_a_gaussian_has_its_moments():
    a = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, 1.0]])
    p = pushforward(lambda z: z @ a.T + 1.0, dist.Normal(torch.zeros(2), 1.0).to_event(1), (3,))
    x = p.sample((100_000,))
    n = math.sqrt(100_000)
    sd = (a @ a.T).diag().sqrt()
    assert (((x.mean(0) - 1.0) / sd).abs() * n < 5).all()
    assert ((torch.cov(x.T) - a @ a.T).abs() < 5 * (2 * sd[:, None] * sd).div(n)).all()


def test_gradients_flow_to_the_generator():
    generator = torch.nn.Linear(2, 3)
    p = pushforward(generator, dist.Normal(torch.zeros(2), 1.0).to_event(1), (3,))
    p.rsample((5,)).sum().backward()
    assert p.has_rsample and generator.weight.grad.abs().sum() > 0 and not p.sample((5,)).requires_grad


def test_there_is_no_density_and_the_message_says_what_to_do():
    p = Implicit((2,), lambda shape: torch.rand(*shape, 2), name="GAN")
    with pytest.raises(NoDensityError, match=r"GAN.*two-sample"):
        p.log_prob(torch.zeros(2))
    with pytest.raises(NotImplementedError):
        poutine.trace(lambda: pyro.sample("x", p)).get_trace().compute_log_prob()


def test_plates_and_expand():
    base = dist.Normal(torch.arange(5.0)[:, None].expand(5, 2), 0.01).to_event(1)
    p = pushforward(lambda z: z, base, (2,))
    assert p.batch_shape == (5,) and p.sample((3,)).shape == (3, 5, 2)
    assert (p.sample() - base.mean).abs().max() < 0.1

    def model():
        with pyro.plate("particles", 3, dim=-2), pyro.plate("data", 5):
            return pyro.sample("x", p)

    assert model().shape == (3, 5, 2)
    assert p.expand((4, 5)).event_shape == (2,) and p.support.event_dim == 1 and p.kind is None


def test_a_sampler_of_the_wrong_shape_or_without_gradients_is_refused():
    with pytest.raises(ShapeError):
        Implicit((2,), lambda shape: torch.rand(*shape, 3)).sample((4,))
    with pytest.raises(UnsupportedQueryError):
        Implicit((2,), lambda shape: torch.rand(*shape, 2), reparameterised=False).rsample()
    with pytest.raises(UnsupportedQueryError):
        pushforward(lambda z: z, dist.Poisson(3.0).expand((2,)).to_event(1), (2,)).rsample()
