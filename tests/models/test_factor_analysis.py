"""Factor analysis against scikit-learn, a dense Gaussian and textbook EM."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn import decomposition

from tests import problems
from tests.programs import traces_with_symbolic_batch
from unigen.data.digits import digits
from unigen.errors import ArgumentError, NonFiniteError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.ppca import PPCA
from unigen.objectives.elbo import ELBO, elbo
from unigen.objectives.iwae import IWAE
from unigen.objectives.likelihood import MaximumLikelihood


def random_fa(d: int = 6, q: int = 2) -> FactorAnalysis:
    fa = FactorAnalysis(d, q).double()
    with torch.no_grad():
        fa.mean.copy_(torch.randn(d))
        fa.log_noise.copy_(torch.randn(d) * 0.5 - 1)
    return fa


def test_marginal_posterior_and_bound():
    fa = random_fa()
    x = fa.sample(40, seed=0)
    w, mean, psi = (t.detach().numpy() for t in (fa.weight, fa.mean, fa.noise))
    exact = fa.log_prob(x)
    assert np.allclose(
        exact.value, problems.gaussian_log_density(x.numpy(), mean, w @ w.T + np.diag(psi)), atol=1e-11
    )
    loc, covariance = problems.gaussian_posterior(w, psi, mean, x.numpy())
    assert np.allclose(fa.encode(x), loc, atol=1e-11)
    assert np.allclose(fa.posterior(x).covariance_matrix[0].detach(), covariance, atol=1e-11)
    assert np.allclose(fa.decode(torch.from_numpy(loc)), loc @ w.T + mean, atol=1e-11)
    assert (elbo(fa, x) - exact.value).abs().max() <= 1e-9


def test_em_never_falls_and_recovers_the_model():
    truth = random_fa()
    x = truth.sample(20_000, seed=1)
    fa = FactorAnalysis(6, 2).double()
    values = []
    for _ in range(200):
        fa.em_step(x)
        values.append(fa.log_prob(x).mean().value)
    assert all(b >= a - 1e-11 for a, b in pairwise(values))
    assert values[-1] >= truth.log_prob(x).mean().value  # the maximum is above the truth's own likelihood
    score = fa.log_prob(x).mean()
    # Wilks: 2N(max − truth) ~ χ²_18, so the excess is below 60/2N with probability 1 − 2e-6
    assert score.value - truth.log_prob(x).mean().value < 60 / (2 * 20_000)


def test_a_textbook_em_step_cannot_improve_a_converged_fit():
    x = random_fa().sample(500, seed=2)
    fa = FactorAnalysis(6, 2).double()
    for _ in range(3000):
        fa.em_step(x)
    w, psi = fa.weight.detach().numpy(), fa.noise.detach().numpy()
    s = np.cov(x.numpy().T, bias=True)
    beta = w.T @ np.linalg.inv(w @ w.T + np.diag(psi))
    ezz = np.eye(2) - beta @ w + beta @ s @ beta.T
    w_next = s @ beta.T @ np.linalg.inv(ezz)
    assert np.allclose(w_next, w, atol=1e-4)
    assert np.allclose(np.diag(s - w_next @ beta @ s), psi, atol=1e-4)


def test_isotropic_noise_is_ppca():
    """THEOREMS 3: a factor analysis whose noise variances are equal is PPCA, and stays so on isotropic data."""
    x = problems.spectrum_data()
    ppca = PPCA(5, 2).double()
    ppca.solve(x)
    fa = FactorAnalysis(5, 2).double()
    with torch.no_grad():
        fa.weight.copy_(ppca.weight)
        fa.log_noise.copy_(ppca.log_variance.expand(5))
    assert torch.allclose(fa.log_prob(x).value, ppca.log_prob(x).value, atol=1e-12)


@pytest.mark.parametrize("q", [2, 8])
def test_digits_equal_sklearn(q):
    data = digits()
    fa = FactorAnalysis(64, q)
    for _ in range(300):
        fa.em_step(data.train)
    peer = decomposition.FactorAnalysis(q, svd_method="lapack", tol=1e-6, max_iter=3000).fit(
        data.train.double().numpy()
    )
    assert fa.log_prob(data.train).mean().value == pytest.approx(
        peer.score(data.train.double().numpy()), abs=1e-3
    )
    assert fa.log_prob(data.test).mean().value == pytest.approx(
        peer.score(data.test.double().numpy()), abs=1e-2
    )


def test_constant_features():
    x = torch.randn(50, 4)
    x[:, 2] = 1.0
    with pytest.raises(NonFiniteError, match="constant"):
        FactorAnalysis(4, 1, floor=0.0).em_step(x)
    fa = FactorAnalysis(4, 1)
    fa.em_step(x)
    assert fa.log_prob(x).value.isfinite().all()


@pytest.mark.parametrize(
    "bad", [{"latents": 4}, {"latents": 0}, {"latents": 1, "floor": -1.0}, {"latents": 1, "floor": 1.0}]
)
def test_refuses_options(bad):
    with pytest.raises(ArgumentError):
        FactorAnalysis(4, **bad)


@pytest.mark.parametrize("objective", [MaximumLikelihood(), ELBO(), IWAE(3)])
def test_losses_trace_with_a_symbolic_batch(objective):
    assert traces_with_symbolic_batch(FactorAnalysis(5, 2), objective, torch.randn(8, 5))
