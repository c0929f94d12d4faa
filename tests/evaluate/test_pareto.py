"""Pareto-k against tails whose index is known, and its edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from unigen.errors import ArgumentError, NonFiniteError, ShapeError
from unigen.evaluate.pareto import smooth, threshold

S, N = 20_000, 30


@pytest.mark.parametrize("k", [0.25, 0.5, 0.9])
def test_a_known_tail_is_found(k):
    """Weights that are Pareto with index 1/k; the mean of 30 fits, whose own spread is the standard error."""
    w = stats.genpareto(c=k).rvs(size=(S, N)) + 0.1
    found = smooth(torch.from_numpy(np.log(w)))[1]
    assert abs(found.mean() - k) < 5 * found.std() / N**0.5 + 0.02  # the fit's prior pulls towards ½ a little
    assert found.std() < 0.15


def test_a_gaussian_ratio_has_the_tail_of_its_algebra():
    """p = N(0, 1), q = N(0, s²): w ∝ exp(−½z²(1 − 1/s²)) has Pr(w > t) ~ t^{−1/k}, k = 1 − s² for s < 1."""
    s = 0.6
    z = s * torch.randn(S, N).double()
    found = smooth(-0.5 * z.square() * (1 - 1 / s**2))[1]
    assert found.mean().item() == pytest.approx(1 - s**2, abs=0.1)


def test_smoothed_weights_are_normalised_and_agree_in_the_body():
    log_w = torch.randn(1000, 3).double()
    smoothed, _ = smooth(log_w)
    assert torch.allclose(smoothed.exp().sum(0), torch.ones(3).double())
    for found, given in zip(smoothed.T, log_w.T, strict=True):
        body = given < given.median()
        assert (found - given)[body].std() < 1e-9  # the tail is replaced; the rest changes by a constant


def test_constant_weights_have_no_tail():
    log_w = torch.full((100, 2), 3.0).double() + 1e-12 * torch.randn(100, 2).double()
    smoothed, k = smooth(log_w)
    assert k.tolist() == [-torch.inf] * 2
    assert torch.allclose(smoothed.exp(), torch.full((100, 2), 0.01).double())


def test_thresholds_and_refusals():
    assert threshold(1000) == pytest.approx(2 / 3) and threshold(10**6) == 0.7
    with pytest.raises(ShapeError):
        smooth(torch.zeros(100))
    with pytest.raises(ArgumentError):
        smooth(torch.zeros(10, 2))
    for bad in (float("nan"), float("inf")):
        log_w = torch.zeros(50, 2)
        log_w[3, 1] = bad
        with pytest.raises(NonFiniteError):
            smooth(log_w)
    with pytest.raises(NonFiniteError):
        smooth(torch.full((50, 1), -torch.inf))
