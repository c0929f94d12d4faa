"""Results as ArviZ groups, under ArviZ 0.23 (``InferenceData``) and 1.x (``DataTree``).

Groups: posterior (draws of z from the guide), sample_stats (``lp`` = log p(x, z), ``log_q`` = log q(z | x)), prior and
prior_predictive, posterior_predictive, log_likelihood, observed_data. Variational draws are stored as chain = 1,
draw = S.

``log_likelihood`` is the marginal log p(x_i | θ_s), never the conditional log p(x_i | z_i), which would make
leave-one-out predictions of a latent that has seen x_i. Where θ is a point it is the same for every draw. Its
``kind`` attribute says what the number is, as that of ``lp`` does; programs without a normalised density have no such
group.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unigen.errors import ArgumentError, NoDensityError
from unigen.evaluate.arviz_draws import draws_to_arviz
from unigen.evaluate.arviz_groups import Arrays, Variable, build
from unigen.inference.draws import Draws
from unigen.logprob import Kind
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.traces import Node, draw, kind_of, site_log_prob

Rows = list[dict[str, Tensor]]


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()


def _stack(draws: Rows) -> Arrays:
    """Stack S draws of each variable into (chain=1, draw=S, ...)."""
    return {name: _array(torch.stack([d[name] for d in draws]))[None] for name in draws[0]}


def _joint(nodes: Mapping[str, Node]) -> Tensor:
    """Return log density of all sites together, shape ()."""
    return torch.stack([site_log_prob(node).sum() for node in nodes.values()]).sum()


def _posterior(
    program: Program, x: Tensor, c: Tensor | None, samples: int
) -> tuple[dict[str, Rows], dict[str, Kind]]:
    """Draw latents from the guide S times, and what follows; and the kinds of ``lp`` and log p(x | θ)."""
    names = [site.name for site in program.structure.latents] if program.has_posterior else []
    shared_only = bool(names) and not any(site.local for site in program.structure.latents)
    groups: dict[str, Rows] = {}
    kinds: dict[str, Kind] = {}
    n, site = x.shape[0], program.observed
    for _ in range(samples):
        q = draw(functools.partial(program.guide, x, c, n)) if names else {}
        values = {name: q[name]["value"] for name in names if name in q}
        fresh = draw(functools.partial(program.model, None, c, n), values)
        groups.setdefault("posterior_predictive", []).append({site: fresh[site]["value"]})
        if not values:
            continue
        groups.setdefault("posterior", []).append(values)
        nodes = draw(functools.partial(program.model, x, c, n), values)
        try:
            lp, log_q = _joint(nodes), _joint({name: q[name] for name in values})
        except NoDensityError:
            continue
        groups.setdefault("sample_stats", []).append({"lp": lp, "log_q": log_q})
        kinds["lp"] = functools.reduce(Kind.__add__, (kind_of(node["fn"]) for node in nodes.values()))
        kinds[site] = kind_of(nodes[site]["fn"])
        if shared_only and kinds[site].normalised:
            each = site_log_prob(nodes[site]).reshape(-1, n).sum(0)
            groups.setdefault("log_likelihood", []).append({site: each})
    return groups, kinds


def _likelihood(program: Program, x: Tensor, c: Tensor | None, samples: int) -> tuple[Arrays, Kind | None]:
    """Return the marginal log p(x_i) for a point θ, repeated for each draw; empty without a normalised density."""
    if program.structure.shared:
        return {}, None
    try:
        scored = program.log_prob(x, c)
    except NoDensityError:
        return {}, None
    if not scored.kind.normalised:
        return {}, None
    value = np.broadcast_to(_array(scored.value), (1, samples, x.shape[0])).copy()
    return {program.observed: value}, scored.kind


def _prior(program: Program, c: Tensor | None, samples: int) -> Arrays:
    """Draw all latents and x from the model S times, under the first context if there is one."""
    names = [site.name for site in program.structure.latents] + [program.observed]
    if not program.structure.shared and program.structure.nesting == 1:
        rows = None if c is None else c[:1].expand(samples, c.shape[1])
        nodes = draw(functools.partial(program.model, None, rows, samples))
        return {name: _array(nodes[name]["value"])[None] for name in names}
    sites = [*program.structure.latents, program.structure.observed]
    draws: Rows = []
    for _ in range(samples):  # a shared latent is drawn anew for every draw of the data
        nodes = draw(functools.partial(program.model, None, None if c is None else c[:1], 1))
        draws.append(
            {s.name: nodes[s.name]["value"].squeeze(-1 - len(s.event_shape)) if s.local else nodes[s.name]["value"]
             for s in sites}
        )  # fmt: skip
    return _stack(draws)


def to_arviz(
    program: Program | Draws,
    x: object = None,
    context: object = None,
    *,
    samples: int = 100,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    seed: int | None = None,
) -> Any:
    """Return what a program says about data as ArviZ groups, on which any ArviZ function works.

    Args:
        program: A fitted program; or what ``ug.infer`` returned, with all its chains and the data it was given.
        x: Data, shape (N, *event_shape); none beside draws.
        context: Shape (N, C) for a conditional program.
        samples: Draws S from the guide, the prior and the predictive.
        coords: Coordinate values by dimension name, e.g. ``{"pixel": range(64)}``.
        dims: Names of the event dimensions by variable, e.g. ``{"x": ["pixel"]}``.
        seed: Reproduces the draws.

    Returns:
        ``arviz.InferenceData`` (0.x) or ``xarray.DataTree`` (1.x); arrays are (chain=1, draw=S, example=N, ...), and
        (chain, draw, ...) with the statistics of the sampler for the draws of ``ug.infer``.

    Raises:
        ArgumentError: ``samples`` < 1, or data beside draws.
        UnigenError: The data do not fit the program.

    Example:
        >>> import unigen as ug
        >>> ppca = ug.PPCA(features=3, latents=1)
        >>> idata = to_arviz(ppca, torch.randn(5, 3), samples=4, seed=0)
        >>> dict(idata["posterior"]["z"].sizes)
        {'chain': 1, 'draw': 4, 'example': 5, 'z_dim_0': 1}
    """
    if isinstance(program, Draws):
        if x is not None or context is not None:
            raise ArgumentError(
                program="to_arviz", site="x", got="data", expected="none: draws carry their own"
            )
        return draws_to_arviz(program, samples=samples, coords=coords, dims=dims, seed=seed)
    if samples < 1:
        raise ArgumentError(program=program.name, site="samples", got=samples, expected="≥ 1")
    rows, c = program.check_batch(x, context)
    site = program.observed
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        found, kinds = _posterior(program, rows, c, samples)
        groups = {name: _stack(draws) for name, draws in found.items()}
        if "log_likelihood" not in groups:
            marginal, kind = _likelihood(program, rows, c, samples)
            if kind is not None:
                groups["log_likelihood"], kinds[site] = marginal, kind
        prior = _prior(program, c, samples)
    groups["prior_predictive"] = {site: prior.pop(site)}
    if prior:
        groups["prior"] = prior
    groups["observed_data"] = {site: _array(rows)}
    sites = [*program.structure.latents, program.structure.observed]
    result = build(groups, {s.name: Variable(s.local, len(s.event_shape)) for s in sites}, coords, dims)
    if "log_likelihood" in groups:
        result["log_likelihood"][site].attrs["kind"] = str(kinds[site])
    if "sample_stats" in groups:
        result["sample_stats"]["lp"].attrs["kind"] = str(kinds["lp"])
    return result
