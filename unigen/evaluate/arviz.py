"""Results as ArviZ groups, under ArviZ 0.23 (``InferenceData``) and 1.x (``DataTree``).

Groups: posterior (draws of z from the guide), sample_stats (``lp`` = log p(x, z), ``log_q`` = log q(z | x)), prior and
prior_predictive, posterior_predictive, log_likelihood, observed_data. Variational draws are stored as chain = 1,
draw = S.

``log_likelihood`` is the marginal log p(x_i | θ_s), never the conditional log p(x_i | z_i), which would make
leave-one-out predictions of a latent that has seen x_i. Where θ is a point it is the same for every draw. Its
``kind`` attribute says what the number is; programs without a normalised density have no such group.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unigen.errors import ArgumentError, NoDensityError
from unigen.logprob import Kind
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.traces import draw, site_log_prob

Arrays = dict[str, np.ndarray]


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()


def _stack(draws: list[dict[str, Tensor]]) -> Arrays:
    """Stack S draws of each variable into (chain=1, draw=S, ...)."""
    return {name: _array(torch.stack([d[name] for d in draws]))[None] for name in (draws[0] if draws else {})}


def _posterior(
    program: Program, x: Tensor, c: Tensor | None, samples: int
) -> dict[str, list[dict[str, Tensor]]]:
    """Draw latents from the guide S times, and what follows from each draw."""
    names = [site.name for site in program.structure.latents]
    groups: dict[str, list[dict[str, Tensor]]] = {
        "posterior": [],
        "sample_stats": [],
        "posterior_predictive": [],
    }
    shared_only = bool(names) and not any(site.local for site in program.structure.latents)
    n, site = x.shape[0], program.observed
    for _ in range(samples):
        q = draw(functools.partial(program.guide, x, c, n)) if names else {}
        values = {name: q[name]["value"] for name in names if name in q}
        fresh = draw(functools.partial(program.model, None, c, n), values)
        groups["posterior_predictive"].append({site: fresh[site]["value"]})
        if not values:
            continue
        groups["posterior"].append(values)
        try:
            terms = {
                k: site_log_prob(node)
                for k, node in draw(functools.partial(program.model, x, c, n), values).items()
            }
        except NoDensityError:
            continue
        log_q = torch.stack([site_log_prob(q[name]).sum() for name in values]).sum()
        groups["sample_stats"].append(
            {"lp": torch.stack([t.sum() for t in terms.values()]).sum(), "log_q": log_q}
        )
        if shared_only:
            groups.setdefault("log_likelihood", []).append({site: terms[site]})
    return groups


def _likelihood(program: Program, x: Tensor, c: Tensor | None, samples: int) -> Arrays:
    """Return the marginal log p(x_i) for a point θ, repeated for each draw; empty without a normalised density."""
    if program.structure.shared:
        return {}
    try:
        scored = program.log_prob(x, c)
    except NoDensityError:
        return {}
    if not scored.kind.normalised:
        return {}
    return {program.observed: np.broadcast_to(_array(scored.value), (1, samples, x.shape[0])).copy()}


def _names(groups: Mapping[str, Arrays], dims: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Name the dimensions of every variable: ``example`` first, then the user's names or ``<site>_dim_i``."""
    names: dict[str, list[str]] = {}
    for group in ("posterior", "posterior_predictive", "observed_data"):
        for name, array in groups.get(group, {}).items():
            rest = array.ndim - (0 if group == "observed_data" else 2) - 1
            if rest >= 0:
                names[name] = ["example", *dims.get(name, [f"{name}_dim_{i}" for i in range(rest)])]
    return names


def to_arviz(
    program: Program,
    x: object,
    context: object = None,
    *,
    samples: int = 100,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    seed: int | None = None,
) -> Any:
    """Return what a program says about data as ArviZ groups, on which any ArviZ function works.

    Args:
        program: A fitted program.
        x: Data, shape (N, *event_shape).
        context: Shape (N, C) for a conditional program.
        samples: Draws S from the guide, the prior and the predictive.
        coords: Coordinate values by dimension name, e.g. ``{"pixel": range(64)}``.
        dims: Names of the event dimensions by variable, e.g. ``{"x": ["pixel"]}``.
        seed: Reproduces the draws.

    Returns:
        ``arviz.InferenceData`` (0.x) or ``xarray.DataTree`` (1.x); arrays are (chain=1, draw=S, example=N, ...).

    Raises:
        ArgumentError: ``samples`` < 1.
        UnigenError: The data do not fit the program.

    Example:
        >>> import unigen as ug
        >>> ppca = ug.PPCA(features=3, latents=1)
        >>> idata = to_arviz(ppca, torch.randn(5, 3), samples=4, seed=0)
        >>> dict(idata["posterior"]["z"].sizes)
        {'chain': 1, 'draw': 4, 'example': 5, 'z_dim_0': 1}
    """
    if samples < 1:
        raise ArgumentError(program=program.name, site="samples", got=samples, expected="≥ 1")
    rows, c = program.check_batch(x, context)
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        groups: dict[str, Arrays] = {
            name: _stack(d) for name, d in _posterior(program, rows, c, samples).items() if d
        }
        if "log_likelihood" not in groups and (marginal := _likelihood(program, rows, c, samples)):
            groups["log_likelihood"] = marginal
        first = None if c is None else c[:1].expand(samples, c.shape[1])
        nodes = draw(functools.partial(program.model, None, first, samples))
    latents = {site.name for site in program.structure.latents}
    prior = {name: _array(node["value"])[None] for name, node in nodes.items() if name in latents}
    if prior:
        groups["prior"] = prior
    groups["prior_predictive"] = {program.observed: _array(nodes[program.observed]["value"])[None]}
    groups["observed_data"] = {program.observed: _array(rows)}
    has_likelihood = "log_likelihood" in groups
    result = _from_dict(groups, dict(coords or {}), dict(dims or {}))
    if has_likelihood:
        kind = Kind.EXACT if program.structure.shared else program.kind
        result["log_likelihood"][program.observed].attrs["kind"] = str(kind)
    return result


def _from_dict(groups: dict[str, Arrays], coords: dict[str, Any], dims: dict[str, Any]) -> Any:
    """Build the groups with whichever ArviZ is installed; prior draws have no example dimension."""
    import importlib

    arviz: Any = importlib.import_module("arviz")  # two versions with different signatures
    prior = {k: groups.pop(k) for k in ("prior", "prior_predictive") if k in groups}
    names = _names(groups, dims)
    plain = {name: axes[1:] for name, axes in names.items()}
    if int(arviz.__version__.split(".")[0]) < 1:
        result = arviz.from_dict(**groups, coords=coords, dims=names)
        result.extend(arviz.from_dict(**prior, coords=coords, dims=plain))
        return result
    likelihood = {k: groups.pop(k) for k in ("log_likelihood",) if k in groups}
    result = arviz.from_dict(groups, coords=coords, dims=names)
    result.update(arviz.from_dict(prior, coords=coords, dims=plain))
    short = {name: axes[:1] for name, axes in names.items()}
    result.update(arviz.from_dict(likelihood, coords=coords, dims=short))
    return result
