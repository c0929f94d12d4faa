"""Spins with pairwise couplings, the form in which mean field and belief propagation read a model.

p(s) ∝ exp(½ sᵀ J s + θ·s + constant),    s ∈ {−1, 1}^n,  J symmetric with zeros on its diagonal
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.errors import ArgumentError, NonFiniteError, ShapeError


@dataclass(frozen=True, eq=False)
class PairwiseSpins:
    """J (n, n), θ (n,) and the constant, in nats.

    Raises:
        ShapeError: J is not square, or θ has another length.
        ArgumentError: J is not symmetric with a zero diagonal.
        NonFiniteError: A value is not finite.

    Example:
        >>> PairwiseSpins(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.zeros(2)).edges().tolist()
        [[0, 1]]
    """

    couplings: Tensor
    field: Tensor
    constant: Tensor | float = 0.0

    def __post_init__(self) -> None:
        check_couplings(self.couplings, self.field, "PairwiseSpins")

    @property
    def units(self) -> int:
        """Number of spins n."""
        return self.field.shape[0]

    def log_mass(self, s: Tensor) -> Tensor:
        """Return the log mass of spins s (…, n) in nats, shape (…)."""
        return 0.5 * ((s @ self.couplings) * s).sum(-1) + s @ self.field + self.constant

    def edges(self) -> Tensor:
        """Return the pairs i < j with a coupling that is not zero, shape (E, 2)."""
        return self.couplings.triu(1).nonzero()

    def components(self) -> int:
        """Return the number of connected components of the graph."""
        import networkx

        graph = networkx.Graph(self.edges().tolist())
        graph.add_nodes_from(range(self.units))
        return networkx.number_connected_components(graph)

    @property
    def acyclic(self) -> bool:
        """Whether the graph is a tree, or several."""
        return self.edges().shape[0] == self.units - self.components()


def check_couplings(couplings: Tensor, field: Tensor, program: str) -> None:
    """Refuse couplings that make no model.

    Args:
        couplings: J, shape (n, n).
        field: θ, shape (n,).
        program: Name used in messages.

    Raises:
        ShapeError, NonFiniteError, ArgumentError: As for ``PairwiseSpins``.
    """
    n = couplings.shape[0] if couplings.dim() else 0
    if tuple(couplings.shape) != (n, n) or n < 1:
        raise ShapeError(
            program=program, argument="couplings", got=tuple(couplings.shape), expected="(D, D), D ≥ 1"
        )
    if tuple(field.shape) != (n,):
        raise ShapeError(program=program, argument="field", got=tuple(field.shape), expected=(n,))
    for name, value in (("couplings", couplings), ("field", field)):
        if not bool(torch.isfinite(value).all()):
            raise NonFiniteError(
                program=program, argument=name, got="values that are not finite", expected="finite numbers"
            )
    if not torch.equal(couplings, couplings.mT) or bool(couplings.diagonal().any()):
        raise ArgumentError(
            program=program,
            argument="couplings",
            got="a matrix that is not symmetric with zeros on its diagonal",
            expected="J = Jᵀ, J_ii = 0",
            hint="(J + J.mT) / 2, its diagonal set to zero",
        )
