"""Parallel tempering: hot chains cross from mode to mode and hand their states down to the cold one.

    π_k(u) ∝ exp(−β_k U(u)),     1 = β_0 > β_1 > … > β_{K−1} = 1/T,      swap k and k+1 with probability
    min(1, exp((β_k − β_{k+1}) (U(u_k) − U(u_{k+1}))))

All temperatures of all chains move side by side, each by Hamiltonian transitions with a step size of its own; even and
odd pairs try a swap in turn. exp(−U/T) must be integrable, as it is where U grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from unigen.dynamics.hmc import Leap, StaticNoise, hmc_transition
from unigen.dynamics.nuts import Point
from unigen.dynamics.warmup import DualAveraging
from unigen.errors import ArgumentError
from unigen.inference.engine import Engine, Found
from unigen.inference.kernels import leap_kernel, wanted
from unigen.inference.markov import FIRST_STEP, Randomness, starting_points
from unigen.inference.progress import Bar
from unigen.inference.unconstrained import Unconstrained


class Round(NamedTuple):
    """The cold chains after one round."""

    q: Tensor
    lp: Tensor
    acceptance_rate: Tensor
    diverging: Tensor
    swap_rate: Tensor


@dataclass(frozen=True)
class Tempering(Engine):
    """Parallel tempering (replica exchange) with Hamiltonian moves, for energies of several modes.

    Args:
        chains: Number of cold chains C; each has a ladder of its own.
        draws: Draws of each that are kept.
        warmup: Rounds before them, in which step sizes are learned.
        temperatures: K, rungs of the ladder, in geometric progression.
        hottest: T of the last, high enough to cross the barriers.
        leaps: Leapfrog steps of a move.
        target: Acceptance probability of the moves.
        jitter: Each move's step size is h (1 ± jitter).
        compile: Compile the leapfrog step (some seconds); "auto": from 1,000 rounds on.

    Raises:
        ArgumentError: A number out of range.

    References:
        Swendsen & Wang 1986; Geyer 1991; Earl & Deem, Parallel tempering, 2005; Syed et al. 2022 (even and odd pairs in
        turn).
    """

    chains: int = 4
    draws: int = 1000
    warmup: int = 500
    temperatures: int = 8
    hottest: float = 20.0
    leaps: int = 5
    target: float = 0.8
    jitter: float = 0.3
    compile: bool | str = "auto"

    def __post_init__(self) -> None:
        whole = {"chains": 1, "draws": 1, "warmup": 0, "temperatures": 2, "leaps": 1}
        for name, least in whole.items():
            if isinstance(getattr(self, name), bool) or not getattr(self, name) >= least:
                raise ArgumentError(
                    program="Tempering", site=name, got=getattr(self, name), expected=f"≥ {least}"
                )
        if not (1 < self.hottest < float("inf") and 0 < self.target < 1 and 0 <= self.jitter < 1):
            got = f"hottest={self.hottest}, target={self.target}, jitter={self.jitter}"
            raise ArgumentError(
                program="Tempering", got=got, expected="1 < hottest, 0 < target < 1, 0 ≤ jitter < 1"
            )

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return self.warmup + self.draws

    def run(self, space: Unconstrained, seed: int, bar: Bar) -> Found:
        """Return the cold chains' draws after warm-up.

        Raises:
            ArgumentError: The space has a data set for each chain.
        """
        if space.each:
            raise ArgumentError(program="Tempering", got="a data set for each chain", expected="one for all")
        like = space.like(self.chains * self.temperatures)  # row c K + k: rung k of chain c
        random, kept = Randomness(seed, like, 3), list[Round]()
        rungs = torch.linspace(0.0, 1.0, self.temperatures, dtype=like.dtype, device=like.device)
        beta = (self.hottest**-rungs).repeat(self.chains)
        with torch.no_grad():

            def tempered(q: Tensor) -> tuple[Tensor, Tensor]:
                value, gradient = space.potential(q)
                return beta * value, beta[:, None] * gradient

            at = _at(starting_points(space, random), beta)
            leap = leap_kernel(tempered, like, wanted(self.compile, self.rounds))
            step = DualAveraging(torch.full_like(beta, FIRST_STEP), self.target)
            for t in range(self.rounds):
                learning = t < self.warmup
                at, found = self._round(leap, at, step if learning else step.final, random, beta, t)
                if not learning:
                    kept.append(found)
                if t % 25 == 24:
                    bar(t + 1, "warm-up" if learning else f"swaps {float(found.swap_rate.mean()):.2f}")
        columns = {name: torch.stack([getattr(r, name) for r in kept], 1) for name in Round._fields}
        return Found(columns.pop("q"), columns, step.final[:: self.temperatures])

    def _round(
        self, leap: Leap, at: Point, step: DualAveraging | Tensor, random: Randomness, beta: Tensor, t: int
    ) -> tuple[Point, Round]:
        """Move every rung, learn the step sizes where they are still learned, and try to swap."""
        normal, uniform = random.next()
        h = step.step_size if isinstance(step, DualAveraging) else step
        noise = StaticNoise(normal, uniform[:, 0], uniform[:, 1])
        moved = hmc_transition(leap, at, h, torch.ones_like(normal), noise, self.leaps, self.jitter)
        if isinstance(step, DualAveraging):
            step.update(moved.acceptance_rate)
        at, rate = swapped(moved.point, beta, self.temperatures, t % 2, uniform[:, 2])
        cold = slice(None, None, self.temperatures)
        return at, Round(
            at.q[cold], -at.potential[cold], moved.acceptance_rate[cold], moved.diverging[cold], rate
        )


def _at(point: Point, beta: Tensor) -> Point:
    return Point(point.q, beta * point.potential, beta[:, None] * point.gradient)


def swapped(at: Point, beta: Tensor, rungs: int, parity: int, uniform: Tensor) -> tuple[Point, Tensor]:
    """Return the chains after swaps of rungs (k, k + 1), k ≡ parity mod 2, and the mean acceptance of each ladder.

    Args:
        at: Positions, β U and β ∇U, rows c K + k.
        beta: β of each row.
        rungs: K.
        parity: 0 or 1.
        uniform: One number a row.
    """
    raw = (at.potential / beta).reshape(-1, rungs)
    b, u = beta.reshape(-1, rungs), uniform.reshape(-1, rungs)
    lower = torch.arange(parity, rungs - 1, 2, device=raw.device)
    gain = (b[:, lower] - b[:, lower + 1]) * (raw[:, lower] - raw[:, lower + 1])
    probability = gain.clamp(max=0.0).exp()
    take = u[:, lower] < probability
    order = torch.arange(rungs, device=raw.device).expand_as(raw).clone()
    order[:, lower] = torch.where(take, lower + 1, lower)
    order[:, lower + 1] = torch.where(take, lower, lower + 1)
    rows = (order + rungs * torch.arange(raw.shape[0], device=raw.device)[:, None]).reshape(-1)
    ratio = beta / beta[rows]
    point = Point(at.q[rows], ratio * at.potential[rows], ratio[:, None] * at.gradient[rows])
    rate = probability.mean(1) if lower.shape[0] else torch.zeros_like(raw[:, 0])
    return point, rate
