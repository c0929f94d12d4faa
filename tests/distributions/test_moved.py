"""Moved distributions have the same density, and no tensor is left behind; "meta" stands in for an accelerator."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import Distribution, Transform

from unigen.distributions.moved import moved

CASES = {
    "normal": lambda: dist.Normal(torch.zeros(3), 2.0).to_event(1),
    "expanded": lambda: dist.Normal(0.0, 1.0).expand((2, 3)).to_event(2),
    "half Cauchy": lambda: dist.HalfCauchy(torch.ones(2)),
    "gamma": lambda: dist.Gamma(2.0, torch.ones(2)),
    "uniform": lambda: dist.Uniform(-torch.ones(2), 2.0),
    "full covariance": lambda: dist.MultivariateNormal(torch.zeros(2), torch.eye(2)),
    "dirichlet": lambda: dist.Dirichlet(torch.ones(3)),
    "transformed": lambda: dist.TransformedDistribution(
        dist.Normal(torch.zeros(2), 1.0), [dist.transforms.AffineTransform(torch.ones(2), 2.0)]
    ),
    "log-normal": lambda: dist.LogNormal(torch.zeros(2), 1.0),
    "mixture": lambda: dist.MixtureSameFamily(
        dist.Categorical(torch.ones(2) / 2), dist.Normal(torch.tensor([-1.0, 1.0]), 1.0)
    ),
    "correlations": lambda: dist.LKJCholesky(3, torch.tensor(2.0)),
}


def tensors(holder):
    """Every tensor inside a distribution, by another walk than the one under test."""
    seen, stack = [], [holder]
    while stack:
        value = stack.pop()
        if isinstance(value, torch.Tensor):
            seen.append(value)
        elif isinstance(value, (Distribution, Transform)):
            stack.extend(vars(value).values())
        elif isinstance(value, (list, tuple)):
            stack.extend(value)
    return seen


@pytest.mark.parametrize("case", CASES)
def test_the_density_is_the_same_and_in_the_new_dtype(case):
    p = CASES[case]()
    q = moved(p, lambda t: t.double() if t.is_floating_point() else t)
    x = p.sample((5,))
    assert type(q) is type(p) and (q.batch_shape, q.event_shape) == (p.batch_shape, p.event_shape)
    found = q.log_prob(x.double())
    assert found.dtype == torch.float64 and q.sample().dtype == torch.float64
    torch.testing.assert_close(found.float(), p.log_prob(x), atol=1e-4, rtol=1e-4)
    assert p.sample().dtype == torch.float32


@pytest.mark.parametrize("case", CASES)
def test_no_tensor_is_left_behind(case):
    p = CASES[case]()
    assert tensors(p)
    assert {t.device.type for t in tensors(moved(p, lambda t: t.to("meta")))} == {"meta"}
    assert {t.device.type for t in tensors(p)} == {"cpu"}
