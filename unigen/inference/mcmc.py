"""mcmc: Markov chains in any unnormalised density over x, whichever engine moves them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unigen.checks import check_context
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.inference.density_space import DensitySpace
from unigen.inference.draws import Draws
from unigen.inference.engine import Engine
from unigen.inference.markov import NUTS
from unigen.inference.progress import progress_bar
from unigen.logprob import Kind
from unigen.models.potential import Potential
from unigen.program import Program
from unigen.queries import evaluating
from unigen.samplers.chains import Start


def mcmc(
    target: Program | Callable[[Tensor], Tensor],
    event_shape: int | tuple[int, ...] | None = None,
    *,
    engine: Engine = NUTS(),
    context: object = None,
    starts: Tensor | None = None,
    spread: float = 1.0,
    seed: int | None = None,
    progress: bool | str = "auto",
) -> Draws:
    """Run chains whose stationary density is exp(−E(x)) / Z, all side by side, and keep every draw.

    ``ug.infer`` does the same for the latents of a program given data, with the same engines.

    Args:
        target: A program with a density or an energy (``EnergyModel``, ``ProductOfExperts``, a flow), or a function E
            that maps x (N, *event_shape) to (N,) in nats.
        event_shape: Shape of one x, where ``target`` is a function.
        engine: ``ug.NUTS``, ``ug.HMC``, ``ug.MALA``, ``ug.ULA``, ``ug.Underdamped`` or ``ug.Tempering``.
        context: Shape (1, C) or (chains, C) for a conditional program.
        starts: Points about which chains start, (chains, *event_shape); by default where the program's own ``start``
            says (the persistent chains of an EnergyModel), else the origin.
        spread: Unit of length in which steps begin; chains start within about half of it.
        seed: Reproduces the draws; the global random state stays untouched.
        progress: Progress bar: True, False or "auto" (only on a terminal).

    Returns:
        Draws of x, (chains, draws, *event_shape), with the statistics of the engine; ``ug.to_arviz`` and
        ``ug.evaluate.convergence`` take it.

    Raises:
        ArgumentError: The engine runs no chains, ``spread`` ≤ 0, or a function comes without ``event_shape``.
        UnsupportedQueryError: x is discrete, the density is only a bound or an estimate, or the energy has no gradient.
        ShapeError: The energy is not one number an example, or the starts have another shape.
        DivergedError: No starting point has a finite energy, or unadjusted chains left the finite numbers.

    References:
        Neal, MCMC using Hamiltonian dynamics, 2011; Hoffman & Gelman 2014; Earl & Deem, Parallel tempering, 2005.

    Example:
        >>> from unigen.inference.markov import HMC
        >>> draws = mcmc(lambda x: x.pow(4).sum(-1), 2, engine=HMC(chains=3, draws=5, warmup=5), seed=0)
        >>> draws["x"].shape, draws.statistics["acceptance_rate"].shape
        (torch.Size([3, 5, 2]), torch.Size([3, 5]))
    """
    program = _program(target, event_shape)
    chains = _chains(engine, program, spread)
    rows = None if context is None else chains
    c = check_context(context, program.context_features, rows, program.dtype, program.name)
    own: Start | None = getattr(program, "start", None)
    if starts is None and own is not None:
        with torch.random.fork_rng(devices=[]):
            starts = own(chains, c)
    space = DensitySpace(program, c, chains, starts, spread * float(getattr(program, "length", 1.0)))
    number = int(torch.randint(2**31 - 1, ())) if seed is None else seed
    with evaluating(program), progress_bar(engine.rounds, program.name, progress) as bar:
        found = engine.run(space, number, bar)
    return Draws(program, space.values(found.u), found.statistics, found.step_size, None, c)


def _program(target: object, event_shape: int | tuple[int, ...] | None) -> Program:
    if not isinstance(target, Program):
        if not callable(target) or event_shape is None:
            raise ArgumentError(
                program="mcmc", site="target", got=type(target).__name__,
                expected="a program, or a function x (N, *event_shape) → E (N,) and the event_shape",
            )  # fmt: skip
        return Potential(target, event_shape)
    if target.kind not in (Kind.EXACT, Kind.UNNORMALISED):
        raise UnsupportedQueryError(
            "chains need the density itself", program=target.name, got=f"kind {target.kind}",
            hint="ug.infer draws latents given data; sample() draws x",
        )  # fmt: skip
    return target


def _chains(engine: object, program: Program, spread: float) -> int:
    chains = getattr(engine, "chains", None)
    if not isinstance(engine, Engine) or not isinstance(chains, int):
        raise ArgumentError(
            program=program.name, site="engine", got=repr(engine), expected="an engine of Markov chains",
            hint="engine=ug.NUTS()",
        )  # fmt: skip
    if not 0 < spread < float("inf"):
        raise ArgumentError(program=program.name, site="spread", got=spread, expected="> 0")
    return chains
