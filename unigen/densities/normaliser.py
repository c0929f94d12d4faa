"""Normaliser: how log Z of an unnormalised program is computed, bounded or estimated; and log p(x) with it.

log p(x) = −E(x) − log Z
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, final, runtime_checkable

from torch import Tensor

from unigen.densities.density import Density
from unigen.densities.unnormalised import Unnormalised
from unigen.distributions.finite_states import FiniteStates
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import Kind, LogProb
from unigen.program import Program


class Normaliser(ABC):
    """A way to log Z, and what kind of number it gives. Stateless: options are constructor arguments."""

    kind: Kind = Kind.EXACT

    @abstractmethod
    def log_z(self, program: Program) -> LogProb:
        """Return log Z in nats, shape (), with its kind and, where it is random, its standard error."""

    def __repr__(self) -> str:
        """Return the class and its options."""
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({options})"


@runtime_checkable
class HasStates(Protocol):
    """A program whose states can be visited one by one."""

    def states(self) -> FiniteStates:
        """Return its states with their masses."""
        ...


def require_method(program: Program, protocol: type, what: str, hint: str) -> Any:
    """Return the program, or refuse one that does not meet a protocol.

    Raises:
        UnsupportedQueryError: It does not.
    """
    if not isinstance(program, protocol):
        raise UnsupportedQueryError(what, program=program.name, expected=protocol.__doc__, hint=hint)
    return program


@final
class Enumeration(Normaliser):
    """log Z as the sum over all states of the smaller layer, at most 2²⁰ of them; differentiable.

    Example:
        >>> import torch, unigen as ug
        >>> ug.RBM(features=30, hidden=4).log_prob(torch.zeros(1, 30), density=Normalised(Enumeration())).kind
        <Kind.EXACT: 'exact'>
    """

    def log_z(self, program: Program) -> LogProb:
        """Return log Z, exact.

        Raises:
            UnsupportedQueryError: More than 2²⁰ states, or a program that does not list its states.
        """
        found = require_method(
            program, HasStates, "its states cannot be enumerated", "AnnealedNormaliser(), an estimate"
        )
        return LogProb(found.states().log_z(), Kind.EXACT)


@final
class Normalised(Density):
    """log p(x) = −E(x) − log Z, of the kind that log Z has, bounds turned round.

    Args:
        normaliser: How log Z is found, or a log Z that was found before: a random one is then the same for all x.

    Raises:
        ArgumentError: Neither of the two.

    Note:
        An error of log Z shifts all log p(x_i) together: it does not average out over examples, as the ``monte_carlo``
        error of ``log_prob(x).mean()`` supposes.

    Example:
        >>> import torch, unigen as ug
        >>> rbm = ug.RBM(features=3, hidden=2)
        >>> states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
        >>> rbm.log_prob(states, density=Normalised()).value.exp().sum().item()
        1.0000
    """

    def __init__(self, normaliser: Normaliser | LogProb = Enumeration()) -> None:
        if not isinstance(normaliser, (Normaliser, LogProb)):
            raise ArgumentError(
                program="Normalised",
                site="normaliser",
                got=type(normaliser).__name__,
                expected="a Normaliser, or the LogProb that one returned",
                hint="Enumeration(), AnnealedNormaliser()",
            )
        if isinstance(normaliser, LogProb) and normaliser.value.dim():
            raise ArgumentError(
                program="Normalised",
                site="normaliser",
                got=f"a LogProb of shape {tuple(normaliser.value.shape)}",
                expected="one number, shape ()",
            )
        self.normaliser = normaliser

    @property
    def kind(self) -> Kind:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Kind of log p(x)."""
        return -self.normaliser.kind

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return log p(x) in nats, shape (N,)."""
        found = self.normaliser
        log_z = found if isinstance(found, LogProb) else found.log_z(program)
        minus_energy = Unnormalised().log_prob(program, x, context)
        return normalised(minus_energy, log_z)


def normalised(minus_energy: LogProb, log_z: LogProb) -> LogProb:
    """Return −E(x) − log Z: what subtracting the normaliser makes of an unnormalised number.

    Unlike a sum of two densities, which stays unnormalised, this removes the one thing that was unknown: the result has
    minus the kind of log Z, and its standard error for every example.

    Args:
        minus_energy: −E(x), kind unnormalised, shape (N,).
        log_z: log Z of the same energy, shape ().

    Example:
        >>> import torch
        >>> minus_energy = LogProb(torch.zeros(2), Kind.UNNORMALISED)
        >>> print(normalised(minus_energy, LogProb(torch.tensor(1.0), Kind.LOWER_BOUND)).kind)
        upper bound
    """
    value = minus_energy.value - log_z.value.to(minus_energy.value.dtype)
    stderr = None if log_z.stderr is None else log_z.stderr.to(value.dtype).expand(value.shape)
    return LogProb(value, -log_z.kind, stderr, minus_energy.dims)
