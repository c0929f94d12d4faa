"""What all estimators share: seeds, dtypes, states, and scikit-learn's tools around them."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import unigen as ug
from unigen.estimators.density import DensityEstimator
from unigen.estimators.factor_analysis import FactorAnalysis
from unigen.estimators.gaussian_mixture import GaussianMixture
from unigen.estimators.latent import LatentEstimator
from unigen.estimators.pca import PCA
from unigen.estimators.ppca import PPCA

ALL = [PCA, PPCA, FactorAnalysis, GaussianMixture, DensityEstimator, LatentEstimator]


def data(n: int = 60, d: int = 4, dtype: str = "float64") -> np.ndarray:
    return (np.random.randn(n, 2) @ np.random.randn(2, d) + 0.3 * np.random.randn(n, d) + 1).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ALL)
def test_numbers_are_the_programs(kind, dtype):
    x = data(dtype=dtype)
    estimator = kind(random_state=0).set_params(
        **({"n_components": 2} if hasattr(kind(), "n_components") else {})
    )
    scores = estimator.fit(x).score_samples(x)
    assert estimator.program_.dtype is getattr(torch, dtype) and estimator.n_features_in_ == 4
    assert scores.shape == (60,) and scores.dtype == dtype and estimator.kind_ == "exact"
    if kind is not PCA:  # whose program has no density
        assert np.array_equal(scores, estimator.program_.log_prob(x).value.numpy())
    assert estimator.score(x) == pytest.approx(scores.mean(), rel=1e-5)
    assert estimator.score(x) > -0.5 * x.var(0).sum() - 20


@pytest.mark.parametrize("kind", ALL)
def test_a_seed_reproduces_and_the_global_states_stay(kind):
    x = data()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    one, other = (kind(random_state=3).fit(x) for _ in range(2))
    drawn = [e.sample(5) for e in (one, other, one)]
    drawn = [d[0] if isinstance(d, tuple) else d for d in drawn]
    assert np.array_equal(one.score_samples(x), other.score_samples(x))
    assert np.array_equal(drawn[0], drawn[1]) and np.array_equal(drawn[0], drawn[2])
    assert drawn[0].shape == (5, 4)
    assert torch.equal(before[0], torch.get_rng_state()) and np.array_equal(
        before[1], np.random.get_state()[1]
    )


@pytest.mark.parametrize("kind", ALL)
def test_clone_and_pickle(kind):
    x = data()
    estimator = kind(random_state=1).fit(x)
    again = pickle.loads(pickle.dumps(estimator))
    assert np.array_equal(again.score_samples(x), estimator.score_samples(x))
    assert (
        not hasattr(clone(estimator), "program_") and clone(estimator).get_params() == estimator.get_params()
    )
    with pytest.raises(NotFittedError):
        clone(estimator).score(x)


def test_pipeline_and_search():
    """A search scores what a loop over the folds does, and scores travel through the pipeline."""
    x = data(400)
    search = GridSearchCV(PPCA(), {"n_components": [1, 2, 3]}, cv=4).fit(x)
    folds = list(KFold(4).split(x))
    truth = [np.mean([PPCA(q).fit(x[a]).score(x[b]) for a, b in folds]) for q in (1, 2, 3)]
    assert (
        np.allclose(search.cv_results_["mean_test_score"], truth) and search.best_params_["n_components"] > 1
    )
    pipe = make_pipeline(StandardScaler(), PPCA(2), GaussianMixture(2, random_state=0)).fit(x)
    inner = pipe[1].transform(pipe[0].transform(x))
    assert np.allclose(pipe.score_samples(x), pipe[2].score_samples(inner))


def test_set_output_and_names():
    import pandas

    frame = pandas.DataFrame(data(), columns=list("abcd"))
    estimator = PPCA(2).set_output(transform="pandas").fit(frame)
    out = estimator.transform(frame)
    assert list(out.columns) == ["ppca0", "ppca1"] == list(estimator.get_feature_names_out())
    assert list(estimator.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        estimator.transform(frame[list("abdc")])


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(("spoil", "words"), [
    (lambda x: np.where(x == x[3, 1], np.nan, x), "NaN"), (lambda x: x[:1], "1 sample"),
    (lambda x: x[0], "2D array"), (lambda x: x[:, :0], "0 feature"),
])  # fmt: skip
def test_bad_data(kind, spoil, words):
    with pytest.raises(ValueError, match=words):
        kind().fit(spoil(data()))


def test_scikit_learn_is_imported_with_the_estimators_only():
    code = "import sys, unigen as ug; ug.PPCA, ug.fit; assert 'sklearn' not in sys.modules; ug.estimators.PPCA(2)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert ug.estimators.PPCA is PPCA
