"""Every family as a forward process from data to noise and a reverse process from noise to data.

    data x → … → noise z     (forward: posterior, inverse map, ODE, SDE; a GAN or an energy has none)
    noise z → … → data x     (reverse: decoder, map, ODE, SDE, chain, coordinate by coordinate)

What process a program has follows from what it offers, not from its family: a bridge, a hierarchy of latents, a
denoiser, a velocity, an invertible map, conditionals, a chain, a latent. The first that fits is taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from unigen.errors import ArgumentError, NotFittedError, UnsupportedQueryError
from unigen.evaluate.process_dynamics import bridge, chain, diffusion, ode
from unigen.evaluate.process_maps import bijection, coordinates, hierarchy, latent
from unigen.evaluate.process_record import Asked, Process
from unigen.program import Program
from unigen.queries import evaluating, seeded

ROWS = 500  # points drawn if not said

WAYS: tuple[Callable[[Asked], Process | None], ...] = (
    bridge,
    hierarchy,
    diffusion,
    ode,
    bijection,
    coordinates,
    chain,
    latent,
)


def process(
    program: Program,
    x: object,
    context: object = None,
    *,
    n: int | None = None,
    steps: int = 20,
    seed: int | None = None,
) -> Process:
    """Return a program as two processes: its data carried to noise, and noise carried to draws.

    Args:
        program: A fitted program of any family, or one of your own with a latent.
        x: Data, (N, *event_shape).
        context: Context of the data, and of the draws, (N, C) or (1, C).
        n: Number of points: the first n rows of x forward, and n draws backward; at most 500 if omitted.
        steps: How many steps of a process of many steps are shown, evenly spaced; a process of one step has one.
        seed: Reproduces both; the reverse process of a family with a sampler of its own ends in the draws that
            ``program.sample(n, context, seed=seed)`` makes, but for energies, whose chains start at noise here.

    Returns:
        The states, their times, and what kind of step leads from one to the next. Dynamics are in the data's units,
        latents in their own.

    Raises:
        ArgumentError: n or steps below one, or n above the number of rows.
        NotFittedError: The program was never fitted.
        ShapeError, DTypeError, NonFiniteError, SupportError, EmptyDataError, ContextError: Bad data.
        UnsupportedQueryError: The program has neither latents nor noise nor a chain.

    References:
        Sohl-Dickstein et al., Deep unsupervised learning using nonequilibrium thermodynamics, 2015; Song et al.,
        Score-based generative modeling through SDEs, 2021; Rosenblatt 1952.

    Example:
        >>> import unigen as ug
        >>> x = torch.randn(50, 3) * torch.tensor([3.0, 1.0, 1.0])
        >>> ppca = ug.PPCA(features=3, latents=1)
        >>> _ = ug.fit(ppca, x)
        >>> process(ppca, x, n=10)
        Process(forward: one stochastic step; reverse: one stochastic step; K=1; (10, 3) and (10, 1))
    """
    rows, c = program.check_batch(x, context)
    n = min(rows.shape[0], ROWS) if n is None else n
    for name, value, most in (("n", n, rows.shape[0]), ("steps", steps, None)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most and value > most):
            limit = "a positive integer" if most is None else f"1 … {most}, the rows of x"
            raise ArgumentError(program=program.name, argument=name, got=value, expected=limit)
    if not program.fitted and (program.objective is not None or any(True for _ in program.parameters())):
        raise NotFittedError(
            "a process of parameters that mean nothing yet", program=program.name,
            hint="ug.fit(program, x); program.fitted = True says that you have trained it yourself",
        )  # fmt: skip
    c = None if c is None else c.expand(rows.shape[0], -1)[:n]
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        return _first(Asked(program, rows[:n], c, steps))


def _first(asked: Asked) -> Process:
    """Take the first way that fits; beside a hierarchy over a denoiser stands its ODE.

    Raises:
        UnsupportedQueryError: None does.
    """
    for way in WAYS:
        found = way(asked)
        if found is not None:
            return dataclasses.replace(found, beside=ode(asked)) if way is hierarchy else found
    raise UnsupportedQueryError(
        "a process leads through latents, noise or a chain, and this program has none", program=asked.program.name,
        hint="program.sample draws from it",
    )  # fmt: skip
