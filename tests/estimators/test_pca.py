"""PCA against scikit-learn's, number for number."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA as Oracle

from tests.sklearn_checks import assert_conforms
from unigen.errors import ArgumentError, NoDensityError
from unigen.estimators.pca import PCA


def data(n: int = 80, d: int = 6) -> np.ndarray:
    return np.random.randn(n, d) * np.linspace(3, 0.5, d) @ np.linalg.qr(np.random.randn(d, d))[0] + 5


def test_conforms():
    assert_conforms(PCA())


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("count", [None, 1, 3, 0.8, 0.999])
@pytest.mark.parametrize("shape", [(80, 6), (6, 20)], ids=str)
def test_every_number_is_scikit_learns(shape, count, whiten):
    x, new = data(*shape), data(7, shape[1])
    ours, oracle = (kind(count, whiten=whiten).fit(x) for kind in (PCA, Oracle))
    last = None if count is not None or shape[0] > shape[1] else -1  # rank N − 1: the last axis is arbitrary
    for name in ("mean_", "noise_variance_"):
        assert np.allclose(getattr(ours, name), getattr(oracle, name), atol=1e-10), name
    assert ours.n_components_ == oracle.n_components_
    for name in ("explained_variance_", "explained_variance_ratio_", "components_"):
        assert np.allclose(getattr(ours, name)[:last], getattr(oracle, name)[:last], atol=1e-10), name
    assert np.allclose(ours.singular_values_, oracle.singular_values_, atol=1e-6)
    assert np.allclose(ours.transform(new)[:, :last], oracle.transform(new)[:, :last])
    if last is None:
        assert np.allclose(
            ours.inverse_transform(ours.transform(new)), oracle.inverse_transform(oracle.transform(new))
        )
    if ours.n_components_ < 5 or shape[0] > shape[1]:
        plain, truth = PCA(count).fit(x), Oracle(count).fit(x)
        assert np.allclose(ours.score_samples(new), truth.score_samples(new))
        assert np.allclose(plain.get_covariance(), truth.get_covariance())
        assert np.allclose(ours.get_precision(), truth.get_precision())


def test_reconstruction_is_the_programs():
    x = data()
    pca = PCA(2, whiten=True).fit(x)
    assert np.allclose(pca.inverse_transform(pca.transform(x)), pca.program_.reconstruct(x))


def test_refuses():
    x = data()
    for count in (0, 7, "x", True, 1.5):
        with pytest.raises(ArgumentError, match="an integer from 1 to 6"):
            PCA(count).fit(x)
    for shape, count in (((6, 20), None), ((6, 20), 5), ((4, 4), None), ((4, 4), 3)):
        with pytest.raises(NoDensityError, match="subspace"):
            PCA(count).fit(data(*shape)).score(data(3, shape[1]))
    with pytest.raises(NoDensityError, match="subspace"):
        PCA(1).fit(np.outer(np.arange(9), np.ones(3)).astype("float32")).score(np.ones((1, 3)))
