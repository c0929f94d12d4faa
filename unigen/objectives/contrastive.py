"""Contrastive divergence: lower the energy of data, raise that of draws made by a few Langevin steps.

    ∇ −log p(x) = ∇E(x) − E_{y ~ p} ∇E(y)

The expectation is estimated with y after k steps, started at the data (CD-k, biased towards modes near the data)
or where the last step's chains ended (PCD, whose bias vanishes as the learning rate falls).

The loss mean E(x̃) − mean E(y) has this gradient; its value is no likelihood and may rise while the model improves.
"""

from __future__ import annotations

from typing import Protocol, final, runtime_checkable

import torch
from torch import Tensor

from unigen.dynamics.langevin import check_langevin, langevin, metropolis_langevin
from unigen.errors import ArgumentError, NoDensityError
from unigen.logprob import Kind
from unigen.nn.replay import ReplayBuffer
from unigen.objectives.objective import Objective, Player, ProgramLoss, trainable
from unigen.program import Program


@runtime_checkable
class HasChains(Protocol):
    """A program with persistent chains of its own, the length by which steps are measured, and a note of the noise."""

    chains: ReplayBuffer
    length: Tensor
    noise: Tensor


def minus_log_p(program: Program, x: Tensor, context: Tensor | None) -> Tensor:
    """Return E(x | c) = −log p(x | c) up to a constant, differentiably, shape (N,)."""
    return -program.density_of(x, context).value


class ContrastiveLoss(ProgramLoss):
    """mean E(x + σε) − mean E(y), with y the ends of the chains; holds the program and, for PCD, the chains.

    Args:
        program: What is trained.
        options: The objective.
    """

    def __init__(self, program: Program, options: ContrastiveDivergence) -> None:
        super().__init__(program)
        self.options = options
        self.replay: ReplayBuffer | None = None
        if options.persistent and not isinstance(program, HasChains):
            self.replay = ReplayBuffer(options.chains, program.event_shape, program.context_features)
        if isinstance(program, HasChains):
            program.noise.fill_(options.noise)  # so that draws can be freed of it

    def negatives(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the ends of the chains and their contexts; persistent chains move on when training."""
        options, program = self.options, self.program
        if not options.persistent:
            return options.run(program, x, context), context
        replay = program.chains if isinstance(program, HasChains) else self.replay
        start, c = replay.take(x, context)
        y = options.run(program, start, c)
        if self.training:
            replay.put(y)
        return y, c

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the contrastive loss of a batch, a scalar whose gradient is that of −log p(x) as far as y ~ p."""
        options, program = self.options, self.program
        x = x + options.noise * unit(program) * torch.randn_like(x) if options.noise else x
        y, c = self.negatives(x, context)
        low, high = minus_log_p(program, x, context), minus_log_p(program, y, c)
        loss = low.mean() - high.mean()
        if options.weight_decay:
            loss = loss + options.weight_decay * (low.square().mean() + high.square().mean())
        return loss


def unit(program: Program) -> Tensor | float:
    """Return the program's own unit of length where it has one (an EnergyModel's ``length``), else 1."""
    return program.length if isinstance(program, HasChains) else 1.0


@final
class ContrastiveDivergence(Objective):
    """CD-k and PCD with Langevin negatives, for any program whose density or energy is differentiable.

    Args:
        steps: k, Langevin steps for each optimiser step.
        step_size: h, in squared units of the program's length (its ``length`` if it has one, else that of x).
        persistent: Keep the chains between steps (PCD); otherwise they start at the data each time (CD-k).
        adjusted: Accept or reject each step (MALA): no bias of a finite h, and chains that a steep energy cannot throw
            out, which the next step would make steeper still.
        chains: Number of persistent chains, where the program has none of its own.
        noise: σ of the Gaussian noise added to data, in the same length. The model is then one of x + σε: it
            makes the energy smooth enough for Langevin steps, and Tweedie's formula takes the noise off a draw.
        weight_decay: α of the penalty α (E(x)² + E(y)²), which fixes the free constant of E and keeps E bounded.

    References:
        Hinton, Training products of experts by minimizing contrastive divergence, 2002; Tieleman 2008; Nijkamp et al.,
        On the anatomy of MCMC-based maximum likelihood learning of energy-based models, 2020.
    """

    def __init__(
        self,
        steps: int = 10,
        step_size: float = 0.03,
        *,
        persistent: bool = True,
        adjusted: bool = False,
        chains: int = 256,
        noise: float = 0.0,
        weight_decay: float = 1e-3,
    ) -> None:
        check_langevin(steps, step_size, 1.0)
        for name, value in (("noise", noise), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ArgumentError(program="ContrastiveDivergence", site=name, got=value, expected="≥ 0")
        if steps < 1 or chains < 1:
            raise ArgumentError(
                program="ContrastiveDivergence", got=f"steps={steps}, chains={chains}", expected="both ≥ 1"
            )
        self.steps, self.step_size, self.persistent, self.chains = steps, step_size, persistent, chains
        self.adjusted, self.noise, self.weight_decay = adjusted, noise, weight_decay

    def run(self, program: Program, x: Tensor, context: Tensor | None) -> Tensor:
        """Return where Langevin chains of the program end that start at x, shape of x, detached."""

        def energy(at: Tensor) -> Tensor:
            return minus_log_p(program, at, context)

        step = self.step_size * unit(program) ** 2
        if self.adjusted:
            return metropolis_langevin(energy, x, steps=self.steps, step_size=step)[0]
        return langevin(energy, x, steps=self.steps, step_size=step)

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains the whole program.

        Raises:
            NoDensityError: The program has only a bound or an estimate of its density, or x is discrete.
        """
        if program.kind not in (Kind.EXACT, Kind.UNNORMALISED) or program.structure.observed.discrete:
            raise NoDensityError(
                "contrastive divergence needs a differentiable density or energy",
                program=program.name,
                got=f"kind {program.kind}",
                hint="objective=ELBO()",
            )
        loss = ContrastiveLoss(program, self)
        return [Player("contrastive", loss, trainable(loss), measure=False)]
