"""A table of mixed types as one example: real, binary, categorical and count columns side by side.

    p(x | raw) = Π_j p_j(x_j | raw_j)

Notation: D columns; x (N, D) one number a cell: reals, 0 / 1, class indices, counts. Real columns are standardised
inside: x_j = m_j + s_j y_j with y_j ~ p_j, so log p(x_j) = log p_j(y_j) − log s_j, m and s taken from the data when
training starts; a scale that is fixed in p_j is in units of s_j.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints, transform_to
from torch.distributions.constraints import Constraint

from unigen.distributions.likelihoods import Likelihood
from unigen.errors import ArgumentError, ShapeError


class MixedTypes(Constraint):
    """The sets of D entries of different types; ``check`` answers for each entry, as for one number.

    Args:
        parts: D supports of one number each.
    """

    event_dim = 0

    def __init__(self, parts: tuple[Constraint, ...]) -> None:
        self.parts = parts
        self.is_discrete = all(part.is_discrete for part in parts)  # pyright: ignore[reportAttributeAccessIssue]
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Return whether each entry is inside, shape (..., D)."""
        return torch.stack([part.check(value[..., j]) for j, part in enumerate(self.parts)], -1)

    def __repr__(self) -> str:
        """Return the supports in order."""
        return f"({', '.join(str(part) for part in self.parts)})"


@transform_to.register(MixedTypes)
def _inside(support: MixedTypes) -> Callable[[Tensor], Tensor]:
    """Return a function of an unconstrained number that gives an entry of each type."""

    def inside(y: Tensor) -> Tensor:
        each = [y * 0 if part.is_discrete else transform_to(part)(y) for part in support.parts]  # pyright: ignore[reportAttributeAccessIssue]
        return torch.stack(each, -1)

    return inside


class ColumnScalars(TorchDistribution):
    """Independent entries of different families, batch shape (..., D): ``to_event(1)`` makes rows of them.

    Args:
        parts: D distributions with batch shape (...).
        centre: m, shape (D,).
        spread: s, shape (D,).
        validate_args: Check the values given to ``log_prob``; torch's global setting if None.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  (torch's own class attribute)

    def __init__(
        self,
        parts: tuple[TorchDistribution, ...],
        centre: Tensor,
        spread: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.parts, self.centre, self.spread = parts, centre, spread
        batch = torch.broadcast_shapes(*(part.batch_shape for part in parts))
        super().__init__(torch.Size((*batch, len(parts))), torch.Size(), validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether draws of every column carry gradients."""
        return all(part.has_rsample for part in self.parts)

    @property
    def support(self) -> Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The supports of the columns."""
        supports: Any = tuple(part.support for part in self.parts)
        return MixedTypes(supports)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> ColumnScalars:
        """Return the same distribution with a larger batch shape (..., D)."""
        parts = tuple(part.expand(torch.Size(batch_shape[:-1])) for part in self.parts)
        return ColumnScalars(parts, self.centre, self.spread, self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x_j) in nats, shape (..., D)."""
        y = (value - self.centre) / self.spread
        each = torch.broadcast_tensors(*(part.log_prob(y[..., j]) for j, part in enumerate(self.parts)))
        return torch.stack(each, -1) - self.spread.log()

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Return entries, shape (*sample_shape, ..., D)."""
        with torch.no_grad():
            return self._joined([part.sample(torch.Size(sample_shape)) for part in self.parts])

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Return entries with gradients, where every column has them."""
        return self._joined([part.rsample(torch.Size(sample_shape)) for part in self.parts])

    def _joined(self, columns: list[Tensor]) -> Tensor:
        like = self.centre.dtype
        joined = torch.stack([c.to(like) for c in torch.broadcast_tensors(*columns)], -1)
        return self.centre + self.spread * joined

    @property
    def mean(self) -> Tensor:
        """E[x], shape (..., D); of a categorical column that of the index."""
        return self._joined([part.mean for part in self.parts])

    @property
    def variance(self) -> Tensor:
        """Variances, shape (..., D)."""
        each = torch.broadcast_tensors(*(part.variance for part in self.parts))
        return torch.stack([v.to(self.centre.dtype) for v in each], -1) * self.spread.square()


