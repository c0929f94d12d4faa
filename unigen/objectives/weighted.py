"""Maximum likelihood of weighted examples: the M step of a mixture's components, and where they start.

maximise Σ_i w_i log p(x_i),  w_i ≥ 0
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.distributions.clusters import k_means, soft_clusters
from unigen.errors import ArgumentError, NoDensityError, NonFiniteError, ShapeError
from unigen.logprob import Kind
from unigen.objectives.elbo import ELBO
from unigen.objectives.likelihood import EM, MaximumLikelihood
from unigen.objectives.objective import Objective
from unigen.program import Program

ITERATIONS = 5  # of L-BFGS in one step
SMOOTHING = 0.02  # share of every example that starts in all components alike
FAILED = (ArithmeticError, RuntimeError, ValueError)  # torch's own: no factorisation, an invalid parameter
SETTLE = 10  # steps of the components on their first clusters


def takes_weights(program: Program) -> str | None:
    """Return the name of the program's own weighted step, ``"solve"`` or ``"em_step"``, or None."""
    for name in ("solve", "em_step"):
        method = getattr(program, name, None)
        if method is not None and "weights" in inspect.signature(method).parameters:
            return name
    return None


def raise_likelihood(program: Program, x: Tensor, weights: Tensor) -> None:
    """Raise Σ_i w_i log p(x_i), in closed form, by an EM step, or by a few iterations of L-BFGS; it never falls.

    A step by gradient that ends lower than it began, or any that leaves no density, is undone.

    Args:
        program: A program with an exact density.
        x: Data, shape (N, *event_shape).
        weights: w, shape (N,).

    Raises:
        ArgumentError, NonFiniteError: The likelihood of a closed form or EM step has no maximum.

    References:
        Dempster, Laird & Rubin 1977 (generalised EM).
    """
    own = takes_weights(program)
    parameters = [p for p in program.parameters() if p.requires_grad]
    if own is None and not parameters:
        return
    state = {name: value.detach().clone() for name, value in program.state_dict().items()}
    w = weights / weights.sum()
    if own is None:
        better = _climb(program, parameters, x, w)
    else:
        getattr(program, own)(x, weights=weights)
        better = math.isfinite(_value(program, x, w))
    if not better:
        program.load_state_dict(state)
        if own is not None:
            raise ArgumentError("the likelihood has no maximum on some of the data", program=program.name)


def _value(program: Program, x: Tensor, w: Tensor) -> float:
    """Return Σ w log p(x), NaN where a collapsed density refuses to be evaluated."""
    try:
        with torch.no_grad():
            return float((w * program.density_of(x).value.double()).sum())
    except (
        ArithmeticError,
        RuntimeError,
        ValueError,
    ):  # torch's own: a factorisation failed, an invalid parameter
        return math.nan


def _climb(program: Program, parameters: list[nn.Parameter], x: Tensor, w: Tensor) -> bool:
    """Take a few iterations of L-BFGS with a line search, and return whether they ended no lower."""
    optimiser = torch.optim.LBFGS(parameters, max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = -(w.to(x.dtype) * program.density_of(x).value).sum()
        value.backward()
        return value.detach()

    start = _value(program, x, w)
    try:
        with torch.enable_grad():
            optimiser.step(loss)  # pyright: ignore[reportArgumentType]
    except FAILED:
        return False
    finally:
        optimiser.zero_grad()
    return _value(program, x, w) >= start


def default_objective(programs: Sequence[Program], kind: Kind) -> Objective:
    """Return how a mixture of programs of some kind is trained unless the user says otherwise."""
    if kind is not Kind.EXACT:
        return ELBO(enumerate=True)
    own = all(takes_weights(p) and not p.context_features for p in programs)
    return EM() if own else MaximumLikelihood()


def need_exact(programs: Sequence[Program], owner: str) -> None:
    """Refuse programs without an exact density.

    Raises:
        NoDensityError: There is one.
    """
    kinds = [f"component {k}, {p.name}: {p.kind}" for k, p in enumerate(programs) if p.kind is not Kind.EXACT]
    if kinds:
        hint = "objective=ELBO(enumerate=True)"
        raise NoDensityError("EM needs exact densities", program=owner, got="; ".join(kinds), hint=hint)


def seed_components(programs: Sequence[Program], x: Tensor, context: Tensor | None, owner: str) -> Tensor:
    """Give each program a cluster of k-means and a little of the other data; return responsibilities (N, K).

    Args:
        programs: K programs.
        x: Data, shape (N, *event_shape).
        context: Shape (N, C), or None.
        owner: Name used in messages.

    Raises:
        ShapeError: Fewer examples than components.
        ArgumentError, NonFiniteError: The data leave every component without a maximum.
    """
    k, got = len(programs), f"{x.shape[0]} examples"
    if x.shape[0] < k:
        raise ShapeError(program=owner, site="x", got=got, expected=f"at least K = {k}")
    member = k_means(x.double().flatten(1), k)
    for j, program in enumerate(programs):
        rows = member == j if int((member == j).sum()) > 1 else member >= 0
        program.initialise(
            x[rows], context[rows] if context is not None and program.context_features else None
        )
    r = soft_clusters(member, k, SMOOTHING)
    own = [j for j, program in enumerate(programs) if takes_weights(program)]
    raise_components([programs[j] for j in own], x, r[:, own], SETTLE)
    return r


def raise_components(programs: Sequence[Program], x: Tensor, r: Tensor, steps: int = 1) -> None:
    """Raise Σ_i r_ik log p_k(x_i) for every program k: the M step of a mixture but for its weights.

    An empty component, or one whose examples leave its likelihood without a maximum, keeps its parameters.

    Args:
        programs: K programs with exact densities.
        x: Data, shape (N, *event_shape).
        r: Responsibilities, shape (N, K).
        steps: Steps of each program.

    Raises:
        ArgumentError, NonFiniteError: The data leave every component without a maximum.
    """
    failures: list[ArgumentError | NonFiniteError] = []
    for k, program in enumerate(programs):
        try:
            for _ in range(steps):
                raise_likelihood(program, x, r[:, k])
        except (ArgumentError, NonFiniteError) as error:
            failures.append(error)
    if programs and len(failures) == len(programs):
        raise failures[0]
