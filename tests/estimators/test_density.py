"""Any family as a density estimator."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sklearn_checks import assert_conforms
from unigen.errors import ArgumentError, UnknownNameError
from unigen.estimators.density import DensityEstimator
from unigen.models.flow import RealNVP
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE


def data(n: int = 100, d: int = 3) -> np.ndarray:
    return np.random.randn(n, d) @ np.random.randn(d, d) + 1


def flow(features: int) -> RealNVP:
    return RealNVP(features, transforms=2, hidden=(8,))


def test_conforms():
    assert_conforms(DensityEstimator())


def test_the_default_is_one_gaussian():
    x = data()
    truth = -0.5 * (np.linalg.slogdet(2 * np.pi * np.cov(x.T, bias=True))[1] + 3)
    assert DensityEstimator().fit(x).score(x) == pytest.approx(truth, abs=1e-4)


def test_a_flow_trains_as_told():
    x = data()
    one = DensityEstimator(flow, steps=1, random_state=0).fit(x)
    more = DensityEstimator(
        flow, steps=60, lr=1e-2, batch_size=50, options={"ema": None}, random_state=0
    ).fit(x)
    assert isinstance(more.program_, RealNVP) and more.record_.steps == 60 and more.score(x) > one.score(x)
    assert np.array_equal(more.score_samples(x), more.program_.log_prob(x).value.numpy())


def test_a_program_is_copied():
    x, program = data(), PPCA(3, 1)
    before = program.mean.detach().clone()
    one = DensityEstimator(program).fit(x)
    assert (program.mean == before).all() and one.program_ is not program
    assert np.array_equal(one.score_samples(x), DensityEstimator("ppca").fit(x).score_samples(x)) is False
    assert np.allclose(one.program_.mean.detach().numpy(), x.mean(0))


def test_a_bound_says_so_and_is_the_same_at_every_call():
    x = data()
    vae = DensityEstimator(lambda d: VAE(d, 1, hidden=(4,)), steps=2, random_state=0).fit(x)
    assert vae.kind_ == "lower bound" and np.array_equal(vae.score_samples(x), vae.score_samples(x))


@pytest.mark.parametrize(("program", "error", "words"), [
    (lambda d: d, ArgumentError, "returns int"), ("nothing", UnknownNameError, "unknown family"),
    (lambda d: PPCA(d + 1, 1), ValueError, r"expected \(N, 4\)"),
])  # fmt: skip
def test_refuses(program, error, words):
    with pytest.raises(error, match=words):
        DensityEstimator(program).fit(data())