class Columns(Likelihood):
    """A likelihood for each column of a table.

    A network that feeds it ends in ``width(D)`` numbers and reads ``input_width(D)``: one-hot classes, log(1 + count),
    standardised reals.

    Args:
        columns: Likelihoods by the names of the columns, in the order of the table.

    Raises:
        ArgumentError: No columns, or one object at two of them.

    References:
        Nazabal et al., Handling incomplete heterogeneous data using VAEs, Pattern Recognition 2020.

    Example:
        >>> from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
        >>> table = Columns({"age": Gaussian(), "kind": Categorical(3), "ill": Bernoulli()})
        >>> table.width(3), table.input_width(3)
        (5, 5)
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, columns: Mapping[str, Likelihood]) -> None:
        super().__init__()
        parts = list(columns.values())
        wrong = [type(p).__name__ for p in parts if not isinstance(p, Likelihood) or isinstance(p, Columns)]
        if not parts or wrong or len({id(p) for p in parts}) < len(parts):
            raise ArgumentError(
                program="Columns",
                got=wrong or ("no columns" if not parts else "one likelihood object at two columns"),
                expected="a likelihood of its own for each column",
                hint='Columns({"age": Gaussian(), "kind": Categorical(3)})',
            )
        self.names, self.parts = tuple(columns), nn.ModuleList(parts)
        self.register_buffer("centre", torch.zeros(len(parts)))
        self.register_buffer("spread", torch.ones(len(parts)))
        self.support = MixedTypes(tuple(part.support for part in self.heads))

    @property
    def heads(self) -> list[Likelihood]:
        """The likelihoods in the order of the columns."""
        heads: Any = list(self.parts)
        return heads

    @property
    def columns(self) -> dict[str, Likelihood]:
        """The likelihoods by name."""
        return dict(zip(self.names, self.heads, strict=True))

    def width(self, features: int) -> int:
        """Return the parameters of all columns together."""
        return sum(head.parameters_per_feature for head in self._checked(features))

    def input_width(self, features: int) -> int:
        """Return the codes of all columns together."""
        return sum(head.inputs_per_feature for head in self._checked(features))

    def _checked(self, features: int) -> list[Likelihood]:
        if features != len(self.heads):
            raise ShapeError(
                "the table has another number of columns than the program features", program="Columns",
                got=f"columns {self.names}", expected=f"{features} columns",
            )  # fmt: skip
        return self.heads

    @property
    def parameters_per_feature(self) -> NoReturn:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Not one number: the columns differ.

        Raises:
            ArgumentError: Always.
        """
        raise ArgumentError(
            "columns of different types have different numbers of parameters", program="Columns",
            hint="a program that asks for likelihood.width(features), as VAE",
        )  # fmt: skip

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Standardise the real columns of x (N, D), NaN where missing."""
        for j, head in enumerate(self.heads):
            if isinstance(head.support, type(constraints.real)):
                seen = x[:, j][~x[:, j].isnan()].double()
                spread = seen.std(correction=0) if seen.numel() > 1 else seen.new_ones(())
                self.centre[j] = seen.mean() if seen.numel() else 0.0
                self.spread[j] = spread if bool(spread > 0) else 1.0

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of a table x (..., D), shape (..., input_width)."""
        y = (x - self.centre) / self.spread
        return torch.cat([head.encode(y[..., j : j + 1]) for j, head in enumerate(self.heads)], -1)

    def forward(self, raw: Tensor, event_shape: torch.Size | tuple[int, ...]) -> TorchDistribution:
        """Return p(x | raw) of raw (..., width), event shape (D,).

        Raises:
            ShapeError: The last dimension is not ``width``, or the event shape is not (D,).
        """
        widths = [head.parameters_per_feature for head in self._checked(torch.Size(event_shape).numel())]
        if raw.dim() == 0 or raw.shape[-1] != sum(widths):
            raise ShapeError(
                program="Columns", site="raw", got=tuple(raw.shape), expected=f"(..., {sum(widths)})"
            )
        each = [
            head.elementwise(part, torch.Size())
            for head, part in zip(self.heads, raw.split(widths, -1), strict=True)
        ]
        return ColumnScalars(tuple(each), self.centre, self.spread).to_event(1)

    def elementwise(self, raw: Tensor, event_shape: torch.Size) -> TorchDistribution:
        """Refuse: a single feature has no type.

        Raises:
            ArgumentError: Always.
        """
        return self.parameters_per_feature

    def marginals(self, x: Tensor) -> Tensor:
        """Refuse likewise.

        Raises:
            ArgumentError: Always.
        """
        return self.parameters_per_feature

    def extra_repr(self) -> str:
        """Return the names of the columns."""
        return f"columns={list(self.names)}"
