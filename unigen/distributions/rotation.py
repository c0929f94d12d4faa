"""Rotations of the latent axes: x = Wz + μ + ε has the same distribution for W and WR, R orthogonal, z ~ N(0, I).

Each function takes the loadings W (D, q) and returns R (q, q) in float64, so that WR are the rotated loadings.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from unigen.errors import ArgumentError, ShapeError

Rotation = Callable[[Tensor], Tensor]


def _tidy(weight: Tensor, rotation: Tensor) -> Tensor:
    """Return R with the columns of WR by falling length, the entry of largest modulus positive."""
    rotated = weight @ rotation
    order = rotated.square().sum(0).argsort(descending=True)
    largest = rotated.gather(0, rotated.abs().argmax(0, keepdim=True))
    return (rotation * torch.where(largest < 0, -1.0, 1.0))[:, order]


def principal(weight: Tensor) -> Tensor:
    """Return the R that makes the columns of WR orthogonal, the longest first, their largest entries positive.

        W = U S Vᵀ,    R = V up to signs

    Args:
        weight: W, shape (D, q).

    Returns:
        R, shape (q, q).

    Example:
        >>> w = torch.tensor([[1.0, 1.0], [1.0, -1.0], [0.0, 0.0]])
        >>> (w @ principal(w).float()).abs().round(decimals=4)[2].tolist()
        [0.0, 0.0]
    """
    w = weight.detach().double()
    return _tidy(w, torch.linalg.svd(w, full_matrices=True).Vh.mT)


def varimax_criterion(weight: Tensor) -> Tensor:
    """Return Σ_i [mean_d w_di⁴ − (mean_d w_di²)²], the variance of the squared loadings summed over columns."""
    square = weight.square()
    return (square.square().mean(0) - square.mean(0).square()).sum()


def varimax(weight: Tensor, sweeps: int = 200, tolerance: float = 1e-10) -> Tensor:
    """Return the R that maximises the varimax criterion of WR, by the best rotation of two columns at a time.

        max_R Σ_i [mean_d (WR)_di⁴ − (mean_d (WR)_di²)²]

    The criterion never falls; rows are not normalised.

    Args:
        weight: W, shape (D, q).
        sweeps: Rounds over all pairs of columns at most.
        tolerance: Angle, in radians, below which no pair is turned any more.

    Returns:
        R, shape (q, q), the columns of WR by falling length, their largest entries positive.

    References:
        Kaiser, The varimax criterion for analytic rotation in factor analysis, 1958.

    Example:
        >>> w = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        >>> (w @ varimax(w).float()).abs().round(decimals=3).sort().values.tolist()
        [[0.0, 1.4140000343322754], [0.0, 1.4140000343322754]]
    """
    w = weight.detach().double()
    d, q = w.shape
    rotation = torch.eye(q, dtype=w.dtype, device=w.device)
    for _ in range(sweeps):
        largest = 0.0
        for i in range(q):
            for j in range(i + 1, q):
                a, b = (w @ rotation[:, [i, j]]).unbind(1)
                u, v = a.square() - b.square(), 2 * a * b
                above = 2 * (u @ v - u.sum() * v.sum() / d)
                below = u @ u - v @ v - (u.sum().square() - v.sum().square()) / d
                angle = math.atan2(above.item(), below.item()) / 4
                c, s = math.cos(angle), math.sin(angle)
                turn = torch.tensor([[c, -s], [s, c]], dtype=w.dtype, device=w.device)
                rotation[:, [i, j]] = rotation[:, [i, j]] @ turn
                largest = max(largest, abs(angle))
        if largest < tolerance:
            break
    return _tidy(w, rotation)


def procrustes(weight: Tensor, target: Tensor) -> Tensor:
    """Return the R that brings WR closest to a target T.

        min_R ‖WR − T‖_F,    WᵀT = U S Vᵀ,    R = UVᵀ

    Args:
        weight: W, shape (D, q).
        target: T, shape (D, q).

    Returns:
        R, shape (q, q).

    Raises:
        ShapeError: The two have different shapes.

    References:
        Schönemann, A generalized solution of the orthogonal Procrustes problem, 1966.

    Example:
        >>> w = torch.randn(5, 2)
        >>> flip = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> torch.allclose(procrustes(w, w @ flip).float(), flip, atol=1e-5)
        True
    """
    if weight.shape != target.shape:
        raise ShapeError(site="target", got=tuple(target.shape), expected=tuple(weight.shape))
    u, _, vh = torch.linalg.svd(weight.detach().double().mT @ target.detach().double())
    return u @ vh


def rotated(weight: Tensor, how: Rotation, program: str) -> Tensor:
    """Return WR in float64, R = how(W) an orthogonal matrix.

    Raises:
        ArgumentError: R is not orthogonal.
    """
    q = weight.shape[1]
    rotation = torch.as_tensor(how(weight.detach())).to(weight.device).double()
    eye = torch.eye(q, dtype=torch.float64, device=weight.device)
    if rotation.shape != (q, q) or not bool((rotation.mT @ rotation - eye).abs().max() < 1e-6):
        raise ArgumentError(
            "not an orthogonal matrix", program=program, site="how", got=tuple(rotation.shape),
            expected=f"R ({q}, {q}) with RᵀR = I", hint="principal, varimax, or lambda w: procrustes(w, target)",
        )  # fmt: skip
    return weight.double() @ rotation
