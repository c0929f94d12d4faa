"""infer: draws of all latents of a program given data, by whichever engine."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.errors import ArgumentError, ShapeError
from unigen.inference.draws import Draws
from unigen.inference.engine import Engine
from unigen.inference.markov import NUTS
from unigen.inference.progress import progress_bar
from unigen.inference.unconstrained import Unconstrained
from unigen.program import Program
from unigen.queries import evaluating


def _seed(seed: int | None) -> int:
    return int(torch.randint(2**31 - 1, ())) if seed is None else seed


def _check(engine: object, program: Program) -> None:
    if not isinstance(engine, Engine):
        raise ArgumentError(
            program=program.name,
            site="engine",
            got=repr(engine),
            expected="an engine",
            hint="engine=ug.NUTS()",
        )


def infer(
    program: Program,
    data: object,
    context: object = None,
    *,
    engine: Engine = NUTS(),
    seed: int | None = None,
    progress: bool | str = "auto",
) -> Draws:
    """Draw all latents of a program given data: parameters with priors, latents of each example, or both.

    Args:
        program: With continuous latents: ``ug.bayesian(program, priors)``, or a program of your own.
        data: Shape (N, *event_shape).
        context: Shape (N, C) for a conditional program.
        engine: ``ug.NUTS(…)``, ``ug.HMC(…)``, ``ug.Variational(…)`` or ``ug.Laplace(…)``.
        seed: Reproduces the draws; the global random state stays untouched.
        progress: Progress bar: True, False or "auto" (only on a terminal).

    Returns:
        Draws of every latent site.

    Raises:
        ArgumentError: The engine is none.
        SiteError: A latent is discrete, or there is none.
        DivergedError: No starting point has a finite density, or a variational fit left the finite numbers.
        UnigenError: Bad data.

    References:
        Hoffman & Gelman, The no-U-turn sampler, JMLR 2014; Kucukelbir et al. 2017.

    Example:
        >>> import pyro.distributions as dist, unigen as ug
        >>> model = ug.bayesian(ug.PPCA(features=2, latents=1), {"mean": dist.Normal(0.0, 1.0)})
        >>> infer(model, torch.randn(20, 2), engine=NUTS(chains=2, draws=5, warmup=5), seed=0)
        Draws(Bayesian; mean: (2, 5, 2); 0 divergent)
    """
    _check(engine, program)
    x, c = program.check_batch(data, context)
    space = Unconstrained(program, x, c)
    with evaluating(program), progress_bar(engine.rounds, program.name, progress) as bar:
        found = engine.run(space, _seed(seed), bar)
    return Draws(program, space.values(found.u), found.statistics, found.step_size, x, c)


def infer_each(
    program: Program,
    data: Tensor,
    context: object = None,
    *,
    engine: Engine = NUTS(),
    seed: int | None = None,
) -> Draws:
    """Draw the latents given each of many data sets of one size, side by side, one chain for each.

    Args:
        program: As for ``infer``.
        data: Shape (M, N, *event_shape).
        context: Shape (N, C), the same for all.
        engine: As for ``infer``; its number of chains is M.
        seed: Reproduces the draws.

    Returns:
        Draws whose first axis counts the data sets, (M, draws, *shape).

    Raises:
        ShapeError: The data have no axis of data sets.
        UnigenError: Those of ``infer``.

    Example:
        >>> import pyro.distributions as dist, unigen as ug
        >>> model = ug.bayesian(ug.PPCA(features=2, latents=1), {"mean": dist.Normal(0.0, 1.0)})
        >>> infer_each(model, torch.randn(7, 20, 2), engine=NUTS(draws=5, warmup=5), seed=0)["mean"].shape
        torch.Size([7, 5, 2])
    """
    _check(engine, program)
    want = len(program.event_shape) + 2
    if data.dim() != want:
        raise ShapeError(
            program=program.name, site="data", got=tuple(data.shape), expected="(M, N, *event_shape)"
        )
    rows, _ = program.check_batch(
        data.flatten(0, 1), None if context is None else torch.as_tensor(context)[:1]
    )
    _, c = program.check_batch(data[0], context)
    space = Unconstrained(program, rows.reshape(data.shape), c, each=True)
    with evaluating(program), progress_bar(engine.rounds, program.name, False) as bar:
        found = engine.run(space, _seed(seed), bar)
    return Draws(program, space.values(found.u), found.statistics, found.step_size)
