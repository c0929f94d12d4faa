"""Refuse bad data before any work: rank, feature count, dtype, finiteness, support, context.

Large data are looked at a chunk of rows at a time, so that no temporary is as large as they are.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from unigen.errors import (
    ArgumentError,
    ContextError,
    DTypeError,
    EmptyDataError,
    NonFiniteError,
    ShapeError,
    SupportError,
)

CHUNK = 2**19  # numbers looked at together


def chunks(x: Tensor, numbers: int = CHUNK) -> tuple[Tensor, ...]:
    """Return views of consecutive rows of x, of about so many numbers each and of one row at least."""
    return x.split(max(1, numbers // max(1, x.shape[1:].numel())))


def as_tensor(
    x: Any,
    program: str,
    site: str = "x",
) -> Tensor:
    """Return a tensor for a tensor, NumPy array (sharing its memory or file), or nested list of numbers.

    Raises:
        DTypeError: Anything else.
    """
    if isinstance(x, Tensor):
        return x
    if hasattr(x, "to_numpy"):
        x = x.to_numpy()
    if isinstance(x, (list, tuple)):
        x = np.asarray(x)
    if isinstance(x, np.ndarray) and x.dtype.kind in "fiub" and x.dtype.isnative:
        x = np.ascontiguousarray(x)
        if x.flags.writeable:
            return torch.from_numpy(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the array is read-only: so are data here
            return torch.from_numpy(x)
    got = f"{type(x).__name__} of dtype {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
    raise DTypeError(
        program=program,
        site=site,
        got=got,
        expected="a tensor or array of numbers",
        hint="torch.as_tensor(x)",
    )


def _check_shape(x: Tensor, event_shape: torch.Size, program: str, site: str) -> None:
    want = "(N" + "".join(f", {d}" for d in event_shape) + ")"
    if tuple(x.shape[1:]) == tuple(event_shape) and x.dim() == len(event_shape) + 1:
        if x.shape[0] == 0:
            raise EmptyDataError(program=program, site=site, got="0 examples", expected="at least one")
        return
    hint = None
    if x.dim() == 1 and x.shape[0] > 0 and tuple(event_shape) == (1,):
        hint = f"one feature is a column: {site}[:, None]"
    elif tuple(x.shape) == tuple(event_shape):
        hint = f"add a batch dimension: {site}[None]"
    elif x.dim() > 1 and x[:1].numel() == event_shape.numel():
        hint = f"reshape: x.reshape(-1{''.join(f', {d}' for d in event_shape)})"
    elif x.dim() >= 1 and x.shape[0] == 0:
        raise EmptyDataError(program=program, site=site, got=f"shape {tuple(x.shape)}", expected=want)
    raise ShapeError(program=program, site=site, got=f"shape {tuple(x.shape)}", expected=want, hint=hint)


def check_data(
    x: object,
    event_shape: torch.Size,
    support: Constraint,
    dtype: torch.dtype,
    program: str,
    site: str = "x",
    option: bool = False,
) -> Tensor:
    """Return x as a valid batch of the program's dtype, or refuse it.

    Args:
        x: Data, shape (N, *event_shape); real data of any float dtype, discrete data of any integer dtype or
            integer-valued reals.
        event_shape: Shape of one example.
        support: Set on which the density of one example lives; with ``allows_missing`` NaN is a missing entry.
        dtype: Floating dtype of the program.
        program: Name used in messages.
        site: Site used in messages.
        option: Whether the program has an option ``missing=True``, to be named where NaN is refused.

    Raises:
        ShapeError, DTypeError, NonFiniteError, SupportError, EmptyDataError.
    """
    return check_stored(x, event_shape, support, dtype, program, site, option).to(dtype)


def check_stored(
    x: object,
    event_shape: torch.Size,
    support: Constraint,
    dtype: torch.dtype,
    program: str,
    site: str = "x",
    option: bool = False,
) -> Tensor:
    """Return x as a tensor of its own dtype whose rows, converted, are valid, or refuse it.

    Arguments and errors are those of ``check_data``; nothing is copied, so that x may be a file on disk.
    """
    x = as_tensor(x, program, site)
    _check_shape(x, event_shape, program, site)
    discrete = bool(getattr(support, "is_discrete", False))
    if x.is_complex() or (not discrete and not x.is_floating_point()):
        raise DTypeError(
            program=program,
            site=site,
            got=x.dtype,
            expected="real numbers (this likelihood is continuous)",
            hint="x.float(), or dequantise counts: ug.Dequantise(levels)(x)",
        )
    with torch.no_grad():
        if not all(_valid(rows, discrete, support, dtype) for rows in chunks(x)):
            _check_finite(x, program, site, support, option)
            _check_range(x, dtype, program, site)
            if discrete:
                _check_integer(x, program, site)
            _check_support(x, support, dtype, program, site)
    return x


def _valid(rows: Tensor, discrete: bool, support: Constraint, dtype: torch.dtype) -> bool:
    """Whether rows pass all that follows; asked first, so that good data are read once."""
    rows = rows.to(dtype) if rows.is_floating_point() else rows
    if bool(rows.sum().isfinite()):  # so are its terms; this is ten times as fast as asking each
        if _base(support) is constraints.real:
            return True
    elif not bool(_finite(rows, support).all()):
        return False
    if discrete and rows.is_floating_point() and not bool(_integer(rows).all()):
        return False
    return bool(support.check(rows.to(dtype)).all())


def _base(support: Constraint) -> Constraint:
    return _base(support.base_constraint) if isinstance(support, constraints.independent) else support


def _finite(rows: Tensor, support: Constraint) -> Tensor:
    return ~rows.isinf() if getattr(support, "allows_missing", False) else rows.isfinite()


def _integer(rows: Tensor) -> Tensor:
    return (rows == rows.round()) | rows.isnan()


def _check_finite(x: Tensor, program: str, site: str, support: Constraint, option: bool) -> None:
    if all(bool(_finite(rows, support).all()) for rows in chunks(x)):
        return
    bad = torch.cat([(~_finite(rows, support)).flatten(1).sum(1) for rows in chunks(x[:, None])])
    hint = "drop or impute them: x[x.isfinite().flatten(1).all(1)]"
    if option:
        hint += f"; or, where NaN marks a missing entry, {program}(…, missing=True)"
    raise NonFiniteError(
        program=program,
        site=site,
        got=f"{int(bad.sum())} non-finite values, the first in example {int(bad.nonzero()[0])}",
        expected="finite numbers",
        hint=hint,
    )


def _check_range(x: Tensor, dtype: torch.dtype, program: str, site: str) -> None:
    if any(bool(rows.to(dtype).isinf().any()) for rows in chunks(x)):
        raise NonFiniteError(
            program=program,
            site=site,
            got=f"{x.dtype} values that {dtype} cannot hold",
            expected=f"magnitudes up to {torch.finfo(dtype).max:.3g}",
            hint="rescale the data, or a program in float64: program.double()",
        )


def _check_integer(x: Tensor, program: str, site: str) -> None:
    if not all(bool(_integer(rows).all()) for rows in chunks(x)):
        raise DTypeError(
            program=program,
            site=site,
            got=f"{x.dtype} with fractional values",
            expected="integers (this likelihood is discrete)",
            hint="x.round(), or a continuous likelihood",
        )


def _check_support(x: Tensor, support: Constraint, dtype: torch.dtype, program: str, site: str) -> None:
    if not all(bool(support.check(rows.to(dtype)).all()) for rows in chunks(x)):
        raise SupportError(
            program=program,
            site=site,
            got=f"values in [{x[~x.isnan()].min().item():.6g}, {x[~x.isnan()].max().item():.6g}]",
            expected=f"values in the support {support}",
            hint="rescale the data, or choose a likelihood whose support holds it",
        )


def _context_hint(c: Tensor, features: int) -> str | None:
    """Return how labels or a plain sequence become a context of C features."""
    if c.dim() == 1 and features == 1:
        return "one feature is a column: context[:, None]"
    whole = not c.is_floating_point() or bool((c == c.round()).all())
    if (
        features > 1
        and c[:1].numel() == 1
        and c.numel() > 0
        and whole
        and bool((c >= 0).all() & (c < features).all())
    ):
        labels = "labels" if c.dim() == 1 else "labels.flatten()"
        labels += ".long()" if c.is_floating_point() else ""
        return f"integer labels: torch.nn.functional.one_hot({labels}, {features})"
    return None


def check_context(
    context: object, features: int, n: int | None, dtype: torch.dtype, program: str
) -> Tensor | None:
    """Return the context as a (N, C) tensor, or None for an unconditional program.

    Raises:
        ContextError: Missing, superfluous, or of the wrong shape.
    """
    if context is None and features == 0:
        return None
    if features == 0:
        raise ContextError(
            program=program,
            got="a context",
            expected="none",
            hint=f"construct it with {program}(…, context=C)",
        )
    if context is None:
        raise ContextError(
            program=program, got="no context", expected=f"one of shape (N, {features})", hint="pass context=…"
        )
    c = as_tensor(context, program, "context")
    if c.dim() != 2 or c.shape[1] != features or (n is not None and c.shape[0] not in (1, n)):
        rows = "N" if n is None else n
        raise ContextError(
            program=program,
            got=f"shape {tuple(c.shape)}",
            expected=f"({rows}, {features})",
            hint=_context_hint(c, features),
        )
    c = c.to(dtype)
    if not bool(torch.isfinite(c).all()):
        raise NonFiniteError(
            program=program, site="context", got="non-finite values", expected="finite numbers"
        )
    return c if n is None or c.shape[0] == n else c.expand(n, features)


def check_part(part: object, method: str, site: str, example: str, program: str) -> None:
    """Refuse a part that lacks the one method it is asked for, such as a name in place of the object.

    Raises:
        ArgumentError: It lacks it.
    """
    if part is not None and (isinstance(part, type) or not callable(getattr(part, method, None))):
        raise ArgumentError(
            program=program, site=site, got=repr(part), expected=f"an object with {method}", hint=example
        )
