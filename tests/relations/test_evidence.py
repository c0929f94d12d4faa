"""Claims: senses, tolerances, and the false-positive rate that they state."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from unigen.relations.evidence import Claim, statistical


@pytest.mark.parametrize(("left", "right", "sense", "holds"), [
    (1.0, 1.05, "=", True), (1.0, 1.2, "=", False), (1.2, 1.0, "=", False),
    (1.0, 5.0, "≤", True), (1.05, 1.0, "≤", True), (1.2, 1.0, "≤", False),
    (5.0, 1.0, "≥", True), (0.95, 1.0, "≥", True), (0.8, 1.0, "≥", False),
    (math.nan, 1.0, "=", False), (math.nan, 1.0, "≤", False), (math.inf, 1.0, "=", False),
])  # fmt: skip
def test_senses(left, right, sense, holds):
    claim = Claim("c", left, right, 0.1, sense=sense)
    assert claim.holds is holds
    assert ("ok" in str(claim)) is holds


@pytest.mark.parametrize(("sense", "tail"), [("=", 2), ("≤", 1), ("≥", 1)])
def test_tolerance_is_the_quantile(sense, tail):
    claim = statistical("c", 0.0, 0.0, stderr=2.0, bias=0.5, sense=sense, false_positive=1e-3)
    assert claim.tolerance == pytest.approx(0.5 + 2 * stats.norm.isf(1e-3 / tail), rel=1e-9)


def test_false_positive_rate_is_the_stated_one():
    """2,000 true claims at a rate of 5 %: the number refused is Binomial(2000, .05), within five deviations."""
    x = torch.randn(2000, 400).double()
    mean, stderr = x.mean(1), x.std(1) / 20
    refused = sum(
        not statistical("c", m, 0.0, s, false_positive=0.05).holds
        for m, s in zip(mean.tolist(), stderr.tolist(), strict=True)
    )
    assert abs(refused - 100) < 5 * math.sqrt(2000 * 0.05 * 0.95)
