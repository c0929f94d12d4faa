"""Bridge matching: regress the ends of bridges between paired points, forward and backward.

    L = E_{(x_0, x_1) ~ π, t} [ ‖net_1(x_t, t) − x_1‖² + ‖net_0(x_t, t) − x_0‖² ],    x_t on the bridge from x_0 to x_1

in units of the ends, t uniform. The minimiser is the Markovian projection of the mixture of bridges under the coupling:

    IndependentBridge    π = data ⊗ prior. One projection; its process has the right ends, and is not the Schrödinger
                         bridge.
    MarkovianFitting     π = the ends of the present process, again and again (iterative Markovian fitting, IMF): its
                         fixed point is both Markov and a mixture of bridges, and that is the Schrödinger bridge.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from unigen.dynamics.markov_bridge import MarkovBridge
from unigen.dynamics.times import LowDiscrepancyTimes
from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective, Player, ProgramLoss
from unigen.program import Program

TIMES = 4  # a pair, where the regression is solved
INDEPENDENT, FITTED = 1, 2  # what a program's ``matching`` says of its coupling


def bridge_of(program: Program) -> MarkovBridge:
    """Return the process of a program.

    Raises:
        ArgumentError: It has none.
    """
    bridge = getattr(program, "bridge", None)
    if not isinstance(bridge, MarkovBridge):
        hint = "ug.SchroedingerBridge(features, prior=…)"
        raise ArgumentError("bridge matching needs a bridge", program=program.name, hint=hint)
    return bridge


class BridgeLoss(ProgramLoss):
    """The squared errors of both ends; holds the program and counts its steps.

    Args:
        program: What is trained.
        steps: Of the simulation that pairs the ends; 0 pairs them independently.
        warmup: Evaluations in training mode whose ends are paired independently before that.
    """

    step: Tensor

    def __init__(self, program: Program, steps: int, warmup: int) -> None:
        super().__init__(program)
        self.steps, self.warmup = steps, warmup
        self.register_buffer("step", torch.zeros(1, dtype=torch.int64))

    @property
    def matching(self) -> Tensor:
        """What the program says of its coupling, (1,)."""
        matching = self.program.matching
        assert isinstance(matching, Tensor)
        return matching

    def pairs(self, x: Tensor, independent: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return the pairs (x_0, x_1) of the backward and of the forward regression.

        Args:
            x: Data, (N, D).
            independent: Whether the ends are paired at random, (1,).
        """
        bridge = bridge_of(self.program)
        with torch.no_grad():
            z = self.program.draw_prior(x.shape[0])  # pyright: ignore[reportCallIssue]
            if self.steps == 0:
                return (x, z), (x, z)
            there, back = bridge.simulate(x, 1, self.steps), bridge.simulate(z, 0, self.steps)
            return (x, torch.where(independent, z, there)), (torch.where(independent, x, back), z)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the mean over the batch of both squared errors, in units of the ends."""
        independent = self.step < self.warmup if self.training else self.step < 0
        if self.training:
            independent = independent.clone() if self.steps else torch.ones_like(self.step, dtype=torch.bool)
            self.matching.copy_(torch.where(independent, INDEPENDENT, FITTED))
            self.step.add_(1)
        to_0, to_1 = self.pairs(x, independent)
        bridge, t = bridge_of(self.program), LowDiscrepancyTimes().draw(x)
        return (bridge.error(*to_0, t, 0) + bridge.error(*to_1, t, 1)).mean()

    @torch.no_grad()
    def solve(self, x: Tensor, rounds: int) -> Tensor:
        """Solve both regressions on all data, on independent pairs and then in rounds; return the last mean error.

        Args:
            x: Data, (N, D).
            rounds: Rounds on the pairs of the present process.
        """
        bridge = bridge_of(self.program)
        x = x.to(bridge.loc)
        errors = []
        for k in range(1 + rounds):
            independent = torch.full((1,), k == 0, device=x.device)
            for end in (0, 1):
                x_0, x_1 = (each.repeat(TIMES, 1) for each in self.pairs(x, independent)[end])
                t = LowDiscrepancyTimes().draw(x_0)[torch.randperm(x_0.shape[0], device=x.device)]
                bridge.solve(x_0, x_1, t, end)
                errors.append(bridge.error(x_0, x_1, t, end).mean())
        self.matching.fill_(FITTED if rounds else INDEPENDENT)
        return errors[-2] + errors[-1]


def _player(program: Program, steps: int, warmup: int, rounds: int) -> Player:
    """Return the player: it solves the regressions where the networks can, else it takes gradient steps."""
    bridge, name = bridge_of(program), "Markovian fitting" if steps else "independent bridge"
    loss = BridgeLoss(program, steps, warmup)

    def update(x: Tensor, context: Tensor | None = None) -> Tensor:
        return loss.solve(x, rounds)

    if bridge.solvable:
        return Player(name, loss, update=update, once=True, measure=False)
    return loss.player(name, measure=steps == 0)


@final
class IndependentBridge(Objective):
    """One bridge matching on independent pairs; the result is a bridge of the two sets, not the Schrödinger bridge.

    Its process carries the data to the prior and back, but its coupling of the ends does not solve the entropic
    transport problem.

    References:
        Peluchetti, Non-denoising forward-time diffusions, 2021; Liu et al., I²SB, 2023.
    """

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains both networks.

        Raises:
            ArgumentError: The program has no bridge.
        """
        return [_player(program, 0, 0, 0)]


@final
class MarkovianFitting(Objective):
    """Iterative Markovian fitting of the Schrödinger bridge.

    Each network is regressed on bridges whose ends are paired by the other network's process: forward on the pairs of
    the backward process, backward on those of the forward one, so that each is given the right marginal at the end
    that it predicts. Networks that solve their regression take ``rounds`` such rounds on all data after one on
    independent pairs; by gradient every step is a small part of a round, after ``warmup`` steps on independent pairs.

    Args:
        steps: Euler–Maruyama steps of the simulation.
        warmup: Gradient steps on independent pairs.
        rounds: Rounds, where they are solved; the number by gradient is that of the steps of ``fit``.

    Raises:
        ArgumentError: ``steps`` or ``rounds`` < 1, or ``warmup`` < 0.

    References:
        Shi et al., Diffusion Schrödinger bridge matching, 2023; Peluchetti 2023; De Bortoli et al., Schrödinger bridge
        flow for unpaired data translation, 2024.
    """

    def __init__(self, steps: int = 20, warmup: int = 1000, rounds: int = 10) -> None:
        if steps < 1 or warmup < 0 or rounds < 1:
            got = f"steps={steps}, warmup={warmup}, rounds={rounds}"
            expected = "steps ≥ 1, warmup ≥ 0, rounds ≥ 1"
            raise ArgumentError(program="MarkovianFitting", got=got, expected=expected)
        self.steps, self.warmup, self.rounds = steps, warmup, rounds

    def players(self, program: Program) -> list[Player]:
        """Return one player that trains both networks.

        Raises:
            ArgumentError: The program has no bridge.
        """
        return [_player(program, self.steps, self.warmup, self.rounds)]
