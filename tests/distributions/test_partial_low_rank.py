"""Missing entries of a linear-Gaussian model against the dense Gaussian of the observed ones, row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests import problems
from unigen.distributions import linear_gaussian
from unigen.distributions.low_rank import LowRankNormal
from unigen.distributions.partial_low_rank import (
    PartialLowRankNormal,
    check_observed,
    observed_location,
    observed_posterior,
    partial_moments,
    statistics,
)
from unigen.errors import EmptyDataError, NonFiniteError


def parts(d: int = 5, q: int = 2, n: int = 30) -> tuple[torch.Tensor, ...]:
    """Return (W, μ, ψ, x), some entries, a whole row and none of another missing."""
    w, mean, psi = torch.randn(d, q).double(), torch.randn(d).double(), torch.rand(d).double() + 0.1
    x = torch.randn(n, d).double() * 2
    x[torch.rand(n, d) < 0.4] = torch.nan
    x[0], x[1] = torch.nan, torch.randn(d).double()
    x[2] = torch.where(torch.arange(d) == 0, 1.0, torch.nan)
    return w, mean, psi, x


def conditionals(w, mean, psi, x):
    """Yield (log p(x_obs), E z, Cov z, E[x | x_obs]) of each row by the dense Gaussian of its observed entries."""
    total, q = w @ w.T + np.diag(psi), w.shape[1]
    for row in x:
        o = ~np.isnan(row)
        if not o.any():
            yield 0.0, np.zeros(q), np.eye(q), mean
            continue
        log_p = problems.gaussian_log_density(row[o], mean[o], total[np.ix_(o, o)])[0]
        loc, covariance = problems.gaussian_posterior(w[o], psi[o], mean[o], row[o][None])
        gain = total[:, o] @ np.linalg.inv(total[np.ix_(o, o)])
        yield log_p, loc[0], covariance, np.where(o, row, mean + gain @ (row[o] - mean[o]))


def test_density_posterior_and_imputation_are_the_dense_ones():
    w, mean, psi, x = parts()
    p, z = PartialLowRankNormal(mean, w, psi), observed_posterior(w, mean, psi, x)
    rows = list(conditionals(*(t.numpy() for t in (w, mean, psi, x))))
    for i, (log_p, loc, covariance, filled) in enumerate(rows):
        assert p.log_prob(x)[i].item() == pytest.approx(log_p, abs=1e-11)
        assert np.allclose(z.mean[i], loc, atol=1e-12)
        assert np.allclose(z.covariance_matrix[i], covariance, atol=1e-12)
        assert np.allclose(p.impute(x)[i], filled, atol=1e-12)
    assert p.log_prob(x)[0] == 0
    complete = x.nan_to_num(0.3)
    assert torch.allclose(p.log_prob(complete), LowRankNormal(mean, w, psi).log_prob(complete), atol=1e-12)


@pytest.mark.parametrize("batch", [(3,), (4, 3)])
def test_batches(batch):
    w, mean, psi = torch.randn(*batch, 5, 2).double(), torch.randn(*batch, 5).double(), torch.ones(*batch, 5)
    p = PartialLowRankNormal(mean, w, psi.double())
    x = p.sample((6,))
    x[torch.rand(x.shape) < 0.3] = torch.nan
    assert p.log_prob(x).shape == (6, *batch)
    one = PartialLowRankNormal(mean[0], w[0], psi[0].double())
    assert torch.allclose(p.log_prob(x)[:, 0], one.log_prob(x[:, 0]), atol=1e-12)
    assert torch.allclose(p.expand((2, *batch)).log_prob(x[:2]), p.log_prob(x[:2]), atol=1e-12)


def test_gradients():
    w, mean, psi, x = parts(d=3, n=4)
    leaves = [t.requires_grad_(True) for t in (mean, w, psi)]
    assert torch.autograd.gradcheck(
        lambda *a: PartialLowRankNormal(*a, validate_args=False).log_prob(x), leaves
    )


def test_moments_are_those_of_explicit_conditionals():
    w, mean, psi, x = parts()
    r = torch.rand(30).double()
    m = partial_moments(x, r, w, mean, psi)
    second, cross = np.zeros((5, 3, 3)), np.zeros((5, 3))
    for row, weight, (_, loc, covariance, _) in zip(
        x.numpy(), r.numpy(), conditionals(*(t.numpy() for t in (w, mean, psi, x))), strict=True
    ):
        a = np.append(loc, 1.0)
        aa = np.outer(a, a)
        aa[:2, :2] += covariance
        for d in np.flatnonzero(~np.isnan(row)):
            second[d] += weight * aa
            cross[d] += weight * (row[d] - mean.numpy()[d]) * a
    assert np.allclose(m.second, second, atol=1e-11)
    assert np.allclose(m.cross, cross, atol=1e-11)
    seen = (~x.isnan()).double() * r[:, None]
    assert torch.allclose(m.count, seen.sum(0))
    centred = torch.where(x.isnan(), 0.0, x)
    average = (centred * seen).sum(0) / seen.sum(0)
    assert torch.allclose(m.variances, (seen * (centred - average) ** 2).sum(0) / seen.sum(0))


def test_chunks_change_nothing(monkeypatch):
    w, mean, psi, x = parts()
    whole = partial_moments(x, None, w, mean, psi)
    monkeypatch.setattr(linear_gaussian, "CHUNK", 30)
    part = partial_moments(x, None, w, mean, psi)
    assert torch.allclose(whole.second, part.second) and torch.allclose(whole.cross, part.cross)


def test_nothing_missing_is_the_complete_step():
    w, _, psi, _ = parts()
    x = torch.randn(20, 5).double()
    complete = statistics(x, None, w, x.mean(0), psi, False, "PPCA")
    masked = partial_moments(x, None, w, x.mean(0), psi)
    assert torch.allclose(complete.second.expand_as(masked.second), masked.second, atol=1e-11)
    for a, b in zip(complete.maximise(), masked.maximise(), strict=True):
        assert torch.allclose(a, b, atol=1e-11)


def flops(make, d: int, q: int, n: int = 64) -> int:
    p, x = make(torch.zeros(d), torch.randn(d, q), torch.ones(d)), torch.randn(n, d)
    with FlopCounterMode(display=False) as counter:
        p.log_prob(x)
    return counter.get_total_flops()


def test_the_cost_is_linear_in_the_features():
    """N D q for complete data (matrix products alone count): 2 · 2NDq + 2Dq²; with missing entries 2NDq² more."""
    n, q = 64, 8
    for d in (256, 512):
        complete, masked = flops(LowRankNormal, d, q), flops(PartialLowRankNormal, d, q)
        assert complete - flops(LowRankNormal, d // 2, q) == (4 * n * d * q + 2 * d * q * q) // 2
        assert masked - flops(PartialLowRankNormal, d // 2, q) == (4 * n * d * q + 2 * n * d * q * q) // 2


def test_refuses_features_never_observed_and_infinite_entries():
    _, _, _, x = parts()
    x[:, 3] = torch.nan
    with pytest.raises(EmptyDataError, match="feature 3 missing"):
        check_observed(x, None, "PPCA")
    x[4, 3] = 1.0
    weights = torch.ones(30).double()
    weights[4] = 0
    with pytest.raises(EmptyDataError, match="feature 3"):
        check_observed(x, weights, "PPCA")
    x[4, 3] = torch.inf
    with pytest.raises(NonFiniteError, match="infinite"):
        check_observed(x, None, "PPCA")


def test_observed_location_is_numpys():
    _, _, _, x = parts()
    x[:, 2] = torch.where(x[:, 2].isnan(), torch.nan, 7.0)
    mean, variance = observed_location(x, "PPCA")
    assert np.allclose(mean, np.nanmean(x.numpy(), 0))
    truth = np.nanvar(x.numpy(), 0)
    assert np.allclose(variance, np.where(truth > 0, truth, 1.0))
