"""Draws of ``ug.infer`` as ArviZ groups: every chain, its statistics, replicates of the data, log p(x_i | θ_s)."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.evaluate.arviz_groups import Arrays, Variable, build
from unigen.inference.draws import Draws
from unigen.inference.predictive import pointwise, replicate
from unigen.logprob import Kind
from unigen.queries import evaluating, seeded
from unigen.traces import draw, kind_of

COUNTS = ("n_steps", "tree_depth")


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()


def _statistics(draws: Draws) -> Arrays:
    """Return sample_stats in ArviZ's names, (chains, draws) each; step sizes repeated for every draw."""
    found = {k: _array(v.long() if k in COUNTS else v) for k, v in draws.statistics.items()}
    if "tree_depth" in found and not found["tree_depth"].any():
        del found["tree_depth"]  # trajectories of a fixed length have none
    if draws.step_size is not None:
        found["step_size"] = np.broadcast_to(_array(draws.step_size)[:, None], found["lp"].shape).copy()
    return found


def _prior(draws: Draws, samples: int) -> tuple[Arrays, Arrays]:
    """Draw the latents outside the plate and data sets like the observed one from the model, (1, samples, ...) each."""
    program, n = draws.program, 1 if draws.data is None else draws.data.shape[0]
    names = [site.name for site in program.structure.shared]
    nodes = [draw(functools.partial(program.model, None, draws.context, n)) for _ in range(samples)]
    prior = {k: _array(torch.stack([node[k]["value"] for node in nodes]))[None] for k in names}
    x = program.observed
    return prior, {x: _array(torch.stack([node[x]["value"] for node in nodes]))[None]}


def _likelihood(draws: Draws, values: Mapping[str, Tensor], x: Tensor) -> Tensor | None:
    """Return log p(x_i | θ_s), (S, N), where it is exact and examples have no latents of their own."""
    program = draws.program
    one = {name: value[0] for name, value in values.items()}
    node = draw(functools.partial(program.model, x, draws.context, x.shape[0]), one)[program.observed]
    if kind_of(node["fn"]) is not Kind.EXACT:
        return None
    try:
        return pointwise(program, values, x, draws.context)
    except UnsupportedQueryError:
        return None


def _of_x(
    draws: Draws, coords: Mapping[str, Sequence[Any]] | None, dims: Mapping[str, Sequence[str]] | None
) -> Any:
    """Return the draws of ``ug.mcmc``, which are of x itself: posterior and sample_stats."""
    site = draws.program.observed
    groups: dict[str, Arrays] = {
        "posterior": {name: _array(value) for name, value in draws.values.items()},
        "sample_stats": _statistics(draws),
    }
    return build(groups, {site: Variable(False, len(draws.program.event_shape))}, coords, dims)


def draws_to_arviz(
    draws: Draws,
    *,
    samples: int = 100,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    seed: int | None = None,
) -> Any:
    """Return what ``ug.infer`` found as ArviZ groups; ``ug.to_arviz(draws)`` calls this.

    Args:
        draws: What ``ug.infer`` returned; or ``ug.mcmc``, whose draws of x are the group posterior, with sample_stats.
        samples: Draws from the prior and its predictive; 0 for neither.
        coords: Coordinate values by dimension name.
        dims: Names of the dimensions by variable, without those of chain, draw and example.
        seed: Reproduces the replicates of the data.

    Returns:
        ``arviz.InferenceData`` (0.x) or ``xarray.DataTree`` (1.x): posterior, sample_stats, posterior_predictive (the
        data replicated under every draw), log_likelihood where p(x_i | θ) is exact, observed_data, prior,
        prior_predictive.

    Raises:
        ArgumentError: The draws carry no data, as those of ``infer_each``; or samples < 0.
    """
    program, x = draws.program, draws.data
    if x is None and set(draws.values) == {program.observed}:
        return _of_x(draws, coords, dims)
    if x is None:
        raise ArgumentError(
            "the draws belong to many data sets, or to none", program=program.name, site="draws",
            got="no data", expected="what ug.infer returned",
        )  # fmt: skip
    if samples < 0:
        raise ArgumentError(program=program.name, site="samples", got=samples, expected="≥ 0")
    site, lead = program.observed, tuple(draws.statistics["lp"].shape)
    values = {name: value.flatten(0, 1) for name, value in draws.values.items()}
    groups: dict[str, Arrays] = {
        "posterior": {name: _array(value) for name, value in draws.values.items()},
        "sample_stats": _statistics(draws),
    }
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        again = replicate(program, values, x.shape[0], draws.context)
        groups["posterior_predictive"] = {site: _array(again.unflatten(0, lead))}
        likelihood = _likelihood(draws, values, x)
        if likelihood is not None:
            one = x[0].numel() == 1  # then it has the data's axes, as LOO-PIT wants
            shape = x.shape if one else x.shape[:1]
            groups["log_likelihood"] = {site: _array(likelihood.reshape(*lead, *shape))}
        if samples:
            prior, predictive = _prior(draws, samples)
            groups |= {"prior": prior} if prior else {}
            groups["prior_predictive"] = predictive
    groups["observed_data"] = {site: _array(x)}
    sites = [*program.structure.latents, program.structure.observed]
    variables = {s.name: Variable(s.local, len(s.event_shape)) for s in sites}
    result = build(groups, variables, coords, dims, without_examples=())
    if likelihood is not None:
        result["log_likelihood"][site].attrs["kind"] = str(Kind.EXACT)
    return result
