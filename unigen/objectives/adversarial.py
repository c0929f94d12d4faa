"""Adversarial training: a critic f learns to tell data (p) from draws (q), the program learns to pass.

The game says what the two minimise: ``objectives.games``, ``f_gan`` and ``wasserstein_game``. Both losses hold critic
and program; each player's optimiser moves its own half only.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError, ContextError, ShapeError
from unigen.nn.critic import Critic
from unigen.objectives.differentiable import check_draws
from unigen.objectives.games import Game, NonSaturating
from unigen.objectives.objective import Objective, Player, trainable
from unigen.program import Program
from unigen.queries import ancestral


class CriticLoss(nn.Module):
    """What the critic minimises; holds the program it judges."""

    def __init__(self, program: Program, critic: nn.Module, game: Game) -> None:
        super().__init__()
        self.program, self.critic, self.game = program, critic, game

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the critic's loss on data x (N, *event) and as many draws."""
        with torch.no_grad():
            y = ancestral(self.program, x.shape[0], context)
        value = self.game.critic(self.critic(x, context), self.critic(y, context))
        return value + self.game.regulariser(self.critic, x, y, context)


class GeneratorLoss(nn.Module):
    """What the program minimises; holds the critic that judges it."""

    def __init__(self, program: Program, critic: nn.Module, game: Game) -> None:
        super().__init__()
        self.program, self.critic, self.game = program, critic, game

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the program's loss on as many draws as x has rows."""
        y = ancestral(self.program, x.shape[0], context)
        return self.game.generator(self.critic(y, context))


def check_game(loss: object, critic_steps: object) -> None:
    """Refuse what is no game, and critic steps that are no count.

    Raises:
        ArgumentError: As said.
    """
    if isinstance(critic_steps, bool) or not isinstance(critic_steps, int) or critic_steps < 1:
        raise ArgumentError(site="critic_steps", got=critic_steps, expected="a positive integer")
    if not isinstance(loss, Game):
        raise ArgumentError(
            site="loss",
            got=type(loss).__name__,
            expected="a game",
            hint="NonSaturating(), Wasserstein() or FGAN(…)",
        )


def build_critic(
    given: nn.Module | None, game: Game, program: Program, y: Tensor, context: Tensor | None
) -> Critic:
    """Return the critic of a game: the one handed in, or a fresh perceptron.

    Args:
        given: A ``Critic``, a network, or None.
        game: What it plays.
        program: What it judges.
        y: Two draws of what it sees.
        context: Their context.

    Raises:
        ArgumentError: It plays another game, or lacks the game's constraint on its weights.
        ShapeError: It does not take such draws.
        ContextError: It takes a context and there is none, or the reverse.
    """
    critic = given
    if not isinstance(critic, Critic):
        features = max(1, y.shape[1:].numel())
        critic = Critic(features, context=program.context_features, net=given, constraint=game.constraint)
    elif game.constraint is not None and repr(critic.constraint) != repr(game.constraint):
        raise ArgumentError(
            "the critic's weights are not constrained as the game asks",
            program=program.name, site="critic", got=critic.constraint, expected=game.constraint,
            hint=f"Critic(…, constraint={game.constraint!r})",
        )  # fmt: skip
    critic = critic.read_as(game.reading).to(program.device, program.dtype)
    _try(critic, program, y, context)
    return critic


def _try(critic: Critic, program: Program, y: Tensor, context: Tensor | None) -> None:
    """Show a critic two draws, nothing of it being changed."""
    expected = f"a critic of events {tuple(y.shape[1:])}"
    if critic.flatten and y.shape[1:].numel() != critic.features:
        got = f"a critic of {critic.features} features"
        raise ShapeError(program=program.name, argument="critic", got=got, expected=expected)
    if critic.flatten and critic.context != program.context_features:
        got, hint = (
            f"a critic with context={critic.context}",
            f"Critic(…, context={program.context_features})",
        )
        expected = f"context={program.context_features}, as the program has"
        raise ContextError(program=program.name, argument="critic", got=got, expected=expected, hint=hint)
    training = critic.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            values = critic.eval()(y, context)
    except (RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ShapeError(
            "the critic does not take a draw of the program",
            program=program.name, argument="critic", got=reason, expected=expected,
        ) from error  # fmt: skip
    finally:
        critic.train(training)
    if tuple(values.shape) != (y.shape[0],):
        got = f"values of shape {tuple(values.shape)} for {y.shape[0]} draws"
        raise ShapeError(program=program.name, argument="critic", got=got, expected="one number an example")


def two_players(
    judge: nn.Module, forger: nn.Module, steps: int, lr: tuple[float, float], betas: tuple[float, float]
) -> list[Player]:
    """Return the critic, then the program, from the losses of both.

    Args:
        judge: The critic's loss, which holds it as ``critic``.
        forger: The program's loss, which holds it as ``program``.
        steps: Critic steps a round.
        lr: Learning rate factors of program and critic.
        betas: Adam's.
    """
    return [
        Player(
            "critic", judge, trainable(judge, "critic."), steps=steps, lr=lr[1], betas=betas, measure=False
        ),
        Player("generator", forger, trainable(forger, "program."), lr=lr[0], betas=betas, measure=False),
    ]


class AdversarialObjective(Objective):
    """What the objectives that are played against a critic share: the game, the critic, and how the two train.

    Args:
        loss: The game.
        critic: A ``Critic`` or a network; a fresh perceptron if omitted.
        critic_steps: Steps of the critic for each step of the program.
        lr: Learning rates of program and critic, as factors of the one given to ``fit``.
        betas: Adam's betas of both players.

    Raises:
        ArgumentError: No game, or no count of steps.
    """

    def __init__(
        self,
        loss: Game = NonSaturating(),
        *,
        critic: nn.Module | None = None,
        critic_steps: int = 1,
        lr: tuple[float, float] = (1.0, 1.0),
        betas: tuple[float, float] = (0.5, 0.9),
    ) -> None:
        check_game(loss, critic_steps)
        self.loss, self.critic, self.critic_steps, self.lr, self.betas = loss, critic, critic_steps, lr, betas


@final
class Adversarial(AdversarialObjective):
    """Train a program that can be drawn from, differentiably, against a critic; no density is needed.

    Args:
        loss: The game: ``NonSaturating(r1=…)``, ``Minimax()``, ``LeastSquares()``, ``Hinge()``, ``FGAN(divergence)`` or
            ``Wasserstein(penalty=…)``.
        critic: A ``Critic`` (keep it to read ``critic.log_ratio(x)`` or ``critic.wasserstein(x, y)`` after the fit) or
            a network (N, *event) → (N, 1); a fresh perceptron if omitted.
        critic_steps: Steps of the critic for each step of the program.
        lr: Learning rates of program and critic, as factors of the one given to ``fit``.
        betas: Adam's betas of both players.

    Raises:
        ArgumentError: No game, or no count of steps.

    References:
        Goodfellow et al. 2014; Arjovsky et al. 2017; Heusel et al., GANs trained by a two time-scale update rule, 2017.
    """

    def players(self, program: Program) -> list[Player]:
        """Return the critic, then the program.

        Raises:
            ArgumentError: Draws of the program are not differentiable in its parameters, or the critic plays another
                game.
            ShapeError, ContextError: The critic does not take the program's draws.
        """
        y, context = check_draws(program)
        critic = build_critic(self.critic, self.loss, program, y, context)
        judge, forger = CriticLoss(program, critic, self.loss), GeneratorLoss(program, critic, self.loss)
        return two_players(judge, forger, self.critic_steps, self.lr, self.betas)
