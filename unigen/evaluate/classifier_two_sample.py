"""The classifier two-sample test: can a classifier tell generated examples from real ones?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.evaluate.permutation import TwoSample, median_distance, memberships, permutation_p_value, pool


def _kernel_features(points: Tensor, seed: int) -> Tensor:
    """Up to 200 Nyström features of a Gaussian kernel on standardised points; labels play no part."""
    from sklearn.kernel_approximation import Nystroem

    points = (points - points.mean(0)) / points.std(0).clamp(min=1e-12)
    gamma, components = 0.5 / median_distance(points) ** 2, min(200, points.shape[0] // 2)
    nystroem = Nystroem(gamma=gamma, n_components=components, random_state=seed)
    return torch.as_tensor(nystroem.fit_transform(points.numpy()))


def _accuracies(classifier: Any, features: np.ndarray, labels: np.ndarray, folds: int, seed: int) -> Tensor:
    """Cross-validated accuracy for each column of labels (N, 1 + permutations), on the same folds."""
    from sklearn.base import clone
    from sklearn.model_selection import KFold, cross_val_predict

    splits = list(KFold(folds, shuffle=True, random_state=seed).split(features))
    if classifier is None:
        from sklearn.linear_model import RidgeClassifier

        targets = labels[:, 0] if labels.shape[1] == 1 else labels
        predicted = np.asarray(cross_val_predict(RidgeClassifier(), features, targets, cv=splits))
        return torch.as_tensor((predicted == targets).mean(0)).reshape(-1)
    columns = [
        (cross_val_predict(clone(classifier), features, column, cv=splits) == column).mean()
        for column in labels.T
    ]
    return torch.tensor(columns, dtype=torch.float64)


def classifier_test(
    x: Tensor,
    y: Tensor,
    classifier: Any = None,
    folds: int = 5,
    permutations: int = 200,
    seed: int = 0,
) -> TwoSample:
    """Accuracy with which a classifier tells the samples apart, cross-validated; ½ where P = Q.

    Args:
        x: Shape (n, *event).
        y: Shape (m, *event). The larger sample is thinned at random to the size of the smaller.
        classifier: An unfitted scikit-learn classifier, fitted folds · (1 + permutations) times; None for least
            squares on Gaussian-kernel features, where all permutations share one factorisation.
        folds: Of the cross-validation.
        permutations: How many make the p-value; 0 for none.
        seed: Of thinning, features, folds and permutations.

    Returns:
        The accuracy with its binomial standard error.

    Raises:
        ArgumentError: If there are more folds than examples.

    References:
        Lopez-Paz & Oquab, Revisiting classifier two-sample tests, 2017.

    Example:
        >>> import torch
        >>> x, y = torch.linspace(-1, 0, 60)[:, None], torch.linspace(1, 2, 60)[:, None]
        >>> float(classifier_test(x, y))
        1.0
    """
    pool(x, y)
    n = min(x.shape[0], y.shape[0])
    if not 2 <= folds <= 2 * n:
        raise ArgumentError(site="folds", got=folds, expected=f"2 … {2 * n}")
    generator = torch.Generator().manual_seed(seed)
    x, y = (z[torch.randperm(z.shape[0], generator=generator)[:n].to(z.device)] for z in (x, y))
    features = pool(x, y)
    if classifier is None:
        features = _kernel_features(features, seed)
    labels = memberships(n, 2 * n, permutations, seed).numpy().astype(int)
    accuracies = _accuracies(classifier, features.numpy(), labels, folds, seed)
    value = float(accuracies[0])
    stderr = (value * (1 - value) / (2 * n)) ** 0.5
    return TwoSample(
        "classifier accuracy", value, stderr, permutation_p_value(accuracies), permutations, (n, n)
    )
