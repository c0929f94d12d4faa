"""Ranks of simulated latents among the draws of an engine of ``ug.infer``, all simulations side by side."""

from __future__ import annotations

import functools
from dataclasses import is_dataclass, replace
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.func import vmap

from unigen.errors import UnsupportedQueryError
from unigen.evaluate.ranks import JOINT, rank
from unigen.inference.engine import Engine
from unigen.inference.infer import infer_each
from unigen.program import Program
from unigen.traces import draw, log_joint

CHUNK = 16  # draws of all simulations scored at once


def _simulate(
    program: Program, simulations: int, size: int, context: Tensor | None
) -> tuple[dict[str, Tensor], Tensor]:
    """Draw θ and a data set from the model, so many times; (simulations, ...) each."""
    names = [site.name for site in program.structure.latents]
    with torch.no_grad():
        nodes = [draw(functools.partial(program.model, None, context, size)) for _ in range(simulations)]
    truth = {name: torch.stack([node[name]["value"] for node in nodes]) for name in names}
    return truth, torch.stack([node[program.observed]["value"] for node in nodes])


def _joint(program: Program, x: Tensor, context: Tensor | None, values: dict[str, Tensor]) -> Tensor:
    """Return log p(x, θ) of S draws for each of M data sets, (M, S)."""
    size = x.shape[1]

    def one(theta: dict[str, Tensor], data: Tensor) -> Tensor:
        return log_joint(functools.partial(program.model, data, context, size), theta)

    count, parts = next(iter(values.values())).shape[1], []
    with pyro.validation_enabled(False), torch.no_grad():
        for i in range(0, count, CHUNK):
            some = {name: value[:, i : i + CHUNK] for name, value in values.items()}
            parts.append(vmap(vmap(one, (0, None)))(some, x))
    return torch.cat(parts, 1)


def rank_together(
    program: Program,
    engine: Engine,
    simulations: int,
    size: int,
    draws: int,
    thin: int,
    context: Tensor | None,
) -> dict[str, Tensor]:
    """Rank all latents of simulated data sets, one chain or fit for each; (simulations,) by quantity.

    Args:
        program: Whose latents stand outside the plate.
        engine: How draws are made; it makes thin · draws of them for each data set.
        simulations: Number of truths.
        size: Examples in a data set.
        draws: S.
        thin: Keep every so-manieth draw.
        context: Shape (size, C) or None.

    Raises:
        UnsupportedQueryError: Examples have latents of their own.
    """
    if any(site.local for site in program.structure.latents):
        raise UnsupportedQueryError(
            "an engine is calibrated on what all examples share", program=program.name,
            hint="a function of x, or the guide, where examples have latents of their own",
        )  # fmt: skip
    truth, x = _simulate(program, simulations, size, context)
    exact: Any = engine
    if is_dataclass(engine) and hasattr(engine, "draws"):
        exact = replace(exact, draws=draws * thin)
    seed = int(torch.randint(2**31 - 1, ()))
    found = infer_each(program, x, context, engine=exact, seed=seed)
    values = {name: value[:, thin - 1 :: thin][:, :draws] for name, value in found.values.items()}
    ranks = {}
    for name, value in values.items():
        true, many = truth[name].reshape(simulations, -1), value.reshape(simulations, draws, -1)
        scalar = truth[name].dim() == 1
        for j in range(true.shape[1]):
            ranks[name if scalar else f"{name}[{j}]"] = rank(true[:, j], many[..., j].T)
    at_truth = _joint(program, x, context, {name: value[:, None] for name, value in truth.items()})
    ranks[JOINT] = rank(at_truth[:, 0], _joint(program, x, context, values).T)
    return ranks
