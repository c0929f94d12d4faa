"""Missing entries filled in, against the sum over the latent: three clusters, and a guide that is no use."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from pyro import distributions as dist
from scipy import stats

from tests.programs import SharedMean
from unigen.densities.imputation import resampled, weighted_mean
from unigen.distributions.missing import WithMissing
from unigen.errors import UnsupportedQueryError
from unigen.program import Program

F64, NAN = torch.float64, math.nan
WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=F64)
MEANS = torch.tensor([[-3.0, 0.0, 2.0], [1.0, 1.0, -1.0], [4.0, -2.0, 0.5]], dtype=F64)
SCALES = torch.tensor([0.7, 1.0, 1.5], dtype=F64)
X = torch.tensor([[0.3, NAN, -0.4], [NAN, 0.2, NAN], [0.5, 1.0, -2.0], [NAN, NAN, NAN]], dtype=F64)


class Clusters(Program):
    """k ~ WEIGHTS, x_j | k ~ N(m_kj, s_j²), entries missing; q(k | x) is uniform whatever x."""

    def __init__(self) -> None:
        super().__init__((3,))
        self.double()

    def model(self, x=None, n=1):
        with self.plate(x, n):
            k = pyro.sample("k", dist.Categorical(WEIGHTS))
            return pyro.sample("x", WithMissing(dist.Normal(MEANS[k], SCALES).to_event(1)), obs=x)

    def guide(self, x):
        with self.plate(x):
            return pyro.sample("k", dist.Categorical(torch.ones(3, dtype=F64)))


class Independent(Program):
    """No latent: x_j ~ N(j, 1)."""

    def __init__(self) -> None:
        super().__init__((3,))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            loc = torch.arange(3, dtype=F64).expand(1 if x is None else x.shape[0], 3)
            return pyro.sample("x", WithMissing(dist.Normal(loc, 1.0).to_event(1)), obs=x)


def posterior(row: torch.Tensor) -> torch.Tensor:
    """p(k | x_obs) by Bayes' rule over the three clusters."""
    seen = ~row.isnan()
    log_p = dist.Normal(MEANS[:, seen], SCALES[seen]).log_prob(row[seen]).sum(-1) + WEIGHTS.log()
    return log_p.softmax(0)


def test_means_are_the_conditional_expectations():
    """E[x_mis | x_obs] = Σ_k p(k | x_obs) m_k; standard errors from independent repetitions."""
    program, runs = Clusters(), 30
    filled = torch.stack([weighted_mean(program, X, None, 2000) for _ in range(runs)])
    truth = torch.stack([torch.where(row.isnan(), posterior(row) @ MEANS, row) for row in X])
    error = filled.std(0) / runs**0.5
    slack = 5 * error + 5e-3  # a self-normalised ratio is biased by its variance over K: far below
    assert bool(((filled.mean(0) - truth).abs() < slack).all()) and float(error.max()) < 0.02
    seen = ~X.isnan()
    assert bool((filled[:, seen] == X[seen]).all())
    prior = torch.where(X.isnan(), WEIGHTS @ MEANS, X)
    assert float((prior - truth).abs()[0, 1]) > 0.3  # weights that said nothing would be found


def test_copies_are_draws_from_the_conditional_mixture():
    program, n = Clusters(), 2000
    for row, j in ((X[0], 1), (X[1], 0)):
        copies = resampled(program, row.expand(n // 4, 3), None, samples=150, draws=4)
        assert copies.shape == (4, n // 4, 3)
        share = posterior(row).numpy()

        def cdf(value, share=share, j=j):
            parts = [
                w * stats.norm(MEANS[k, j].item(), SCALES[j].item()).cdf(value) for k, w in enumerate(share)
            ]
            return sum(parts)

        assert stats.kstest(copies[..., j].flatten().numpy(), cdf).pvalue > 1e-6
        assert bool((copies[..., ~row.isnan()] == row[~row.isnan()]).all())


def test_entries_that_are_missing_together_come_from_one_cluster():
    """The covariance of x_1 and x_3 given x_2 is that of the clusters' means under p(k | x_2)."""
    n, row = 3000, X[1]
    copies = resampled(Clusters(), row.expand(n, 3), None, samples=150, draws=1)[0]
    share = posterior(row)
    centre = MEANS - share @ MEANS
    truth = float((share * centre[:, 0] * centre[:, 2]).sum())
    products = (copies[:, 0] - share @ MEANS[:, 0]) * (copies[:, 2] - share @ MEANS[:, 2])
    assert abs(float(products.mean()) - truth) < 5 * float(products.std()) / n**0.5
    assert abs(truth) > 6 * float(products.std()) / n**0.5


def test_without_latents_the_mean_and_the_draws_are_those_of_x_itself():
    program = Independent()
    filled = weighted_mean(program, X, None, 50)
    assert torch.equal(filled, torch.where(X.isnan(), torch.arange(3, dtype=F64), X))
    copies = resampled(program, X[3:].expand(3000, 3), None, samples=50, draws=1)[0]
    assert bool(((copies.mean(0) - torch.arange(3)).abs() < 5 / 3000**0.5).all())


def test_a_latent_in_common_is_refused():
    with pytest.raises(UnsupportedQueryError, match="couples all examples"):
        weighted_mean(SharedMean(), torch.zeros(4, 1), None, 8)
    with pytest.raises(UnsupportedQueryError, match=r"reconstruct\(x\)"):
        resampled(SharedMean(), torch.zeros(4, 1), None, 8, 2)
