"""Langevin engines: MALA with its step size learned, and chains without a Metropolis decision.

    ULA:          u' = u − h ∇U(u) + √(2h) ξ
    Underdamped:  du = v dt,  dv = −∇U dt − γ v dt + √(2γ) dW,  by the splitting BAOAB with step h

Without the decision the stationary density has a bias, of order h for ULA (variance 1/(1 − h/2) of a unit Gaussian) and
h² for the underdamped chain, and a step that is too long leaves the finite numbers.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.dynamics.hmc import StaticNoise, hmc_transition
from unigen.dynamics.nuts import Point, Transition
from unigen.dynamics.underdamped import drifted
from unigen.errors import ArgumentError, DivergedError
from unigen.inference.engine import Engine, Found
from unigen.inference.kernels import leap_kernel, traced, wanted
from unigen.inference.markov import MarkovChains, Move, Randomness, starting_points
from unigen.inference.progress import Bar
from unigen.inference.unconstrained import Unconstrained

Step = Callable[[Point, Tensor, Tensor], tuple[Point, Tensor]]  # where, velocity, noise -> where, velocity


@dataclass(frozen=True)
class MALA(MarkovChains):
    """The Metropolis-adjusted Langevin algorithm: one leapfrog step and a decision, step size and mass learned.

    Args:
        chains: Number of chains, run side by side.
        draws: Draws of each chain that are kept.
        warmup: Transitions before them.
        target: Acceptance probability to which the step size is adapted; .574 is optimal in many dimensions.
        compile: Compile the step (some seconds); "auto": from 1,000 transitions on.

    Raises:
        ArgumentError: A number out of range.

    References:
        Roberts & Tweedie 1996; Roberts & Rosenthal, Optimal scaling of discrete approximations to Langevin diffusions,
        1998.
    """

    target: float = 0.574

    @property
    def uniforms(self) -> int:
        """One, to accept."""
        return 1

    def move(self, space: Unconstrained, like: Tensor, random: Randomness) -> Move:
        """Return the transition kernel of all chains."""
        leap = leap_kernel(space.potential, like, wanted(self.compile, self.rounds))

        def move(at: Point, step_size: Tensor, inverse_mass: Tensor) -> Transition:
            normal, uniform = random.next()
            noise = StaticNoise(normal, uniform[:, 0], torch.full_like(uniform[:, 0], 0.5))
            return hmc_transition(leap, at, step_size, inverse_mass, noise, 1, 0.0)

        return move


@dataclass(frozen=True)
class UnadjustedChains(Engine):
    """What engines without a Metropolis decision share; see ``ULA`` and ``Underdamped``."""

    chains: int = 4
    draws: int = 1000
    warmup: int = 1000
    step_size: float = 0.05

    def __post_init__(self) -> None:
        got = (
            f"(chains, draws, warmup) = {(self.chains, self.draws, self.warmup)}, step_size={self.step_size}"
        )
        if min(self.chains, self.draws) < 1 or self.warmup < 0 or not 0 < self.step_size < math.inf:
            raise ArgumentError(
                program=type(self).__name__,
                got=got,
                expected="chains and draws ≥ 1, warmup ≥ 0, step_size > 0",
            )

    @property
    def rounds(self) -> int:
        """Number of steps of a chain."""
        return self.warmup + self.draws

    @abstractmethod
    def step(self, potential: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Step:
        """Return one step of all chains."""

    def run(self, space: Unconstrained, seed: int, bar: Bar) -> Found:
        """Return the draws after warm-up.

        Raises:
            DivergedError: A chain is no longer finite; ``partial`` has the draws kept before that step, (C, S, D), and
                where all chains stood, (C, 1, D), if none was.
        """
        like = space.like(space.x.shape[0] if space.each else self.chains)
        random = Randomness(seed, like, 0)
        kept: list[Point] = []
        with torch.no_grad():
            step = self.step(traced(space.potential, [like]))
            at, v = starting_points(space, random), random.next()[0]
            for t in range(self.rounds):
                then, v = step(at, v, random.next()[0])
                if not bool(then.potential.isfinite().all() & then.gradient.isfinite().all()):
                    raise self._diverged(space, t, torch.stack([p.q for p in kept or [at]], 1), then)
                at = then
                if t >= self.warmup:
                    kept.append(at)
                if t % 25 == 24:
                    bar(t + 1, "" if kept else "warm-up")
        potential = torch.stack([p.potential for p in kept], 1)
        statistics = {"lp": -potential, "energy": potential, "acceptance_rate": torch.ones_like(potential)}
        return Found(
            torch.stack([p.q for p in kept], 1), statistics, torch.full_like(like[:, 0], self.step_size)
        )

    def _diverged(self, space: Unconstrained, t: int, before: Tensor, then: Point) -> DivergedError:
        lost = int((~(then.potential.isfinite() & then.gradient.isfinite().all(1))).sum())
        return DivergedError(
            f"{lost} of {before.shape[0]} chains are no longer finite in step {t + 1}", program=space.program.name,
            got=f"step_size={self.step_size:g}", expected="below the stability limit of the energy",
            hint=f"step_size={self.step_size / 4:g}, or engine=ug.MALA(); the error's .partial has the states before",
            partial=space.values(before),
        )  # fmt: skip


@dataclass(frozen=True)
class ULA(UnadjustedChains):
    """The unadjusted Langevin algorithm: the cheapest chain, biased at every finite step.

    Args:
        chains: Number of chains, run side by side.
        draws: Draws of each chain that are kept.
        warmup: Steps before them.
        step_size: h, in squared units of the space in which chains move.

    Raises:
        ArgumentError: A number out of range.

    References:
        Roberts & Tweedie 1996; Durmus & Moulines 2017.
    """

    def step(self, potential: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Step:
        """Return one step of all chains."""
        h, noise = self.step_size, math.sqrt(2 * self.step_size)

        def step(at: Point, v: Tensor, xi: Tensor) -> tuple[Point, Tensor]:
            q = at.q - h * at.gradient + noise * xi
            return Point(q, *potential(q)), v

        return step


@dataclass(frozen=True)
class Underdamped(UnadjustedChains):
    """Underdamped Langevin dynamics by BAOAB: velocities carry chains on, and the bias is of order h².

    Args:
        chains: Number of chains, run side by side.
        draws: Draws of each chain that are kept.
        warmup: Steps before them.
        step_size: h, in units of the space in which chains move.
        friction: γ.

    Raises:
        ArgumentError: A number out of range.

    References:
        Leimkuhler & Matthews 2013.
    """

    step_size: float = 0.3
    friction: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.friction < math.inf:
            raise ArgumentError(program="Underdamped", site="friction", got=self.friction, expected="> 0")

    def step(self, potential: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Step:
        """Return one step of all chains."""
        h = self.step_size

        def step(at: Point, v: Tensor, xi: Tensor) -> tuple[Point, Tensor]:
            q, v = drifted(at.q, v, at.gradient, xi, h, self.friction, 1.0)
            value, gradient = potential(q)
            return Point(q, value, gradient), v - 0.5 * h * gradient

        return step
