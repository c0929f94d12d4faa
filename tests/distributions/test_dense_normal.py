"""The dense Gaussian against torch's own, in every arrangement of batches."""

from __future__ import annotations

import pytest
import torch
from pyro import distributions as dist

from unigen.distributions.dense_normal import DenseNormal


def factor(*batch: int, d: int = 3) -> torch.Tensor:
    return torch.randn(*batch, d, d).double().tril(-1) + torch.diag_embed(
        torch.rand(*batch, d).double() + 0.5
    )


@pytest.mark.parametrize(("loc", "tril", "value"), [
    ((), (), ()), ((), (), (7,)), ((4,), (), (4,)), ((4,), (4,), (4,)), ((4,), (4,), (7, 1)), ((4,), (4,), (7, 4)),
    ((), (4,), (7, 1)), ((6, 4), (4,), (6, 4)), ((6, 4), (6, 1), (6, 4)), ((6, 4), (6, 4), (2, 6, 4)),
])  # fmt: skip
def test_log_prob_is_torchs(loc, tril, value):
    mean, scale_tril, x = torch.randn(*loc, 3).double(), factor(*tril), torch.randn(*value, 3).double()
    ours, theirs = (f(mean, scale_tril=scale_tril) for f in (DenseNormal, dist.MultivariateNormal))
    assert ours.log_prob(x).shape == theirs.log_prob(x).shape
    assert torch.allclose(ours.log_prob(x), theirs.log_prob(x), atol=1e-11)
    assert type(ours.expand((2, *ours.batch_shape))) is DenseNormal


def test_gradients():
    mean, scale_tril, x = torch.randn(3).double(), factor(), torch.randn(2, 3).double()
    arguments = [t.requires_grad_(True) for t in (mean, scale_tril, x)]

    def log_prob(loc, raw, value):
        return DenseNormal(loc, scale_tril=raw.tril(), validate_args=False).log_prob(value)

    assert torch.autograd.gradcheck(log_prob, arguments)


def test_kl_is_torchs():
    p, q = (DenseNormal(torch.randn(3).double(), scale_tril=factor()) for _ in range(2))
    a, b = (dist.MultivariateNormal(r.loc, scale_tril=r.scale_tril) for r in (p, q))
    assert torch.allclose(torch.distributions.kl_divergence(p, q), torch.distributions.kl_divergence(a, b))
