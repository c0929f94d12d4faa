"""The mixture of Gaussians as an estimator against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Oracle
from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky

from tests.sklearn_checks import assert_conforms
from unigen.errors import ArgumentError
from unigen.estimators.gaussian_mixture import GaussianMixture

TYPES = ["full", "tied", "diag"]


def data(n: int = 300) -> np.ndarray:
    centres = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 9]])
    return centres[np.arange(n) % 3] + np.random.randn(n, 3) @ np.random.randn(3, 3) * 0.7


def test_conforms():
    assert_conforms(GaussianMixture())


@pytest.mark.parametrize("kind", TYPES)
def test_scores_are_scikit_learns_at_the_same_parameters(kind):
    x = data()
    ours = GaussianMixture(3, covariance_type=kind, random_state=0).fit(x)
    oracle = Oracle(3, covariance_type=kind)
    for name in ("weights_", "means_", "covariances_"):
        setattr(oracle, name, getattr(ours, name))
    oracle.precisions_cholesky_ = _compute_precision_cholesky(ours.covariances_, kind)
    assert np.allclose(ours.score_samples(x), oracle.score_samples(x), atol=1e-9)
    assert np.allclose(ours.predict_proba(x), oracle.predict_proba(x), atol=1e-9)
    assert np.array_equal(ours.predict(x), oracle.predict(x))
    assert ours.bic(x) == pytest.approx(oracle.bic(x)) and ours.aic(x) == pytest.approx(oracle.aic(x))


@pytest.mark.parametrize("kind", TYPES)
def test_the_fit_is_scikit_learns(kind):
    """Three clusters far apart leave one optimum."""
    x = data()
    options = {"covariance_type": kind, "tol": 1e-9, "max_iter": 500, "n_init": 3, "random_state": 0}
    ours, oracle = (model(3, **options).fit(x) for model in (GaussianMixture, Oracle))
    assert ours.score(x) == pytest.approx(oracle.score(x), abs=1e-5)
    match = [np.square(ours.means_ - m).sum(1).argmin() for m in oracle.means_]
    assert sorted(match) == [0, 1, 2]
    assert np.allclose(ours.means_[match], oracle.means_, atol=1e-3)
    assert np.allclose(ours.weights_[match], oracle.weights_, atol=1e-4)
    found = ours.covariances_ if kind == "tied" else ours.covariances_[match]
    assert np.allclose(found, oracle.covariances_, atol=1e-2) and ours.converged_
    assert ours.lower_bound_ == pytest.approx(ours.score(x), abs=1e-9)


@pytest.mark.parametrize("kind", TYPES)
def test_draws(kind):
    model = GaussianMixture(3, covariance_type=kind, random_state=0).fit(data())
    x, z = model.sample(30_000)
    for k in range(3):
        own = x[z == k]
        spread = (
            np.broadcast_to(model.covariances_, (3, 3, 3))[k] if kind == "tied" else model.covariances_[k]
        )
        spread = np.diag(spread) if kind == "diag" else spread
        error = np.sqrt(np.diag(spread) / len(own))
        assert (np.abs(own.mean(0) - model.means_[k]) < 5 * error).all()
        assert np.allclose(np.cov(own.T), spread, atol=0.12 * np.trace(spread))
        assert len(own) / 30_000 == pytest.approx(model.weights_[k], abs=5 * np.sqrt(0.25 / 30_000))


def test_of_several_starts_the_likeliest_stays():
    x = data()
    few = [GaussianMixture(3, max_iter=50, random_state=s).fit(x).score(x) for s in range(4)]
    assert GaussianMixture(3, max_iter=50, n_init=8, random_state=0).fit(x).score(x) >= min(few) - 1e-9


@pytest.mark.parametrize(("options", "words"), [
    ({"covariance_type": "spherical"}, "one of"), ({"reg_covar": 1e9}, "mean variance"), ({"n_init": 0}, "n_init"),
    ({"n_components": 0}, "components"), ({"n_components": 301}, "at least K = 301"), ({"max_iter": 0}, "steps"),
])  # fmt: skip
def test_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        GaussianMixture(**options).fit(data())
    with pytest.raises(ArgumentError, match="mean variance"):
        GaussianMixture().fit(np.ones((9, 2)))


def test_says_when_it_has_not_converged():
    with pytest.warns(ConvergenceWarning, match="in 1 steps"):
        assert not GaussianMixture(3, max_iter=1, random_state=0).fit(data()).converged_
