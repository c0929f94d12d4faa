"""Rows of features and a label: a conditional program of the features beside the label that they were drawn under.

    p(x, l | y) = p(x | y) 1{l = y},        l = NaN where the label is missing, which leaves p(x | y)

Notation: x (N, D) features, l the last entry of a row (N, D + 1), y in 0 … K − 1 the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions.constraints import Constraint

from unigen.logprob import Kind

if TYPE_CHECKING:
    from unigen.program import Program

IMPOSSIBLE = -1e4  # in place of log 0 for another label than the class: exp is 0, and sums stay finite


def one_hot(y: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return 1{y = k}, shape (..., K); zeros for NaN."""
    return (y[..., None] == torch.arange(classes, device=y.device)).to(dtype)


def average(log_q: Tensor, joint: Tensor) -> Tensor:
    """Return Σ_y q_y (log p_y − log q_y), shape (N,), classes of probability 0 counting nothing."""
    q = log_q.exp()
    return torch.where(q > 0, q * (joint - log_q), 0.0).sum(-1)


class LabelledRows(Constraint):
    """The set of rows whose features lie in a support and whose label is 0 … K − 1 or NaN.

    Args:
        features: Support of the features.
        classes: K.
    """

    allows_missing = True
    is_discrete = False
    event_dim = 1

    def __init__(self, features: Constraint, classes: int) -> None:
        self.features, self.classes = features, classes
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Return whether each row is inside, shape (...)."""
        label = value[..., -1]
        known = (label >= 0) & (label < self.classes) & (label == label.round())
        return (known | label.isnan()) & self.features.check(value[..., :-1])

    def __repr__(self) -> str:
        """Return what the rows hold."""
        return f"{self.features}, then a label 0 … {self.classes - 1} or NaN"


class WithLabel(TorchDistribution):
    """p(x, l | y) of a program whose context is the class in one-hot code.

    Args:
        program: p(x | y), event shape (D,), context K.
        y: Classes, shape ``batch_shape``.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  (torch's own class attribute)
    has_rsample = False
    costly = True

    def __init__(self, program: Program, y: Tensor) -> None:
        self.program, self.y = program, y
        shape = torch.Size((program.event_shape[0] + 1,))
        super().__init__(y.shape, shape, validate_args=False)

    @property
    def kind(self) -> Kind:
        """Kind of ``log_prob``: that of the program."""
        return self.program.kind

    @property
    def label(self) -> str:
        """Name of the family, for formulas."""
        return self.program.name

    @property
    def support(self) -> Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Rows of features and a label."""
        return LabelledRows(self.program.support, self.program.context_features)

    @property
    def _given(self) -> Any:
        program = self.program
        return program.distribution(one_hot(self.y, program.context_features, program.dtype))

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> WithLabel:
        """Return the same distribution with a larger batch shape."""
        return WithLabel(self.program, self.y.expand(batch_shape))

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Return rows of shape (*sample_shape, *batch_shape, D + 1)."""
        x = self._given.sample(torch.Size(sample_shape))
        return torch.cat((x, self.y.to(x.dtype).expand(x.shape[:-1])[..., None]), -1)

    def _agreement(self, value: Tensor) -> Tensor:
        label = value[..., -1]
        return torch.where((label == self.y) | label.isnan(), 0.0, IMPOSSIBLE).to(value.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x, l | y) in nats."""
        return self._given.log_prob(value[..., :-1]) + self._agreement(value)

    def surrogate(self, value: Tensor) -> Tensor:
        """Return a differentiable stand-in whose gradients train the program."""
        given = self._given
        return getattr(given, "surrogate", given.log_prob)(value[..., :-1]) + self._agreement(value)
