"""Markov chain engines: the no-U-turn sampler and static Hamiltonian Monte Carlo, chains side by side.

All chains run in one process, on one set of tensors: one evaluation of the density serves all of them, and there is no
worker that could die alone. What ends the process, or an error in the density, ends the run at once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.dynamics.hmc import StaticNoise, hmc_transition
from unigen.dynamics.nuts import Noise, Point, Transition, nuts_transition
from unigen.dynamics.warmup import DualAveraging, RunningVariance, window_ends
from unigen.errors import ArgumentError, DivergedError
from unigen.inference.engine import Engine, Found
from unigen.inference.kernels import leap_kernel, tree_kernels, wanted
from unigen.inference.progress import Bar
from unigen.inference.unconstrained import Unconstrained

BLOCK = 64  # transitions whose random numbers are drawn together
FIRST_STEP = 0.1
SPREAD = 0.5  # sd of the starting points on the reals, around zero
Move = Callable[[Point, Tensor, Tensor], Transition]


class Randomness:
    """Random numbers of every chain from a generator of its own, drawn in blocks.

    Args:
        seed: Chain c gets the generator seed + 7919 c.
        like: Positions, shape (C, D).
        uniforms: Number of uniform numbers a transition takes.
    """

    def __init__(self, seed: int, like: Tensor, uniforms: int) -> None:
        self.like, self.uniforms = like, uniforms
        self.own = [torch.Generator().manual_seed(seed + 7919 * c) for c in range(like.shape[0])]
        self.block: list[tuple[Tensor, Tensor]] = []

    def start(self) -> Tensor:
        """Return the starting points, shape (C, D)."""
        rows = [torch.randn(self.like.shape[1], generator=g, dtype=self.like.dtype) for g in self.own]
        return SPREAD * torch.stack(rows).to(self.like.device)

    def next(self) -> tuple[Tensor, Tensor]:
        """Return normal (C, D) and uniform (C, k) numbers of the next transition."""
        if not self.block:
            d, k, dtype = self.like.shape[1], self.uniforms, self.like.dtype
            normal = torch.stack([torch.randn(BLOCK, d, generator=g, dtype=dtype) for g in self.own], 1)
            uniform = torch.stack([torch.rand(BLOCK, k, generator=g, dtype=dtype) for g in self.own], 1)
            self.block = list(zip(normal.to(self.like.device), uniform.to(self.like.device), strict=True))
        return self.block.pop(0)


def starting_points(space: Unconstrained, random: Randomness) -> Point:
    """Return starting points of finite density, drawn anew where they are not."""
    q = random.start()
    for _ in range(50):
        value, gradient = space.potential(q)
        bad = ~(value.isfinite() & gradient.isfinite().all(1))
        if not bool(bad.any()):
            return Point(q, value, gradient)
        q = torch.where(bad[:, None], random.start(), q)
    raise DivergedError(
        "no starting point of finite density was found in 50 trials", program=space.program.name,
        hint="data in unit scale, or priors that keep the density finite",
    )  # fmt: skip


def _run(move: Move, at: Point, engine: MarkovChains, bar: Bar) -> tuple[list[Transition], Tensor]:
    """Warm up and draw; return the transitions that are kept and the step sizes."""
    step = DualAveraging(torch.full_like(at.potential, FIRST_STEP), engine.target)
    mass, learned, ends, kept = torch.ones_like(at.q), RunningVariance(at.q), window_ends(engine.warmup), []
    first = 75 if engine.warmup >= 150 else int(0.15 * engine.warmup)
    for t in range(engine.warmup + engine.draws):
        adapting = t < engine.warmup
        transition = move(at, step.step_size if adapting else step.final, mass)
        at = transition.point
        if adapting:
            step.update(transition.acceptance_rate)
            if ends and first <= t < ends[-1]:
                learned.update(at.q)
            if t + 1 in ends:
                mass, learned = learned.value, RunningVariance(at.q)
                step.restart(step.step_size)
        else:
            kept.append(transition)
        if t % 25 == 24:
            late = kept[-100:]
            text = f"{int(sum(k.diverging.sum() for k in late))} divergent of late" if late else "warm-up"
            bar(t + 1, text)
    return kept, step.final


@dataclass(frozen=True)
class MarkovChains(Engine):
    """What Markov chain engines share; see ``NUTS`` and ``HMC``."""

    chains: int = 4
    draws: int = 1000
    warmup: int = 1000
    target: float = 0.8
    compile: bool | str = "auto"

    def __post_init__(self) -> None:
        got = f"(chains, draws, warmup) = {(self.chains, self.draws, self.warmup)}, target={self.target}"
        if min(self.chains, self.draws) < 1 or self.warmup < 0 or not 0 < self.target < 1:
            raise ArgumentError(
                program=type(self).__name__,
                got=got,
                expected="chains and draws ≥ 1, warmup ≥ 0, 0 < target < 1",
            )

    @property
    def rounds(self) -> int:
        """Number of transitions of a chain."""
        return self.warmup + self.draws

    @abstractmethod
    def move(self, space: Unconstrained, like: Tensor, random: Randomness) -> Move:
        """Return the transition kernel of all chains."""

    @property
    @abstractmethod
    def uniforms(self) -> int:
        """Number of uniform random numbers that a transition of a chain takes."""

    def run(self, space: Unconstrained, seed: int, bar: Bar) -> Found:
        """Return the draws after warm-up."""
        like = space.like(space.x.shape[0] if space.each else self.chains)
        random = Randomness(seed, like, self.uniforms)
        with torch.no_grad():
            at = starting_points(space, random)
            kept, step_size = _run(self.move(space, like, random), at, self, bar)
        names = ("acceptance_rate", "diverging", "n_steps", "tree_depth", "energy")
        statistics = {name: torch.stack([getattr(t, name) for t in kept], 1) for name in names}
        statistics["lp"] = torch.stack([-t.point.potential for t in kept], 1)
        return Found(torch.stack([t.point.q for t in kept], 1), statistics, step_size)


@dataclass(frozen=True)
class NUTS(MarkovChains):
    """The no-U-turn sampler.

    Args:
        chains: Number of chains, run side by side; the first chains do not depend on how many follow.
        draws: Draws of each chain that are kept.
        warmup: Transitions before them, in which step size and mass are learned.
        target: Acceptance probability to which the step size is adapted.
        compile: Compile the density, its gradient and the steps of the trees (some seconds); "auto": from 1,000
            transitions on.
        doublings: Largest number of doublings of a trajectory.

    Raises:
        ArgumentError: A number out of range.

    References:
        Hoffman & Gelman, The no-U-turn sampler, JMLR 2014; Betancourt 2017.
    """

    doublings: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.doublings < 1:
            raise ArgumentError(program="NUTS", site="doublings", got=self.doublings, expected="≥ 1")

    @property
    def uniforms(self) -> int:
        """Three for each doubling."""
        return 3 * self.doublings

    def move(self, space: Unconstrained, like: Tensor, random: Randomness) -> Move:
        """Return the transition kernel of all chains."""
        kernels = tree_kernels(space.potential, like, wanted(self.compile, self.rounds))

        def move(at: Point, step_size: Tensor, inverse_mass: Tensor) -> Transition:
            normal, uniform = random.next()
            noise = Noise(normal, *uniform.unflatten(1, (3, -1)).unbind(1))
            return nuts_transition(kernels, at, step_size, inverse_mass, noise)

        return move


@dataclass(frozen=True)
class HMC(MarkovChains):
    """Hamiltonian Monte Carlo with trajectories of a fixed number of steps.

    Args:
        chains: Number of chains, run side by side; the first chains do not depend on how many follow.
        draws: Draws of each chain that are kept.
        warmup: Transitions before them, in which step size and mass are learned.
        target: Acceptance probability to which the step size is adapted.
        compile: Compile the leapfrog step (some seconds); "auto": from 1,000 transitions on.
        leaps: Leapfrog steps of a trajectory.
        jitter: Each transition's step size is h (1 ± jitter), so that no frequency resonates.

    Raises:
        ArgumentError: A number out of range.

    References:
        Duane et al. 1987; Neal 2011.
    """

    leaps: int = 8
    jitter: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.leaps < 1 or not 0 <= self.jitter < 1:
            raise ArgumentError(
                program="HMC",
                got=f"leaps={self.leaps}, jitter={self.jitter}",
                expected="leaps ≥ 1, 0 ≤ jitter < 1",
            )

    @property
    def uniforms(self) -> int:
        """One to accept, one for the step size."""
        return 2

    def move(self, space: Unconstrained, like: Tensor, random: Randomness) -> Move:
        """Return the transition kernel of all chains."""
        leap = leap_kernel(space.potential, like, wanted(self.compile, self.rounds))

        def move(at: Point, step_size: Tensor, inverse_mass: Tensor) -> Transition:
            normal, uniform = random.next()
            noise = StaticNoise(normal, *uniform.unbind(1))
            return hmc_transition(leap, at, step_size, inverse_mass, noise, self.leaps, self.jitter)

        return move
