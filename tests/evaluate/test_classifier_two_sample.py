from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from unigen.errors import ArgumentError, ShapeError
from unigen.evaluate.classifier_two_sample import classifier_test


def test_accuracy_meets_the_bayes_rate_of_two_gaussians() -> None:
    """N(0, I) against N(a, I): the best accuracy is Φ(|a| / 2), .841345 for |a| = 2."""
    torch.manual_seed(0)
    x, y = torch.randn(1500, 2), torch.randn(1500, 2) + torch.tensor([2.0, 0.0])
    for classifier in (None, LogisticRegression()):
        result = classifier_test(x, y, classifier, permutations=0)
        assert abs(result.value - 0.841345) < 5 * result.stderr + 0.01
        assert result.stderr == pytest.approx(math.sqrt(0.8413 * 0.1587 / 3000), rel=0.05)


def test_sees_a_change_of_scale_that_means_do_not_show() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(400, 2), 2 * torch.randn(400, 2)
    result = classifier_test(x, y, permutations=99)
    assert result.value > 0.6
    assert result.p_value == 0.01


def test_false_positives_stay_at_their_rate_and_accuracy_at_one_half() -> None:
    """300 tests of equal laws at level .1, of unequal sizes: rejections are at most Binomial(300, .1)."""
    torch.manual_seed(0)
    results = [
        classifier_test(torch.randn(30, 2), torch.randn(40, 2), permutations=39, seed=i) for i in range(300)
    ]
    p = np.array([r.p_value for r in results])
    assert (p <= 0.1).sum() - 30 < 5 * math.sqrt(300 * 0.1 * 0.9)
    assert abs(p.mean() - 0.52) < 0.06 + 5 / math.sqrt(12 * 300)  # ties make p-values larger, never smaller
    assert p.mean() > 0.5125 - 5 / math.sqrt(12 * 300)
    assert {r.sizes for r in results} == {(30, 30)}
    assert abs(np.mean([r.value for r in results]) - 0.5) < 0.05


def test_any_scikit_learn_classifier_will_do() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(60, 1, 2), torch.randn(60, 1, 2) + 3
    result = classifier_test(x, y, DecisionTreeClassifier(max_depth=2, random_state=0), permutations=19)
    assert result.value > 0.9
    assert result.p_value == 0.05
    assert result == classifier_test(
        x, y, DecisionTreeClassifier(max_depth=2, random_state=0), permutations=19
    )


def test_held_out_points_are_not_seen_in_training() -> None:
    """A tree without limit memorises its training set; cross-validated on equal laws it stays near one half."""
    torch.manual_seed(0)
    x, y = torch.randn(300, 3), torch.randn(300, 3)
    assert (
        abs(classifier_test(x, y, DecisionTreeClassifier(random_state=0), permutations=0).value - 0.5) < 0.12
    )


def test_bad_input_is_refused() -> None:
    with pytest.raises(ArgumentError):
        classifier_test(torch.randn(5, 2), torch.randn(5, 2), folds=11)
    with pytest.raises(ShapeError):
        classifier_test(torch.randn(5, 2), torch.randn(5, 3))
