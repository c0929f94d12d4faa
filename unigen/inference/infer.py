"""infer: draws of all latents of a program given data, by the no-U-turn sampler, several chains side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unigen.dynamics.nuts import Noise, Point, Potential, Transition, nuts_transition
from unigen.dynamics.warmup import DualAveraging, RunningVariance, window_ends
from unigen.errors import ArgumentError, DivergedError
from unigen.inference.progress import progress_bar
from unigen.inference.unconstrained import Unconstrained
from unigen.program import Program

BLOCK = 64  # transitions whose random numbers are drawn together
FIRST_STEP = 0.1
SPREAD = 0.5  # sd of the starting points on the reals, around zero


@dataclass(frozen=True)
class NUTS:
    """Settings of the no-U-turn sampler.

    Args:
        chains: Number of chains, run side by side; the first chains do not depend on how many follow.
        draws: Draws of each chain that are kept.
        warmup: Transitions before them, in which step size and mass are learned.
        target: Acceptance probability to which the step size is adapted.
        doublings: Largest number of doublings of a trajectory.
        compile: Compile the density and its gradient (some seconds); "auto" from 20,000 draws of all chains on.

    Raises:
        ArgumentError: A number out of range.
    """

    chains: int = 4
    draws: int = 1000
    warmup: int = 1000
    target: float = 0.8
    doublings: int = 10
    compile: bool | str = "auto"

    def __post_init__(self) -> None:
        counts = (self.chains, self.draws, self.warmup, self.doublings)
        if min(self.chains, self.draws, self.doublings) < 1 or self.warmup < 0 or not 0 < self.target < 1:
            raise ArgumentError(
                program="NUTS", got=f"(chains, draws, warmup, doublings) = {counts}, target={self.target}",
                expected="chains, draws and doublings ≥ 1, warmup ≥ 0, 0 < target < 1",
            )  # fmt: skip


@dataclass(frozen=True)
class Draws:
    """Draws of latents given data.

    Args:
        program: Whose latents they are.
        values: Draws by site, shape (chains, draws, *shape).
        statistics: By name, shape (chains, draws): ``accepted``, ``leaves``, ``divergent``, ``lp`` (log joint on the
            reals, nats).
        step_size: Of each chain, shape (chains,).
    """

    program: Program
    values: dict[str, Tensor]
    statistics: dict[str, Tensor] = field(default_factory=dict)
    step_size: Tensor | None = None

    def __getitem__(self, site: str) -> Tensor:
        """Return the draws of a site, shape (chains, draws, *shape)."""
        return self.values[site]

    def __repr__(self) -> str:
        """Return sites and shapes, and how many transitions diverged."""
        sites = ", ".join(f"{name}: {tuple(value.shape)}" for name, value in self.values.items())
        divergent = int(self.statistics["divergent"].sum()) if "divergent" in self.statistics else 0
        return f"Draws({self.program.name}; {sites}; {divergent} divergent)"


class _Randomness:
    """Random numbers of every chain from a generator of its own, drawn in blocks."""

    def __init__(self, seed: int, like: Tensor, doublings: int) -> None:
        self.like, self.doublings = like, doublings
        self.own = [torch.Generator().manual_seed(seed + 7919 * c) for c in range(like.shape[0])]
        self.block: list[Noise] = []

    def start(self) -> Tensor:
        """Return the starting points, shape (C, D)."""
        rows = [torch.randn(self.like.shape[1], generator=g, dtype=self.like.dtype) for g in self.own]
        return SPREAD * torch.stack(rows).to(self.like.device)

    def next(self) -> Noise:
        """Return the random numbers of the next transition."""
        if not self.block:
            d, j, dtype = self.like.shape[1], self.doublings, self.like.dtype
            normal = torch.stack([torch.randn(BLOCK, d, generator=g, dtype=dtype) for g in self.own], 1)
            uniform = torch.stack([torch.rand(BLOCK, 3, j, generator=g, dtype=dtype) for g in self.own], 1)
            normal, uniform = normal.to(self.like.device), uniform.to(self.like.device)
            self.block = [Noise(n, *u.unbind(1)) for n, u in zip(normal, uniform, strict=True)]
        return self.block.pop(0)


def _start(potential: Potential, random: _Randomness, program: Program) -> Point:
    """Return starting points of finite density, drawn anew where they are not."""
    q = random.start()
    for _ in range(50):
        value, gradient = potential(q)
        bad = ~(value.isfinite() & gradient.isfinite().all(1))
        if not bool(bad.any()):
            return Point(q, value, gradient)
        q = torch.where(bad[:, None], random.start(), q)
    raise DivergedError(
        "no starting point of finite density was found in 50 trials", program=program.name,
        hint="data in unit scale, or priors that keep the density finite",
    )  # fmt: skip


def _run(
    potential: Potential, at: Point, random: _Randomness, engine: NUTS, bar: Any
) -> tuple[list[Transition], Tensor]:
    """Warm up and draw; return the transitions that are kept and the step sizes."""
    step = DualAveraging(torch.full_like(at.potential, FIRST_STEP), engine.target)
    mass, learned, ends, kept = torch.ones_like(at.q), RunningVariance(at.q), window_ends(engine.warmup), []
    first = 75 if engine.warmup >= 150 else int(0.15 * engine.warmup)
    for t in range(engine.warmup + engine.draws):
        adapting = t < engine.warmup
        transition = nuts_transition(
            potential, at, step.step_size if adapting else step.final, mass, random.next()
        )
        at = transition.point
        if adapting:
            step.update(transition.accepted)
            if ends and first <= t < ends[-1]:
                learned.update(at.q)
            if t + 1 in ends:
                mass, learned = learned.value, RunningVariance(at.q)
                step.restart(step.step_size)
        else:
            kept.append(transition)
        bar(
            t + 1,
            "warm-up"
            if adapting
            else f"{int(sum(k.divergent.sum() for k in kept[-100:]))} divergent of late",
        )
    return kept, step.final


def infer(
    program: Program,
    data: object,
    context: object = None,
    *,
    engine: NUTS = NUTS(),
    seed: int | None = None,
    progress: bool | str = "auto",
) -> Draws:
    """Draw all latents of a program given data: parameters with priors, latents of each example, or both.

    Args:
        program: With continuous latents: ``ug.bayesian(program, priors)``, or a program of your own.
        data: Shape (N, *event_shape).
        context: Shape (N, C) for a conditional program.
        engine: Chains, draws, warm-up.
        seed: Reproduces the draws; the global random state stays untouched.
        progress: Progress bar: True, False or "auto" (only on a terminal).

    Returns:
        Draws of every latent site.

    Raises:
        SiteError: A latent is discrete, or there is none.
        DivergedError: No starting point has a finite density.
        UnigenError: Bad data.

    References:
        Hoffman & Gelman, The no-U-turn sampler, JMLR 2014.

    Example:
        >>> import pyro.distributions as dist, unigen as ug
        >>> model = ug.bayesian(ug.PPCA(features=2, latents=1), {"mean": dist.Normal(0.0, 1.0)})
        >>> infer(model, torch.randn(20, 2), engine=NUTS(chains=2, draws=5, warmup=5), seed=0)
        Draws(Bayesian; mean: (2, 5, 2); 0 divergent)
    """
    x, c = program.check_batch(data, context)
    space = Unconstrained(program, x, c)
    compile = engine.compile
    if compile == "auto":
        compile = engine.chains * (engine.draws + engine.warmup) >= 20_000
    potential = space.potential(engine.chains, bool(compile))
    random = _Randomness(
        int(torch.randint(2**31 - 1, ())) if seed is None else seed,
        torch.empty(engine.chains, space.dims, dtype=program.dtype, device=program.device), engine.doublings,
    )  # fmt: skip
    with torch.no_grad(), progress_bar(engine.warmup + engine.draws, program.name, progress) as bar:
        kept, step_size = _run(potential, _start(potential, random, program), random, engine, bar)
    statistics = {
        name: torch.stack([getattr(t, name) for t in kept], 1) for name in ("accepted", "leaves", "divergent")
    }
    statistics["lp"] = torch.stack([-t.point.potential for t in kept], 1)
    values = space.values(torch.stack([t.point.q for t in kept], 1))
    return Draws(program, values, statistics, step_size)
