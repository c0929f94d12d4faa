"""Processes of programs that go from noise to data by a map or a draw, in one step or coordinate by coordinate.

Notation: x (n, *event) data, z (n, *shape) latents or noise, c (n, C) context. A function here returns None where the
program does not offer what its process is made of.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from unigen.distributions.implicit import Implicit
from unigen.distributions.sde_path import SDEPath
from unigen.distributions.wrappers import base_of
from unigen.evaluate.process_record import IMPLICIT, Asked, Process, States, Step, even_times, shown
from unigen.structure import Site
from unigen.traces import Node, draw

_WORDS = {
    # how the data x follow from the latent z, and z from x
    Step.ONE_STOCHASTIC: ("one draw from p(x | {z})", "one draw from q({z} | x)"),
    Step.ONE_DETERMINISTIC: ("one map, x({z}), without noise", "one map, {z}(x), without noise"),
    Step.SDE: ("a path {z} of an SDE is drawn, and seen as x", "one path {z} of an SDE that knows x"),
}


def bijection(asked: Asked) -> Process | None:
    """A flow: z = f(x | c) and back, for a program with ``to_noise`` and ``from_noise``."""
    program, x, c, _ = asked
    to_noise: Any = getattr(program, "to_noise", None)
    if to_noise is None or not hasattr(program, "from_noise"):
        return None
    draws = program.draw(asked.n, c)
    return Process(
        even_times(1), (to_noise(draws, c), draws), Step.ONE_DETERMINISTIC, (x, to_noise(x, c)),
        Step.ONE_DETERMINISTIC,
        "One invertible map carries every x to its noise z = f(x), and its inverse carries noise to data; nothing is "
        "drawn but the noise.",
    )  # fmt: skip


def coordinates(asked: Asked) -> Process | None:
    """An autoregression as Rosenblatt's map, z_i = Φ⁻¹(F(x_i | x_{<i}, c)), one coordinate a step.

    Of a feature with jumps, a value takes up an interval of F; the point in it is drawn. A fresh draw of x, carried to
    noise and read backwards, is the reverse process: its noise is N(0, I).
    """
    program, x, c, steps = asked
    p: Any = program.marginal(c) if program.has_marginal else None
    if not hasattr(p, "conditionals"):
        return None
    draws = program.draw(asked.n, c)
    order = list(p.net.order)
    stops = shown(len(order), steps)

    def path(x: Tensor) -> States:
        rows = x.flatten(1)
        noise = torch.special.ndtri(_rank(p.conditionals(rows), rows, p.likelihood.discrete)).to(x.dtype)
        states = []
        for k in stops:  # the last coordinates first: what a conditional is given is still there
            state = rows.clone()
            late = order[len(order) - k :]
            state[:, late] = noise[:, late]
            states.append(state.reshape(x.shape))
        return tuple(states)

    return Process(
        torch.tensor(stops, dtype=torch.float64) / len(order), path(draws)[::-1], Step.COORDINATES, path(x),
        Step.COORDINATES,
        "Noise becomes data one coordinate at a time, each given those before it; forward, coordinates become noise in "
        "the opposite order.",
    )  # fmt: skip


def _rank(each: TorchDistribution, x: Tensor, discrete: bool) -> Tensor:
    """Return F(x) in (0, 1), float64; for a discrete feature F(x − 1) + v P(x), v uniform."""
    if not discrete:
        rank = each.cdf(x).double()
    else:
        levels = torch.arange(int(x.max()) + 1, dtype=x.dtype, device=x.device)
        levels = levels.reshape(-1, *(1,) * x.dim())
        mass = each.expand(x.shape).log_prob(levels.expand(-1, *x.shape)).exp().double()
        below = (mass * (levels < x)).sum(0)
        rank = below + torch.rand_like(below) * (mass * (levels == x)).sum(0)
    tiny = torch.finfo(x.dtype).eps / 4
    return rank.clamp(tiny, 1.0 - tiny)


def latent(asked: Asked) -> Process | None:
    """One latent: z | x by the guide and x | z by the model; without a guide there is no way back."""
    local = _local(asked)
    if len(local) != 1:
        return None
    name = local[0].name
    generated = _generated(asked)
    z, x = generated[name], generated[asked.program.observed]
    reverse, back = (z["value"], x["value"]), _step(z, x)
    text = f"From noise to data: {_WORDS[back][0].format(z=name)}"
    if not asked.program.has_posterior:
        return Process(even_times(1), reverse, back, None, None, f"{text}.", IMPLICIT)
    inferred = _inferred(asked)[name]
    there = _step(inferred, inferred)
    text = f"From data to latents: {_WORDS[there][1].format(z=name)}. {text}."
    return Process(even_times(1), reverse, back, (asked.x, inferred["value"]), there, text)


def hierarchy(asked: Asked) -> Process | None:
    """Several latents: the chain z_T → … → z_1 → x of the model, and the guide's draw of it upwards."""
    names = [site.name for site in _local(asked)]
    if len(names) < 2 or not asked.program.has_posterior:
        return None
    program = asked.program
    from_unit = getattr(getattr(program, "denoiser", None), "from_unit", lambda z: z)
    stops = shown(len(names), asked.steps)

    def states(nodes: dict[str, Node], x: Tensor) -> States:
        """x, z_1, …, z_T, of which some are shown."""
        chain = [x, *(from_unit(nodes[name]["value"]) for name in reversed(names))]
        return tuple(chain[k] for k in stops)

    generated = _generated(asked)
    reverse = states(generated, generated[program.observed]["value"])[::-1]
    return Process(
        torch.tensor(stops, dtype=torch.float64) / len(names), reverse, Step.CHAIN, states(_inferred(asked), asked.x),
        Step.CHAIN,
        f"{len(names)} latents in a row, {names[-1]} next to the data: the model draws each given the one above it, "
        "the guide draws them all given x.",
    )  # fmt: skip


def _local(asked: Asked) -> list[Site]:
    return [site for site in asked.program.structure.latents if site.local]


def _generated(asked: Asked) -> dict[str, Node]:
    return draw(functools.partial(asked.program.model, None, asked.context, asked.n))


def _inferred(asked: Asked) -> dict[str, Node]:
    return draw(functools.partial(asked.program.guide, asked.x, asked.context, asked.n))


def _step(latent: Node, drawn: Node) -> Step:
    """What a draw is: of a latent that is a path, an SDE; of a point mass or a generator, no draw at all."""
    if isinstance(base_of(latent["fn"]), SDEPath):
        return Step.SDE
    fixed = isinstance(base_of(drawn["fn"]), dist.Delta | Implicit)
    return Step.ONE_DETERMINISTIC if fixed else Step.ONE_STOCHASTIC
