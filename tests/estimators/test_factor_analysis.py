"""Factor analysis as an estimator against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import FactorAnalysis as Oracle
from sklearn.exceptions import ConvergenceWarning

from tests.sklearn_checks import assert_conforms
from unigen.errors import ArgumentError
from unigen.estimators.factor_analysis import FactorAnalysis


def data(n: int = 2000, d: int = 8, q: int = 2) -> np.ndarray:
    noise = np.random.randn(n, d) * np.linspace(0.5, 1.5, d)
    return np.random.randn(n, q) @ (2 * np.random.randn(q, d)) + noise + 3


def test_conforms():
    assert_conforms(FactorAnalysis())


def test_every_number_is_scikit_learns_up_to_rotation():
    x, new = data(), data(9)
    options = {"tol": 1e-5, "max_iter": 20_000}
    ours = FactorAnalysis(2, **options).fit(x)
    oracle = Oracle(2, svd_method="lapack", **options).fit(x)
    assert np.allclose(ours.mean_, oracle.mean_)
    assert np.allclose(ours.noise_variance_, oracle.noise_variance_, rtol=5e-3)
    assert np.allclose(ours.get_covariance(), oracle.get_covariance(), rtol=5e-3, atol=5e-3)
    assert np.allclose(ours.get_precision(), np.linalg.inv(ours.get_covariance()))
    assert ours.score(x) == pytest.approx(oracle.score(x), abs=1e-6)
    assert np.allclose(ours.score_samples(new), oracle.score_samples(new), rtol=5e-3)
    assert ours.loglike_[-1] == pytest.approx(2000 * ours.score(x), rel=1e-9)
    turn = np.linalg.lstsq(oracle.transform(x), ours.transform(x), rcond=None)[0]
    assert np.allclose(turn @ turn.T, np.eye(2), atol=0.02)  # a rotation
    assert np.allclose(oracle.transform(new) @ turn, ours.transform(new), atol=0.02)


def test_loadings_are_rotated_and_the_density_is_the_programs():
    x = data()
    fa = FactorAnalysis(3).fit(x)
    inner = fa.components_ / fa.noise_variance_ @ fa.components_.T
    assert np.allclose(inner, np.diag(np.diag(inner)), atol=1e-8) and (np.diff(np.diag(inner)) < 0).all()
    assert np.allclose(fa.transform(x), fa.program_.encode(x))
    assert np.allclose(fa.inverse_transform(fa.transform(x)), fa.program_.reconstruct(x))


def test_missing_entries():
    x = data()
    holes = np.where(np.random.rand(*x.shape) < 0.1, np.nan, x)
    fa = FactorAnalysis(2, missing=True, tol=1.0).fit(holes)
    whole = FactorAnalysis(2, tol=1.0).fit(x)
    assert fa.score(x) > whole.score(x) - 0.1 and np.isfinite(fa.transform(holes)).all()


def test_says_when_it_has_not_converged():
    with pytest.warns(ConvergenceWarning, match="in 2 steps"):
        assert FactorAnalysis(2, max_iter=2).fit(data()).n_iter_ == 2
    with pytest.raises(ArgumentError, match="from 1 to 7"):
        FactorAnalysis(8).fit(data())
