"""Discrete latents summed out: every joint value of the guide's discrete sites, weighted by its probability.

    ELBO(x) = Σ_z q(z | x) E_q(y | x, z)[ log p(x, y, z) − log q(y, z | x) ],    z discrete, y continuous:

exact in z, so that its gradient needs no score function. The values of z take the place of Monte Carlo particles.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from unigen.errors import SiteError
from unigen.program import Program
from unigen.queries import placeholder
from unigen.traces import DATA, Cheap, LogWeights, base_of, isolated, log_weights, record, sample_nodes

LARGEST = 4096  # joint values of the discrete latents


def values_of(fn: Any) -> Tensor:
    """Return every value of one draw, shape (values, *event_shape).

    Raises:
        NotImplementedError: There are infinitely many, or more than ``LARGEST``.
    """
    base, event = base_of(fn), fn.event_shape
    values = base.enumerate_support(expand=False)
    values = values.reshape(values.shape[0], *base.event_shape)
    free = math.prod(event[: len(event) - len(base.event_shape)])
    if values.shape[0] ** free > LARGEST:
        raise NotImplementedError
    index = torch.arange(values.shape[0], device=values.device)
    table = torch.cartesian_prod(*[index] * free).reshape(-1, free)
    return values[table].reshape(-1, *event)


def discrete_sites(program: Program) -> dict[str, int]:
    """Return the guide's discrete sites, which have no gradient by reparametrisation, and how many values each has.

    Raises:
        SiteError: One has no finite number of values, stands outside the plate or in a plate within it, or there are
            more joint values than ``LARGEST``.
    """
    guide = functools.partial(program.guide, placeholder(program, 2), program._dummy_context(2), 2)
    with isolated(), torch.no_grad(), torch.random.fork_rng(devices=[]), Cheap():
        nodes = sample_nodes(record(guide))
    sizes: dict[str, int] = {}
    for name, node in nodes.items():
        fn, plates = node["fn"], [frame.name for frame in node["cond_indep_stack"]]
        if node["is_observed"] or fn.has_rsample:
            continue
        try:
            sizes[name] = values_of(fn).shape[0] if plates == [DATA] else 0
        except NotImplementedError:
            sizes[name] = 0
        if not sizes[name]:
            raise SiteError(
                "the site cannot be enumerated",
                program=program.name,
                site=name,
                got=f"{type(base_of(fn)).__name__}, event shape {tuple(fn.event_shape)}, plates {plates}",
                expected=f"at most {LARGEST} values, in the plate '{DATA}' alone",
                hint="ELBO(enumerate=False), which samples it",
            )
    if math.prod(sizes.values()) > LARGEST:
        raise SiteError(
            "the discrete latents have too many joint values",
            program=program.name,
            got=math.prod(sizes.values()),
            expected=f"at most {LARGEST}",
            hint="ELBO(enumerate=False), which samples them",
        )
    return sizes


class _Enumerate(Messenger):
    """Gives discrete sites all their joint values, one a particle, and sums their log q."""

    def __init__(self, sizes: dict[str, int], samples: int, nesting: int) -> None:
        super().__init__()
        self.sizes, self.samples, self.nesting = sizes, samples, nesting
        self.log_q: list[Tensor] = []

    def _pyro_sample(self, msg: Any) -> None:
        name, fn = msg["name"], msg["fn"]
        if name not in self.sizes or msg["is_observed"]:
            return
        names = list(self.sizes)
        inner = math.prod(self.sizes[later] for later in names[names.index(name) + 1 :]) * self.samples
        total = math.prod(self.sizes.values()) * self.samples
        values = values_of(fn)
        index = torch.arange(total, device=values.device) // inner % self.sizes[name]
        n, event = fn.batch_shape[-1], fn.event_shape
        leading = (total, *[1] * (self.nesting - 1)) if total > 1 else ()
        value = values[index][:, None].expand(total, n, *event).reshape(*leading, n, *event)
        self.log_q.append(fn.log_prob(value).reshape(total, n))
        msg["value"], msg["done"] = value, True


@dataclass(frozen=True)
class Enumerated:
    """Log weights of every joint value of the discrete latents.

    Args:
        weights: log w of S = values · samples particles, see ``LogWeights``.
        log_q: log q of the particles' discrete values less log samples, shape (S, N): Σ_s q_s = 1.
    """

    weights: LogWeights
    log_q: Tensor

    def mean(self, each: Tensor) -> Tensor:
        """Return Σ_s q_s f_s, shape (…, N), of f of shape (…, S, N); values of probability 0 count nothing."""
        q = self.log_q.exp()
        return torch.where(q > 0, q * each, 0.0).sum(-2)


def enumerated_weights(
    program: Program,
    x: Tensor,
    context: Tensor | None,
    sizes: dict[str, int],
    *,
    samples: int = 1,
    analytic: bool = False,
    surrogate: bool = False,
    entrywise: bool = False,
) -> Enumerated:
    """Return the log weights of every joint value of the discrete latents.

    Args:
        program: Whose model and guide are run, once each.
        x: Shape (N, *event_shape).
        context: Shape (N, C), or None.
        sizes: The sites and how many values each has; see ``discrete_sites``.
        samples: Draws of the continuous latents for each joint value.
        analytic: Use closed-form KL where known.
        surrogate: For training; see ``log_weights``.
        entrywise: Return the terms of single entries; see ``log_weights``.
    """
    n, total = x.shape[0], math.prod(sizes.values()) * samples
    nesting = program.structure.nesting
    handler = _Enumerate(sizes, samples, nesting)

    def guide() -> None:
        with handler:
            program.guide(x, context, n)

    weights = log_weights(
        functools.partial(program.model, x, context, n),
        guide if program.structure.latents else None,
        samples=total,
        nesting=nesting,
        analytic=analytic,
        surrogate=surrogate,
        entrywise=entrywise,
    )
    log_q: Tensor | float = sum(handler.log_q, torch.zeros(total, n, dtype=x.dtype, device=x.device))
    return Enumerated(weights, log_q - math.log(samples))
