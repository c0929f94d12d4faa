"""A torch ``Transform`` read both ways, with the types that torch leaves open."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Transform


def value_and_log_det(f: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(x) and log |det ∂f/∂x|, in one pass where the transform offers it."""
    if hasattr(f, "call_and_ladj"):
        return f.call_and_ladj(x)  # pyright: ignore[reportAttributeAccessIssue]
    z = f(x)
    assert z is not None
    return z, f.log_abs_det_jacobian(x, z)


def inverse_and_log_det(f: Transform, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return x = f⁻¹(z) and log |det ∂x/∂z|, in one pass where the transform offers it."""
    if hasattr(f, "inverse_and_ladj"):
        return f.inverse_and_ladj(z)  # pyright: ignore[reportAttributeAccessIssue]
    x = inverse(f, z)
    return x, -value_and_log_det(f, x)[1]


def inverse(f: Transform, z: Tensor) -> Tensor:
    """Return f⁻¹(z)."""
    x = f.inv(z)
    assert x is not None
    return x
