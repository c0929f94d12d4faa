"""Ranks of simulated latents among an engine's posterior draws, quantity by quantity."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from unigen.errors import NonFiniteError, ShapeError, SiteError
from unigen.logprob import Kind
from unigen.program import Program
from unigen.structure import Site
from unigen.traces import draw, log_weights

Engine = Callable[..., Any]  # (x) or (x, context) -> {site: (draws, ...)}, or one tensor
Values = dict[str, Tensor]
JOINT = "log p(x, z)"
BATCH = 65_536  # draws times examples held at once


def _repeat(x: Tensor, times: int, axis: int = 0) -> Tensor:
    """Repeat along one axis as a whole: 1 2 3 1 2 3."""
    return torch.cat([x] * times, axis)


def guide_engine(program: Program, draws: int) -> Engine:
    """Return the engine that draws from the program's own guide.

    Args:
        program: With a guide.
        draws: Number of draws.

    Returns:
        A function of (x, context) that returns draws by site: (draws, *batch, *event).
    """
    shared = bool(program.structure.shared)

    def engine(x: Tensor, context: Tensor | None = None) -> Values:
        found: list[Values] = []
        axes = {s.name: len(s.event_shape) for s in program.structure.latents}
        n = x.shape[0]
        times = 1 if shared else max(1, min(draws, BATCH // n))
        with torch.no_grad():
            for i in range(0, draws, times):
                some = min(times, draws - i)
                c = None if context is None else _repeat(context, some)
                nodes = draw(functools.partial(program.guide, _repeat(x, some), c, n * some))
                for name in axes:
                    if name not in nodes:
                        raise SiteError(
                            "the guide has no such site", program=program.name, site=name, hint="pass engine="
                        )
                rows = {name: nodes[name]["value"] for name in axes}
                if shared:
                    found.append({name: value[None] for name, value in rows.items()})
                    continue
                found.append({k: _split(v, v.dim() - axes[k] - 1, some) for k, v in rows.items()})
        return {name: torch.cat([part[name] for part in found]) for name in axes}

    return engine


def _split(value: Tensor, axis: int, times: int) -> Tensor:
    """Cut ``times`` repetitions of the rows apart: (…, times · n, …) to (times, …, n, …)."""
    return value.unflatten(axis, (times, -1)).movedim(axis, 0)


def _tidy(
    program: Program, given: Any, sites: tuple[Site, ...], truth: Values, thin: int, draws: int
) -> Values:
    """Return an engine's draws by site, thinned, or refuse them."""
    if isinstance(given, Tensor):
        if len(sites) != 1:
            raise SiteError(
                program=program.name, got="one tensor", expected=f"a dict of sites {[s.name for s in sites]}"
            )
        given = {sites[0].name: given}
    tidy = {}
    for site in sites:
        if site.name not in given:
            raise SiteError(
                program=program.name, site=site.name, got=sorted(given), expected="draws of every latent"
            )
        value, want = torch.as_tensor(given[site.name])[thin - 1 :: thin], tuple(truth[site.name].shape)
        if tuple(value.shape[1:]) != want or value.shape[0] < draws:
            raise ShapeError(
                program=program.name, site=site.name, got=tuple(value.shape), expected=(draws, *want),
                hint=f"the engine must make thin × draws = {thin * draws} draws, each shaped as the latent",
            )  # fmt: skip
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise NonFiniteError(program=program.name, site=site.name, got="NaN or infinite draws")
        tidy[site.name] = value[:draws].to(truth[site.name])
    return tidy


def rank(truth: Tensor, draws: Tensor) -> Tensor:
    """Return the rank of each truth among its draws, ties broken at random.

    Args:
        truth: Shape (n,).
        draws: Shape (S, n).

    Returns:
        Integers in 0 … S, shape (n,).

    Example:
        >>> rank(torch.tensor([0.5, -1.0]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])).tolist()
        [1, 0]
    """
    below, ties = (draws < truth).sum(0), (draws == truth).sum(0)
    return below + (torch.rand(ties.shape, device=ties.device) * (ties + 1)).long().clamp(max=draws.shape[0])


def _components(site: Site, truth: Tensor, draws: Tensor, rows: bool) -> dict[str, tuple[Tensor, Tensor]]:
    """Return (truth (n,), draws (S, n)) of every component of a latent, by name."""
    axis = truth.dim() - len(site.event_shape) - 1
    if rows:
        truth, draws = truth.movedim(axis, 0), draws.movedim(axis + 1, 1)
    else:
        truth, draws = truth[None], draws[:, None]
    scalar = truth.dim() == 1
    truth, draws = truth.unsqueeze(-1).flatten(1), draws.unsqueeze(-1).flatten(2)
    return {
        site.name if scalar else f"{site.name}[{j}]": (truth[:, j], draws[..., j])
        for j in range(truth.shape[1])
    }


