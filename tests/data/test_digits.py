from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf, ShrunkCovariance
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from unigen.data.digits import digits
from unigen.errors import ArgumentError


def test_is_scikit_learns_data_in_the_documented_order() -> None:
    images, targets = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(1797)
    data = digits(dequantise=False)
    assert data.levels == 1
    for name, index in (("train", order[:1297]), ("validation", order[1297:1547]), ("test", order[1547:])):
        assert np.array_equal(getattr(data, name).numpy(), images[index])
        assert np.array_equal(getattr(data, f"{name}_labels").numpy(), targets[index])


def test_dequantised_digits_invert_to_the_integers_and_repeat() -> None:
    data, again, integers = digits(), digits(), digits(dequantise=False)
    assert (data.levels, data.event_shape, data.image_shape, data.classes) == (
        17,
        torch.Size([64]),
        (8, 8),
        10,
    )
    assert data.dequantise is not None
    for name in ("train", "validation", "test"):
        x = getattr(data, name)
        assert torch.equal(x, getattr(again, name))
        assert x.min() > 0
        assert x.max() < 1
        assert torch.equal(data.dequantise.inverse(x), getattr(integers, name))
    assert torch.equal(data.dequantise.inverse(data.fresh_train()), integers.train)


def test_dtypes_share_one_noise() -> None:
    single, double = digits(dtype=torch.float32), digits(dtype=torch.float64)
    assert (single.test.dtype, double.test.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.test.double(), double.test, atol=1e-6, rtol=0)


def test_baselines_of_the_split() -> None:
    """Nats a test image by scikit-learn; they pin split, scale and noise of held-out data."""
    data = digits(dtype=torch.float64)
    train, test = data.train.numpy(), data.test.numpy()
    assert LedoitWolf().fit(train).score(test) == pytest.approx(47.036, abs=0.02)
    assert ShrunkCovariance(shrinkage=0.01).fit(train).score(test) == pytest.approx(47.73, abs=0.05)
    assert PCA(30, svd_solver="full").fit(train).score(test) == pytest.approx(35.297, abs=0.02)


def test_can_keep_some_digits_only_and_keeps_their_split() -> None:
    data, whole = digits(labels=[3, 5]), digits()
    assert set(data.train_labels.tolist()) == {3, 5}
    chosen = (whole.test_labels == 3) | (whole.test_labels == 5)
    assert torch.equal(data.test, whole.test[chosen])
    for bad in ([], [10]):
        with pytest.raises(ArgumentError):
            digits(labels=bad)
