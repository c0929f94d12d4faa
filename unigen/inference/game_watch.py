"""GameWatch: a callback that records how an adversarial game stands, on a batch of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from unigen.errors import ArgumentError, EmptyDataError
from unigen.inference.isolation import keep_buffers, restore_buffers
from unigen.inference.run import StepEvent
from unigen.nn.critic import Critic
from unigen.objectives.objective import Objective
from unigen.queries import seeded


class GameWatch:
    """Write the gradient norms of both players and the critic's mean values into the record of a fit.

    Curves ``critic gradient norm``, ``generator gradient norm``, ``critic on data`` and ``critic on draws`` are added.
    A generator norm near zero with a critic far apart on data and draws is a vanishing gradient; a critic that grows
    without end is one without a constraint. The run itself is not touched: random numbers come from a stream of their
    own, and running statistics are put back.

    Args:
        objective: The objective of the fit, ``Adversarial(critic=…)`` or ``AdversariallyLearnedInference(critic=…)``:
            it must hold its ``Critic``.
        x: Data on which the game is watched, shape (N, *event).
        context: Their context, shape (N, C), for a conditional program.
        every: Rounds between two entries.

    Raises:
        ArgumentError: The objective holds no ``Critic``, so that the one of the fit cannot be reached; ``every`` < 1.
        EmptyDataError: No data.

    Example:
        >>> import unigen as ug
        >>> game = ug.Adversarial(critic=ug.Critic(2))
        >>> x = torch.randn(64, 2)
        >>> record = ug.fit(ug.GAN(2), x, objective=game, steps=2, callbacks=[GameWatch(game, x, every=1)])
        >>> len(record.history["generator gradient norm"])
        2
    """

    def __init__(
        self, objective: Objective, x: Tensor, context: Tensor | None = None, *, every: int = 100
    ) -> None:
        if not isinstance(getattr(objective, "critic", None), Critic):
            raise ArgumentError(
                program="GameWatch", site="objective", got=repr(objective), expected="one that holds its critic",
                hint="Adversarial(critic=Critic(features))",
            )  # fmt: skip
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ArgumentError(program="GameWatch", site="every", got=every, expected="a positive integer")
        if x.shape[0] == 0:
            raise EmptyDataError(program="GameWatch", site="x", got="0 examples", expected="at least one")
        self.objective, self.x, self.context, self.every = objective, x, context, every

    def __call__(self, event: StepEvent) -> None:
        """Record one round."""
        if event.step % self.every:
            return
        x, context = event.program.check_batch(self.x, self.context)
        for player in self.objective.players(event.program):
            kept = keep_buffers(player.loss)
            with seeded(0, event.program.device), _Values(player.loss.get_submodule("critic")) as values:
                loss = player.loss(x, context)
                moved = list(player.parameters.values())
                gradients = torch.autograd.grad(loss, moved, allow_unused=True)
            restore_buffers(kept)
            norm = get_total_norm([g for g in gradients if g is not None])
            event.record.add(f"{player.name} gradient norm", event.step, float(norm))
            if player.name == "critic":
                event.record.add("critic on data", event.step, values.means[0])
                event.record.add("critic on draws", event.step, values.means[1])


class _Values:
    """The mean of each output of a module while it is watched."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.means = module, []

    def _keep(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        self.means.append(float(output.detach().mean()))

    def __enter__(self) -> _Values:
        self.handle = self.module.register_forward_hook(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()
