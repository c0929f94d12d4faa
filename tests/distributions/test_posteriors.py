"""Posterior heads: what their numbers mean, and divergences by torch and by quadrature."""

from __future__ import annotations

import pytest
import torch
from pyro import distributions as dist
from torch.distributions import MultivariateNormal, kl_divergence
from torch.nn.functional import softplus

from unigen.distributions.posteriors import FLOOR, FullCovariance, MeanField, MixturePosterior
from unigen.errors import ArgumentError, ShapeError

F64 = torch.float64
HEADS = [MeanField(), FullCovariance(), MixturePosterior(3)]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
@pytest.mark.parametrize("latents", [1, 2, 5])
def test_each_is_a_distribution_with_gradients_in_all_its_numbers(head, latents: int):
    raw = torch.randn(4, head.width(latents), dtype=F64, requires_grad=True)
    q = head(raw, (latents,))
    assert (q.batch_shape, q.event_shape, q.has_rsample) == ((4,), (latents,), True)
    z = q.rsample((3,))
    assert z.shape == (3, 4, latents)
    z_part = torch.autograd.grad(z.sin().sum(), raw, retain_graph=True)[0]
    density = torch.autograd.grad(q.log_prob(z.detach()).sum(), raw)[0]
    assert z_part.isfinite().all() and (density != 0).all()


def test_the_numbers_of_a_full_covariance():
    raw = torch.randn(7, 9, dtype=F64)
    q = FullCovariance()(raw, (3,))
    assert torch.equal(q.loc, raw[:, :3])
    torch.testing.assert_close(q.scale_tril.diagonal(dim1=-2, dim2=-1), softplus(raw[:, 3:6]) + FLOOR)
    below = q.scale_tril[:, [1, 2, 2], [0, 0, 1]]
    assert torch.equal(below, raw[:, 6:]) and torch.equal(q.scale_tril, q.scale_tril.tril())


def test_the_divergence_of_a_full_covariance_from_a_diagonal_is_torchs():
    q = FullCovariance()(torch.randn(4, 9, dtype=F64), (3,))
    loc, scale = torch.randn(3, dtype=F64), 0.5 + torch.rand(3, dtype=F64)
    p = dist.Normal(loc, scale).to_event(1)
    expected = kl_divergence(
        MultivariateNormal(q.loc, scale_tril=q.scale_tril), MultivariateNormal(loc, scale_tril=scale.diag())
    )
    torch.testing.assert_close(kl_divergence(q, p), expected)
    torch.testing.assert_close(kl_divergence(q.expand((2, 4)), p), expected.expand(2, 4))
    for other in (dist.Laplace(loc, scale).to_event(1), dist.Normal(loc.expand(4, 3), scale).to_event(2)):
        with pytest.raises(NotImplementedError):
            kl_divergence(q, other)


def test_an_encoder_of_another_width_is_refused():
    with pytest.raises(
        ShapeError, match=r"FullCovariance.*got \(4, 6\), expected \(\.\.\., 9\) for 3 latents"
    ):
        FullCovariance()(torch.zeros(4, 6), (3,))
    with pytest.raises(ArgumentError, match="components"):
        MixturePosterior(0)
