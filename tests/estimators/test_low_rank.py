"""The rotation that leaves WWᵀ alone."""

from __future__ import annotations

import torch

from unigen.estimators.low_rank import rotate_to_principal


def test_rotation_keeps_the_covariance_and_is_unique():
    w, noise = torch.randn(6, 3).double(), torch.rand(6).double() + 0.1
    before, turned = w @ w.mT, w @ torch.linalg.qr(torch.randn(3, 3).double()).Q
    rotate_to_principal(w, noise)
    rotate_to_principal(turned, noise)
    assert torch.allclose(w @ w.mT, before, atol=1e-12) and torch.allclose(w, turned, atol=1e-8)
    inner = w.mT @ (w / noise[:, None])
    assert torch.allclose(inner, torch.diag(inner.diagonal()), atol=1e-10)
    assert (inner.diagonal().diff() < 0).all()