def _log_joint(program: Program, x: Tensor, context: Tensor | None, values: Values) -> tuple[Tensor, Kind]:
    """Return log p(x, z) of each row, (R,), and its kind."""
    run = functools.partial(program.model, x, context, x.shape[0])
    weights = log_weights(poutine.condition(run, data=values), None)
    return weights.local[0], weights.kind


def _joints(
    program: Program, x: Tensor, context: Tensor | None, draws: Values, axes: Mapping[str, int]
) -> Tensor:
    """Return log p(x, z_s) of all draws, (S, n), some draws at a time."""
    n, count = x.shape[0], next(iter(draws.values())).shape[0]
    times, parts = max(1, BATCH // n), []
    for i in range(0, count, times):
        some = min(times, count - i)
        values = {k: torch.cat(list(v[i : i + some]), axes[k]) for k, v in draws.items()}
        c = None if context is None else _repeat(context, some)
        parts.append(_log_joint(program, _repeat(x, some), c, values)[0].reshape(some, n))
    return torch.cat(parts)


def _call(engine: Engine, x: Tensor, context: Tensor | None) -> Any:
    return engine(x) if context is None else engine(x, context)


def rank_examples(
    program: Program,
    engine: Engine,
    n: int,
    draws: int,
    thin: int,
    context: Tensor | None,
    quantities: Mapping[str, Callable[[Mapping[str, Tensor], Tensor], Tensor]],
) -> dict[str, Tensor]:
    """Rank the latents of n simulated examples, each a simulation of its own; (n,) by quantity."""
    sites = program.structure.latents
    with torch.no_grad():
        nodes = draw(functools.partial(program.model, None, context, n))
    truth, x = {s.name: nodes[s.name]["value"] for s in sites}, nodes[program.observed]["value"]
    found = _tidy(program, _call(engine, x, context), sites, truth, thin, draws)
    axes = {s.name: truth[s.name].dim() - len(s.event_shape) - 1 for s in sites}
    ranks = {}
    with torch.no_grad():
        for site in sites:
            for name, pair in _components(site, truth[site.name], found[site.name], True).items():
                ranks[name] = rank(*pair)
        at_truth, kind = _log_joint(program, x, context, truth)
        if kind in (Kind.EXACT, Kind.UNNORMALISED):
            ranks[JOINT] = rank(at_truth, _joints(program, x, context, found, axes))
        for name, quantity in quantities.items():
            each = torch.stack(
                [quantity({k: v[s] for k, v in found.items()}, x).reshape(-1) for s in range(draws)]
            )
            ranks[name] = rank(quantity(truth, x).reshape(-1), each)
    return ranks


def rank_shared(
    program: Program,
    engine: Engine,
    simulations: int,
    size: int,
    draws: int,
    thin: int,
    context: Tensor | None,
) -> dict[str, Tensor]:
    """Rank the shared latents of simulated data sets of ``size`` examples; (simulations,) by quantity."""
    sites = program.structure.shared
    whole = len(sites) == len(program.structure.latents)
    ranks: dict[str, list[Tensor]] = {}
    for _ in range(simulations):
        with torch.no_grad():
            nodes = draw(functools.partial(program.model, None, context, size))
        truth, x = {s.name: nodes[s.name]["value"] for s in sites}, nodes[program.observed]["value"]
        found = _tidy(program, _call(engine, x, context), sites, truth, thin, draws)
        with torch.no_grad():
            for site in sites:
                for name, pair in _components(site, truth[site.name], found[site.name], False).items():
                    ranks.setdefault(name, []).append(rank(*pair))
            if whole:
                each = [
                    _whole_joint(program, x, context, {k: v[s] for k, v in found.items()})
                    for s in range(draws)
                ]
                at_truth = _whole_joint(program, x, context, truth)
                ranks.setdefault(JOINT, []).append(rank(at_truth, torch.stack(each)))
    return {name: torch.cat(parts) for name, parts in ranks.items()}


def _whole_joint(program: Program, x: Tensor, context: Tensor | None, values: Values) -> Tensor:
    """Return log p(x_1 … x_N, θ), shape (1,)."""
    run = functools.partial(program.model, x, context, x.shape[0])
    weights = log_weights(poutine.condition(run, data=values), None)
    return weights.local.sum(1) + weights.shared
