"""Any family with a latent vector as a transformer."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sklearn_checks import assert_conforms
from unigen.errors import UnsupportedQueryError
from unigen.estimators.latent import LatentEstimator
from unigen.models.flow import RealNVP
from unigen.models.vae import VAE


def vae(features: int) -> VAE:
    return VAE(features, 2, hidden=(4,))


def test_conforms():
    assert_conforms(LatentEstimator())


def test_transform_is_encode_and_its_inverse_decode():
    x = np.random.randn(30, 3).astype("float32")
    estimator = LatentEstimator(vae, steps=3, random_state=0).fit(x)
    z = estimator.transform(x)
    assert z.shape == (30, 2) and np.array_equal(z, estimator.program_.encode(x).numpy())
    assert np.array_equal(
        estimator.inverse_transform(z), estimator.program_.decode(estimator.program_.encode(x))
    )
    assert list(estimator.get_feature_names_out()) == ["latentestimator0", "latentestimator1"]
    with pytest.raises(ValueError, match=r"expected \(N, 2\)"):
        estimator.inverse_transform(x)


def test_a_family_without_a_latent():
    estimator = LatentEstimator(lambda d: RealNVP(d, transforms=1, hidden=(4,)), steps=1)
    estimator.fit(np.random.randn(30, 3))
    with pytest.raises(UnsupportedQueryError, match="no latent"):
        estimator.transform(np.random.randn(3, 3))
