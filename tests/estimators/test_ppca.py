"""PPCA as an estimator against scikit-learn's PCA and Tipping and Bishop's formulae."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA as Oracle

from tests.sklearn_checks import assert_conforms
from unigen.errors import ArgumentError
from unigen.estimators.ppca import PPCA


def data(n: int = 200, d: int = 5) -> np.ndarray:
    return np.random.randn(n, d) * np.linspace(3, 0.5, d) @ np.linalg.qr(np.random.randn(d, d))[0] + 5


def test_conforms():
    assert_conforms(PPCA())


@pytest.mark.parametrize("q", [1, 3, None])
def test_attributes_and_score(q):
    x, n, d = data(), 200, 5
    ours, oracle = PPCA(q).fit(x), Oracle(q or d - 1).fit(x)
    q, biased = q or d - 1, (n - 1) / n
    assert np.allclose(ours.components_, oracle.components_, atol=1e-8)
    assert np.allclose(ours.explained_variance_, oracle.explained_variance_ * biased)
    assert np.allclose(ours.explained_variance_ratio_, oracle.explained_variance_ratio_)
    assert ours.noise_variance_ == pytest.approx(oracle.noise_variance_ * biased)
    assert np.allclose(ours.mean_, x.mean(0)) and ours.n_components_ == q
    logs = np.log(ours.explained_variance_).sum() + (d - q) * np.log(ours.noise_variance_)
    assert ours.score(x) == pytest.approx(-0.5 * (d * np.log(2 * np.pi) + logs + d), rel=1e-10)
    assert ours.score(x) >= oracle.score(x)  # the maximum of the likelihood, which divides by N
    assert np.allclose(ours.get_covariance(), oracle.get_covariance() * biased)
    assert np.allclose(ours.get_precision() @ ours.get_covariance(), np.eye(d), atol=1e-10)


def test_transform_is_the_posterior_mean():
    x = data()
    ours = PPCA(2).fit(x)
    scale = np.sqrt(ours.explained_variance_ - ours.noise_variance_)
    truth = (x - ours.mean_) @ ours.components_.T * scale / ours.explained_variance_
    z = ours.transform(x)
    assert np.allclose(z, truth) and np.allclose(z, ours.program_.encode(x))
    assert np.allclose(ours.inverse_transform(z), (z * scale) @ ours.components_ + ours.mean_)


def test_missing_entries():
    """EM of complete data ends at the closed form; with entries missing the observed ones alone count."""
    x = data(400)
    closed, em = PPCA(2).fit(x), PPCA(2, missing=True, random_state=0).fit(x)
    assert em.score(x) == pytest.approx(closed.score(x), abs=1e-4)
    assert np.allclose(em.components_, closed.components_, atol=0.05)
    holes = np.where(np.random.rand(*x.shape) < 0.2, np.nan, x)
    filled = PPCA(2, missing=True, random_state=0).fit(holes)
    z, scores = filled.transform(holes), filled.score_samples(holes)
    assert np.isfinite(z).all() and np.isfinite(scores).all()
    row, seen = holes[0], ~np.isnan(holes[0])
    cov, diff = filled.get_covariance()[np.ix_(seen, seen)], (row - filled.mean_)[seen]
    dense = -0.5 * (diff @ np.linalg.solve(cov, diff) + np.linalg.slogdet(2 * np.pi * cov)[1])
    assert scores[0] == pytest.approx(dense, rel=1e-8)
    assert (
        filled.__sklearn_tags__().input_tags.allow_nan and not closed.__sklearn_tags__().input_tags.allow_nan
    )


def test_refuses():
    with pytest.raises(ArgumentError, match="an integer from 1 to 4"):
        PPCA(5).fit(data())
    with pytest.raises(ArgumentError, match="from 1 to 2"):
        PPCA(3).fit(data(4))
    with pytest.raises(ArgumentError, match="subspace"):
        PPCA(3).fit(data()[:, [0, 0, 0, 0, 1]])
