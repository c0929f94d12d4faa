"""k-means and regularised moments against loops in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import problems
from unigen.distributions.clusters import factorise, k_means, moments, seed_centres
from unigen.errors import ArgumentError


def test_seeding_hits_every_separated_cluster():
    centres = 100 * torch.eye(6).double()
    x = (centres[:, None] + torch.randn(6, 40, 6).double()).reshape(-1, 6)
    found = seed_centres(x, 6)
    assert problems.match_rows(found.numpy(), centres.numpy()) < 8


def test_k_means_recovers_separated_clusters():
    centres = torch.tensor([[0.0, 0], [10, 0], [0, 10]]).double()
    truth = torch.arange(3).repeat_interleave(50)
    index = k_means(centres[truth] + torch.randn(150, 2).double(), 3)
    assert all(index[truth == k].unique().numel() == 1 for k in range(3))
    assert index.unique().numel() == 3


def test_identical_points_do_not_hang():
    assert k_means(torch.ones(5, 2), 3).shape == (5,)


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal"])
def test_moments_by_hand(covariance):
    x, r = torch.randn(30, 3).double(), torch.rand(30, 2).double().softmax(1)
    weights, means, spread = moments(x, r, covariance, shrinkage=0.5, floor=0.01)
    xs, rs = x.numpy(), r.numpy()
    counts = rs.sum(0)
    mu = rs.T @ xs / counts[:, None]
    full = [sum(rs[i, k] * np.outer(xs[i] - mu[k], xs[i] - mu[k]) for i in range(30)) for k in range(2)]
    pooled, ridge = sum(full) / 30, 0.01 * xs.var(0).mean()
    by_hand = {
        "full": [
            (s + 1.5 * pooled) / (n + 1.5) + ridge * np.eye(3) for s, n in zip(full, counts, strict=True)
        ],
        "tied": [pooled + ridge * np.eye(3)],
        "diagonal": [np.diag(s) / n + ridge for s, n in zip(full, counts, strict=True)],
    }[covariance]
    assert np.allclose(weights, counts / 30)
    assert np.allclose(means, mu)
    assert np.allclose(spread, np.array(by_hand), atol=1e-12)
    log_scales, lower = factorise(spread)
    if covariance != "diagonal":
        factor = lower + torch.diag_embed(log_scales.exp())
        assert torch.allclose(factor @ factor.mT, spread, atol=1e-12)
    else:
        assert torch.allclose(log_scales.exp().square(), spread)


@pytest.mark.parametrize("spread", [torch.zeros(2, 3), torch.ones(2, 3, 3)])
def test_singular_covariances_are_refused(spread):
    with pytest.raises(ArgumentError, match=r"singular.*floor"):
        factorise(spread)
