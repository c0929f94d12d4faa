"""Entropic optimal transport between two weighted sets of points, by Sinkhorn's iterations (POT, in the log domain).

    min_π  E_π ½‖x − y‖² + eps KL(π | a ⊗ b),      π 1 = a,   πᵀ 1 = b

The minimiser is the coupling of the ends of the Schrödinger bridge with Brownian reference sigma, eps = sigma². As
eps → 0 its cost tends to ½ W₂², as eps → ∞ it tends to the independent coupling a ⊗ b.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unigen.checks import as_tensor
from unigen.errors import (
    ArgumentError,
    DivergedError,
    EmptyDataError,
    MissingExtraError,
    NonFiniteError,
    ShapeError,
)

NAME = "sinkhorn"


@dataclass(frozen=True)
class EntropicPlan:
    """A coupling of two sets of points.

    Args:
        plan: π, (N, M), float64.
        cost: E_π ½‖x − y‖².
        divergence: KL(π | a ⊗ b), in nats: the mutual information of the two ends.
        eps: Regularisation.
        marginal_error: Largest |πᵀ1 − b|; the other marginal is met exactly.
        iterations: How many were needed.
    """

    plan: Tensor
    cost: float
    divergence: float
    eps: float
    marginal_error: float
    iterations: int

    @property
    def value(self) -> float:
        """What is minimised, cost + eps divergence."""
        return self.cost + self.eps * self.divergence

    def barycentres(self, y: Tensor) -> Tensor:
        """Return E_π[y | x_i], (N, *event), for the points y (M, *event) of the plan."""
        if y.shape[0] != self.plan.shape[1]:
            raise ShapeError(
                program=NAME, site="y", got=tuple(y.shape), expected=f"{self.plan.shape[1]} rows"
            )
        conditional = self.plan / self.plan.sum(1, keepdim=True)
        flat = conditional @ y.flatten(1).to(self.plan)
        return flat.reshape(-1, *y.shape[1:]).to(y.dtype)


def check_regularisation(eps: float, program: str) -> float:
    """Return eps if it is a positive number.

    Raises:
        ArgumentError: It is not.
    """
    if isinstance(eps, bool) or not 0 < eps < math.inf:
        hint = "without regularisation the problem is a linear program: ot.emd of POT"
        raise ArgumentError(program=program, site="eps", got=eps, expected="a positive number", hint=hint)
    return float(eps)


def _points(x: object, site: str) -> Tensor:
    points = as_tensor(x, NAME, site).detach().cpu().double()
    if points.dim() < 2:
        got = tuple(points.shape)
        raise ShapeError(program=NAME, site=site, got=got, expected="(N, *event)", hint=f"{site}[:, None]")
    if points.shape[0] == 0:
        raise EmptyDataError(program=NAME, site=site, got="0 points", expected="at least one")
    if not bool(points.isfinite().all()):
        raise NonFiniteError(program=NAME, site=site, got="NaN or infinity", expected="finite points")
    return points


def _weights(weights: object, n: int, site: str) -> Tensor:
    if weights is None:
        return torch.full((n,), 1 / n, dtype=torch.float64)
    w = as_tensor(weights, NAME, site).detach().cpu().double()
    if w.shape != (n,):
        raise ShapeError(program=NAME, site=site, got=tuple(w.shape), expected=(n,))
    if not bool((w > 0).all() and w.isfinite().all()):
        hint = "leave points without weight out"
        raise ArgumentError(
            program=NAME, site=site, got=f"a smallest weight of {w.min():g}", expected="> 0", hint=hint
        )
    return w / w.sum()


def _solver() -> Any:
    try:
        from ot.bregman import sinkhorn_log
    except ImportError as error:
        raise MissingExtraError("entropic transport needs POT", hint="pip install 'unigen[ot]'") from error
    return sinkhorn_log


def sinkhorn(
    x: object,
    y: object,
    eps: float,
    *,
    a: object = None,
    b: object = None,
    tolerance: float = 1e-9,
    max_iterations: int = 10_000,
) -> EntropicPlan:
    """Return the entropic coupling of two sets of points.

    argmin_π E_π ½‖x − y‖² + eps KL(π | a ⊗ b)

    Args:
        x: Points, (N, *event).
        y: Points, (M, *event).
        eps: Regularisation, in units of ½‖x − y‖²; sigma² for a Schrödinger bridge with Brownian reference sigma.
        a: Weights of x, (N,), positive; they are normalised. Equal if omitted.
        b: Weights of y, (M,), likewise.
        tolerance: Largest norm of πᵀ1 − b.
        max_iterations: Of Sinkhorn; their number grows like 1 / eps.

    Returns:
        The plan, computed in float64.

    Raises:
        ArgumentError: eps, the tolerance or a weight is not positive.
        ShapeError, EmptyDataError, NonFiniteError: Bad points, or points of different dimension.
        DivergedError: The iterations have not converged.
        MissingExtraError: POT is not installed.

    References:
        Cuturi, Sinkhorn distances, 2013; Peyré & Cuturi, Computational optimal transport, 2019.

    Example:
        >>> plan = sinkhorn([[0.0], [1.0]], [[0.0], [1.0]], eps=0.05).plan
        >>> bool((plan.diagonal() > 0.49).all())
        True
    """
    eps = check_regularisation(eps, NAME)
    if not tolerance > 0 or max_iterations < 1:
        got = f"tolerance={tolerance}, max_iterations={max_iterations}"
        raise ArgumentError(program=NAME, got=got, expected="both positive")
    x, y = _points(x, "x"), _points(y, "y")
    if x.shape[1:] != y.shape[1:]:
        message = "the two sets have different dimensions"
        raise ShapeError(message, program=NAME, site="y", got=tuple(y.shape), expected=("M", *x.shape[1:]))
    a, b = _weights(a, x.shape[0], "a"), _weights(b, y.shape[0], "b")
    difference = x.flatten(1)[:, None] - y.flatten(1)[None]
    cost = 0.5 * difference.square().sum(-1)
    _, log = _solver()(
        a.numpy(), b.numpy(), cost.numpy(), eps, stopThr=tolerance, numItermax=max_iterations, log=True, warn=False
    )  # fmt: skip
    u, v = torch.from_numpy(log["log_u"]), torch.from_numpy(log["log_v"])
    log_plan = u[:, None] + v - cost / eps
    plan = log_plan.exp()
    error = (plan.sum(0) - b).abs().max().item()
    if not error <= tolerance:
        message = f"Sinkhorn's iterations have not converged after {max_iterations}"
        hint = "a larger eps, more max_iterations or a larger tolerance"
        raise DivergedError(message, program=NAME, got=f"a marginal error of {error:.2g}", hint=hint)
    divergence = (plan * (log_plan - a.log()[:, None] - b.log())).sum().item()
    return EntropicPlan(plan, (plan * cost).sum().item(), divergence, eps, error, int(log["niter"]) + 1)
