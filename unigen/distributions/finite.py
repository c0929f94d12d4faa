"""Features with finitely many values: their levels, tables of their probabilities, and values outside."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.likelihoods import Categorical, Likelihood
from unigen.errors import SupportError, UnsupportedQueryError


def finite_levels(likelihood: Likelihood) -> tuple[int, int] | None:
    """Return the smallest and the largest value of a feature, or None where there are infinitely many.

    Example:
        >>> finite_levels(Categorical(5))
        (0, 4)
    """
    support = likelihood.support
    if support is constraints.boolean:
        return 0, 1
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    return (int(low), int(high)) if support.is_discrete and low is not None and high is not None else None


def log_table(likelihood: Likelihood, phi: Tensor) -> Tensor:
    """Return log P(x_i = k) of every level, shape (..., K), from φ (..., P).

    Raises:
        UnsupportedQueryError: The feature has infinitely many values.

    Example:
        >>> log_table(Categorical(4), torch.zeros(2, 4)).exp()[0]
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    if isinstance(likelihood, Categorical):
        return phi.log_softmax(-1)
    levels = finite_levels(likelihood)
    if levels is None:
        raise UnsupportedQueryError(
            "the next value has no table of probabilities: it is continuous",
            program=type(likelihood).__name__,
            hint="sample() draws it; temperature, top-k, top-p and beams are for finite values",
        )
    values = torch.arange(levels[0], levels[1] + 1, device=phi.device).to(phi.dtype)
    wide = phi[..., None, :].expand(*phi.shape[:-1], values.shape[0], phi.shape[-1])
    return likelihood.elementwise(wide, values.shape).log_prob(values.expand(wide.shape[:-1]))


def check_levels(x: Tensor, likelihood: Likelihood, program: str, site: str = "x") -> None:
    """Refuse a value that is no level of a finite feature, and say which and where.

    Args:
        x: Values, any shape.
        likelihood: The conditional; one with infinitely many values is not checked, and neither are NaN and infinity,
            which other checks refuse.
        program: Name used in the message.
        site: Site used in the message.

    Raises:
        SupportError: A value outside.
    """
    levels = finite_levels(likelihood)
    if levels is None or x.numel() == 0:
        return
    outside = ((x < levels[0]) | (x > levels[1])) & x.isfinite()
    if not bool(outside.any()):
        return
    place = tuple(outside.nonzero()[0].tolist())
    value = x[place].item()
    raise SupportError(
        "a token outside the vocabulary" if isinstance(likelihood, Categorical) else "a value off the levels",
        program=program,
        site=site,
        got=f"{value:g} at place {place[0] if len(place) == 1 else place}",
        expected=f"{levels[0]} … {levels[1]}",
        hint="the vocabulary the program was trained with",
    )
