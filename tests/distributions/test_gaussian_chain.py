"""A linear-Gaussian chain against the joint Gaussian of states and observations, assembled densely."""

from __future__ import annotations

import pytest
import torch

from unigen.distributions.gaussian_chain import GaussianChain, LinearEmission
from unigen.errors import ArgumentError

K, D, T, N = 2, 3, 6, 4


def parameters():
    kw = {"dtype": torch.float64}
    a = 0.6 * torch.randn(K, K, **kw)
    p, q = (
        torch.linalg.cholesky(torch.eye(K, **kw) + (b := 0.5 * torch.randn(K, K, **kw)) @ b.T) for _ in "pq"
    )
    return torch.randn(K, **kw), p, a, q


def dense(m, p, a, q):
    """Mean (T·K,) and covariance of z_{1:T} by z = F ε + μ, ε stacking the start and the T − 1 increments."""
    f = torch.zeros(T * K, T * K, dtype=torch.float64)
    mean = torch.zeros(T, K, dtype=torch.float64)
    for t in range(T):
        mean[t] = torch.linalg.matrix_power(a, t) @ m
        for s in range(t + 1):
            f[t * K : (t + 1) * K, s * K : (s + 1) * K] = torch.linalg.matrix_power(a, t - s) @ (
                p if s == 0 else q
            )
    return mean.flatten(), f @ f.T


def emission(missing=False):
    c, d = torch.randn(D, K, dtype=torch.float64), torch.randn(D, dtype=torch.float64)
    r = torch.rand(D, dtype=torch.float64) + 0.1
    y = torch.randn(N, T, D, dtype=torch.float64)
    if missing:
        y[torch.rand(N, T, D) < 0.3] = torch.nan
        y[0, 3:] = torch.nan  # padding
        y[1] = torch.nan  # nothing seen at all
    return LinearEmission(c, d, r, y, missing)


def conditioned(mean, cov, e, row):
    """log p(y), and mean and covariance of z given y, from the dense joint, over the entries that were seen."""
    big = torch.block_diag(*[e.weight] * T)
    y = e.y[row].flatten()
    seen = ~y.isnan()
    h, offset, noise = big[seen], e.offset.repeat(T)[seen], e.noise.repeat(T)[seen]
    if not seen.any():
        return torch.zeros((), dtype=torch.float64), mean, cov
    s = h @ cov @ h.T + noise.diag()
    residual = y[seen] - offset - h @ mean
    log_p = torch.distributions.MultivariateNormal(torch.zeros_like(residual), s).log_prob(residual)
    gain = cov @ h.T @ torch.linalg.inv(s)
    return log_p, mean + gain @ residual, cov - gain @ h @ cov


def test_the_chain_itself_is_the_dense_gaussian():
    m, p, a, q = parameters()
    mean, cov = dense(m, p, a, q)
    chain = GaussianChain(m, p, a, q, T)
    z = torch.randn(5, T, K, dtype=torch.float64)
    expected = torch.distributions.MultivariateNormal(mean, cov).log_prob(z.flatten(1))
    torch.testing.assert_close(chain.log_prob(z), expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(chain.mean.flatten(), mean, atol=1e-12, rtol=0)
    torch.testing.assert_close(chain.variance.flatten(), cov.diagonal(), atol=1e-12, rtol=0)
    assert float(chain.log_normaliser) == 0.0


@pytest.mark.parametrize("missing", [False, True])
def test_evidence_and_smoother_equal_the_dense_gaussian(missing):
    m, p, a, q = parameters()
    mean, cov = dense(m, p, a, q)
    e = emission(missing)
    chain = GaussianChain(m, p, a, q, emission=e)
    z = torch.randn(N, T, K, dtype=torch.float64)
    for row in range(N):
        log_p, post_mean, post_cov = conditioned(mean, cov, e, row)
        torch.testing.assert_close(chain.log_normaliser[row], log_p, atol=1e-8, rtol=0)
        torch.testing.assert_close(chain.mean[row].flatten(), post_mean, atol=1e-9, rtol=0)
        torch.testing.assert_close(chain.variance[row].flatten(), post_cov.diagonal(), atol=1e-9, rtol=0)
        post_cov = 0.5 * (post_cov + post_cov.T)
        expected = torch.distributions.MultivariateNormal(post_mean, post_cov).log_prob(z[row].flatten())
        torch.testing.assert_close(chain.log_prob(z)[row], expected, atol=1e-8, rtol=0)


def test_draws_have_the_smoothed_moments():
    m, p, a, q = parameters()
    mean, cov = dense(m, p, a, q)
    e = emission(True)
    chain = GaussianChain(m, p, a, q, emission=e)
    n = 40_000
    draws = chain.rsample((n,))[:, 2].flatten(1)
    _, post_mean, post_cov = conditioned(mean, cov, e, 2)
    z = (draws.mean(0) - post_mean) / (post_cov.diagonal() / n).sqrt()
    assert z.abs().max() < 5
    scale = (post_cov.diagonal()[:, None] * post_cov.diagonal() + post_cov.square()).sqrt() / n**0.5
    assert ((draws.T.cov() - post_cov) / scale).abs().max() < 5.5


def test_a_small_noise_loses_no_digits():
    m, p, a, q = parameters()
    e = emission()
    e = LinearEmission(e.weight, e.offset, torch.full((D,), 1e-10, dtype=torch.float64), e.y)
    mean, cov = dense(m, p, a, q)
    exact = conditioned(mean, cov, e, 0)[0]
    assert abs(float(GaussianChain(m, p, a, q, emission=e).log_normaliser[0] / exact) - 1) < 1e-6


def test_lengths_that_do_not_fit_are_refused():
    m, p, a, q = parameters()
    with pytest.raises(ArgumentError, match="T ≥ 1"):
        GaussianChain(m, p, a, q)
    with pytest.raises(ArgumentError, match="one T"):
        GaussianChain(m, p, a, q, 4, emission())
