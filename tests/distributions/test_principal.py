"""Principal axes against NumPy's covariance and eigendecomposition."""

from __future__ import annotations

import numpy as np
import torch

from unigen.distributions.principal import principal_axes


def test_principal_axes_are_numpys():
    x = torch.randn(40, 4) * torch.tensor([3.0, 2.0, 1.0, 0.5]) + 2
    mean, values, axes = principal_axes(x)
    s = np.cov(x.double().numpy().T, bias=True)
    assert np.allclose(values, np.sort(np.linalg.eigvalsh(s))[::-1], atol=1e-12)
    assert np.allclose(s @ axes.numpy(), axes.numpy() * values.numpy(), atol=1e-12)
    assert np.allclose(mean, x.double().mean(0))
    assert (axes.gather(0, axes.abs().argmax(0, keepdim=True)) > 0).all()
