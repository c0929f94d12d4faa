"""The UCI handwritten digits bundled with scikit-learn: 1,797 real 8 × 8 images with 17 grey levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unigen.data.dataset import SPLITS, Dataset
from unigen.data.dequantise import Dequantise
from unigen.errors import ArgumentError

LEVELS, TRAIN, VALIDATION, TEST = 17, 1297, 250, 250
SEED = 0


def digits(
    dequantise: bool = True, labels: Sequence[int] | None = None, dtype: torch.dtype | None = None
) -> Dataset:
    """Load the digits, flattened to 64 features and split once and for all.

    The split is ``numpy.random.RandomState(0).permutation(1797)``: its first 1,297 entries train, the next 250
    validate, the last 250 test. The dequantisation noise is one draw, ``RandomState(0).random_sample((1797, 64))``
    in the original order, so that held-out figures are comparable between models, runs and machines; training on
    fresh noise each epoch is ``data.fresh_train()`` or, on a batch, ``data.dequantise.fresh(batch)``.

    y = (k + u) / 17.

    Args:
        dequantise: Whether to return y in (0, 1); otherwise the integers k in 0 … 16, as floats.
        labels: Keep only images of these digits (after the split); all ten when None.
        dtype: Floating dtype of the images; torch's default when None.

    Returns:
        A Dataset with event shape (64,), image shape (8, 8) and integer labels.

    Raises:
        ArgumentError: If ``labels`` is empty or not among 0 … 9.

    References:
        Alpaydin & Kaynak, Optical recognition of handwritten digits, UCI, 1998.

    Example:
        >>> digits()  # doctest: +ELLIPSIS
        Dataset digits: train 1297, validation 250, test 250, event shape (64,), 17 grey levels, ...
    """
    import numpy as np
    from sklearn.datasets import load_digits

    if labels is not None and (not labels or not set(labels) <= set(range(10))):
        raise ArgumentError(program="digits", site="labels", got=list(labels), expected="some of 0 … 9")
    images, targets = load_digits(return_X_y=True)
    noise = np.random.RandomState(SEED).random_sample(images.shape)
    dtype = dtype or torch.get_default_dtype()
    k = torch.as_tensor(images, dtype=dtype)
    transform = Dequantise(LEVELS)
    x = transform(k, noise=torch.as_tensor(noise)) if dequantise else k
    y = torch.as_tensor(targets, dtype=torch.long)
    order = torch.as_tensor(np.random.RandomState(SEED).permutation(images.shape[0]))
    parts = dict(zip(SPLITS, order.split([TRAIN, VALIDATION, TEST]), strict=True))
    if labels is not None:
        keep = torch.isin(y, torch.tensor(list(labels)))
        parts = {name: index[keep[index]] for name, index in parts.items()}
    return Dataset(
        name="digits",
        **{name: x[index] for name, index in parts.items()},
        **{f"{name}_labels": y[index] for name, index in parts.items()},
        levels=LEVELS if dequantise else 1,
        dequantise=transform,
        image_shape=(8, 8),
        source="UCI handwritten digits (Alpaydin & Kaynak, 1998), as bundled with scikit-learn",
    )
