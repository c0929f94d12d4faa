"""Objective: a divergence or bound to minimise, as a list of players.

A player is a loss, an ``nn.Module`` that holds everything it trains, and the parameters that its optimiser
moves. An ELBO has one player, an adversarial game two. Families with a closed form or an EM step have one
player with an ``update`` in place of a gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from unigen.program import Program

Update = Callable[[Tensor, Tensor | None], Tensor]


@dataclass
class Player:
    """One side of the optimisation.

    Args:
        name: Shown in records and progress bars.
        loss: ``loss(x, context) -> scalar``, in nats an example where the objective has that unit.
        parameters: What this player's optimiser moves, by name as in ``loss.named_parameters()``.
        update: Replaces the gradient step: gets all data at once, writes the parameters, returns the loss.
        once: The update is a closed form: one call ends the fit.
        steps: Steps of this player in each round (a critic takes several).
        lr: Learning rate factor relative to the one given to ``fit``.
        betas: Adam's betas, where the game needs its own.
        measure: Whether a lower loss means a better program, so that validation may choose by it (the first
            player's counts); it does not in a game, nor where the loss is a mere source of gradients.
    """

    name: str
    loss: nn.Module
    parameters: Mapping[str, nn.Parameter] = field(default_factory=dict)
    update: Update | None = None
    once: bool = False
    steps: int = 1
    lr: float = 1.0
    betas: tuple[float, float] | None = None
    measure: bool = True


def trainable(loss: nn.Module, prefix: str = "") -> dict[str, nn.Parameter]:
    """Return the parameters of a loss that require gradients, by name, those under ``prefix`` only if given."""
    return {name: p for name, p in loss.named_parameters() if p.requires_grad and name.startswith(prefix)}


class Objective(ABC):
    """What is minimised. Stateless: all that is trained or remembered lives in the losses of its players."""

    @abstractmethod
    def players(self, program: Program) -> list[Player]:
        """Return the players for one program."""

    def __repr__(self) -> str:
        """Return the class and its options."""
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({options})"


class ProgramLoss(nn.Module):
    """A loss of one program and nothing else to train; subclasses define ``forward(x, context)``."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        for part in program.modules():
            if isinstance(part, Program):
                part.structure  # noqa: B018  (found now, so that nothing changes while a step is traced)

    def player(self, name: str, *, measure: bool = True) -> Player:
        """Return the single player that trains everything in this loss."""
        return Player(name, self, trainable(self), measure=measure)
