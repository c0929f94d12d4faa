"""Training without the context now and then, so that one network has both scores, score(z | c) and score(z).

c is replaced by the null context, every feature of which is ``null``, with a probability, row by row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player
from unigen.program import Program


class DroppedLoss(nn.Module):
    """A loss that sees the null context in place of some rows'.

    Args:
        loss: Called with (x, context).
        probability: That a row loses its context.
        null: Value of every feature of the null context.
    """

    def __init__(self, loss: nn.Module, probability: float, null: float) -> None:
        super().__init__()
        self.loss, self.probability, self.null = loss, probability, null

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the loss under the contexts that are left."""
        kept = torch.rand_like(context[:, :1]) >= self.probability
        return self.loss(x, torch.where(kept, context, self.null))


@final
class DropContext(Objective):
    """Any objective of a conditional program, with its context dropped at random, for classifier-free guidance.

    The null context is a declared value rather than a parameter. For one-hot labels zeros say "none of them", and the
    bias of the layer that reads the context is then what a network learns for it; where a context may itself be zero,
    give it a feature more that is always 1.

    Args:
        objective: What is minimised.
        probability: That a row loses its context, in (0, 1).
        null: Value of every feature of the null context, the same as in ``ClassifierFree``.

    Raises:
        ArgumentError: The probability is not inside (0, 1); or, from ``players``, the program has no context, or the
            objective has a closed form.

    References:
        Ho & Salimans 2022, Classifier-free diffusion guidance.

    Example:
        >>> import unigen as ug
        >>> program = ug.Diffusion(2, hidden=8, blocks=1, context=3)
        >>> objective = DropContext(ug.DenoisingScoreMatching(), probability=0.2)
        >>> data = torch.randn(32, 2), torch.eye(3)[torch.arange(32) % 3]
        >>> ug.fit(program, data, objective=objective, steps=2).steps
        2
    """

    def __init__(self, objective: Objective, probability: float = 0.15, null: float = 0.0) -> None:
        if not isinstance(objective, Objective):
            raise ArgumentError(
                program="DropContext", argument="objective", got=type(objective).__name__, expected="an objective",
                hint="ug.DropContext(ug.DenoisingScoreMatching())",
            )  # fmt: skip
        if not 0.0 < probability < 1.0:
            raise ArgumentError(
                program="DropContext", argument="probability", got=probability, expected="inside (0, 1)"
            )
        self.objective, self.probability, self.null = objective, float(probability), float(null)

    def players(self, program: Program) -> list[Player]:
        """Return the objective's players, with losses that drop the context.

        Raises:
            ArgumentError: The program has no context, or a player has a closed form.
        """
        if program.context_features == 0:
            raise ArgumentError(
                "there is no context to drop", program=program.name, argument="context", got=0,
                expected="a conditional program", hint=f"{program.name}(…, context=C)",
            )  # fmt: skip
        players = self.objective.players(program)
        if any(player.update is not None for player in players):
            raise ArgumentError(
                "a closed form takes the contexts as they are", program="DropContext", argument="objective",
                got=self.objective, expected="an objective that takes gradients",
            )  # fmt: skip
        return [self._dropped(player) for player in players]

    def _dropped(self, player: Player) -> Player:
        loss = DroppedLoss(player.loss, self.probability, self.null)
        return replace(player, loss=loss, parameters={f"loss.{k}": p for k, p in player.parameters.items()})
