"""Adversarially learned inference: a critic of pairs (x, z) trains a program and its guide together.

    encoder's pairs     x from the data,  z ~ q(z | x)
    decoder's pairs     z ~ p(z),         x ~ p(x | z)

Where no critic can tell them apart, q(x) q(z | x) = p(x, z): the program has the distribution of the data, and the
guide is its posterior. Neither density is needed, only draws.
"""

from __future__ import annotations

import functools
from typing import final

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.objectives.adversarial import AdversarialObjective, build_critic, two_players
from unigen.objectives.differentiable import check_draws
from unigen.objectives.games import Game
from unigen.objectives.objective import Player
from unigen.program import Program
from unigen.traces import Node, draw


def _pairs(program: Program, nodes: dict[str, Node], x: Tensor) -> Tensor:
    """Return x and all latents side by side, shape (N, D + L)."""
    names = [site.name for site in program.structure.latents]
    return torch.cat([x.flatten(1), *(nodes[name]["value"][:, None].flatten(1) for name in names)], 1)


def encoded(program: Program, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Return the pairs (x, z) with z ~ q(z | x), shape (N, D + L), differentiable in the guide."""
    return _pairs(program, draw(functools.partial(program.guide, x, context, x.shape[0])), x)


def decoded(program: Program, n: int, context: Tensor | None = None) -> Tensor:
    """Return n pairs (x, z) with z ~ p(z) and x ~ p(x | z), shape (n, D + L), differentiable in the model."""
    nodes = draw(functools.partial(program.model, None, context, n))
    return _pairs(program, nodes, nodes[program.observed]["value"])


class _PairLoss(nn.Module):
    """A loss on pairs; holds program and critic."""

    def __init__(self, program: Program, critic: nn.Module, game: Game) -> None:
        super().__init__()
        self.program, self.critic, self.game = program, critic, game


class PairCriticLoss(_PairLoss):
    """What the critic of pairs minimises."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the critic's loss on the pairs of data x (N, *event) and as many of the model."""
        with torch.no_grad():
            real, fake = encoded(self.program, x, context), decoded(self.program, x.shape[0], context)
        value = self.game.critic(self.critic(real, context), self.critic(fake, context))
        return value + self.game.regulariser(self.critic, real, fake, context)


class PairLoss(_PairLoss):
    """What model and guide minimise together."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the sum of the model's and the guide's loss."""
        real, fake = encoded(self.program, x, context), decoded(self.program, x.shape[0], context)
        return self.game.generator(self.critic(fake, context)) + self.game.encoder(self.critic(real, context))


@final
class AdversariallyLearnedInference(AdversarialObjective):
    """Train a program with a guide as a bidirectional GAN, against a critic that sees x and z side by side.

    ``posterior`` and ``encode`` then answer by the guide. A ``VAE`` with this objective is ALI; its critic gives the
    ``log_ratio`` between q(x) q(z | x) and p(x, z) at pairs (N, D + L).

    Args:
        loss: The game; see ``Adversarial``.
        critic: A ``Critic(D + L)``, or a network (N, D + L) → (N, 1); a fresh perceptron if omitted.
        critic_steps: Steps of the critic for each step of the program.
        lr: Learning rates of program and critic, as factors of the one given to ``fit``.
        betas: Adam's betas of both players.

    Raises:
        ArgumentError: No game, or no count of steps.

    References:
        Dumoulin et al., Adversarially learned inference, 2017; Donahue, Krähenbühl & Darrell, Adversarial feature
        learning, 2017.

    Example:
        >>> from unigen.models.vae import VAE
        >>> vae = VAE(3, 2, hidden=(8,), objective=AdversariallyLearnedInference())
        >>> [player.name for player in vae.objective.players(vae)]
        ['critic', 'generator']
    """

    def players(self, program: Program) -> list[Player]:
        """Return the critic, then model and guide as one player.

        Raises:
            ArgumentError: Draws of the model or of the guide are not differentiable in the parameters.
            UnsupportedQueryError: There is no latent in the plate, or no guide.
            ShapeError, ContextError: The critic does not take the pairs.
        """
        if not program.has_posterior or not program.structure.latents or program.structure.shared:
            raise UnsupportedQueryError(
                "inference needs a latent for each example, and a guide",
                program=program.name,
                hint="a VAE, or Adversarial() for a generator alone",
            )
        x, context = check_draws(program)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            pairs = encoded(program, x, context)
        if not pairs.requires_grad:
            raise ArgumentError(
                "an adversarial objective needs draws of the guide that are differentiable in the parameters",
                program=program.name,
                site=program.latent,
                hint="a reparameterised posterior, or objective=ELBO()",
            )
        critic = build_critic(self.critic, self.loss, program, pairs.detach(), context)
        judge, forger = PairCriticLoss(program, critic, self.loss), PairLoss(program, critic, self.loss)
        return two_players(judge, forger, self.critic_steps, self.lr, self.betas)
