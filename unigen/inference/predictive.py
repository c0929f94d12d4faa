"""The posterior predictive: new data under draws of what all examples share.

    p(x* | x) = ∫ p(x* | θ) p(θ | x) dθ ≈ 1/S Σ_s p(x* | θ_s),      θ_s draws given x

Notation: S draws of all chains one after the other; θ the latents outside the plate.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import pyro
import torch
from torch import Tensor
from torch.func import vmap

from unigen.densities.density import Density
from unigen.errors import UnsupportedQueryError
from unigen.logprob import Kind, LogProb
from unigen.program import Program
from unigen.samplers.sampler import Sampler
from unigen.traces import draw, site_log_prob

Values = Mapping[str, Tensor]
Result = TypeVar("Result")
NUMBERS = 2**20  # examples times draws held at once
BATCHES = 20  # a chain is cut into, for the standard error


def _over(function: Callable[..., Tensor], *rows: object, size: int) -> Tensor:
    """Map over the leading dimension of (dictionaries of) tensors, vectorised where torch can, some rows at a time."""
    count = next(t.shape[0] for t in _leaves(rows))
    parts = []
    for i in range(0, count, max(1, size)):
        some = tuple(_cut(r, slice(i, i + max(1, size))) for r in rows)
        try:
            parts.append(
                vmap(function, tuple(None if r is None else 0 for r in some), randomness="different")(*some)
            )
        except RuntimeError:  # a draw without a batching rule, or a branch on values
            n = min(i + max(1, size), count) - i
            parts.append(torch.stack([function(*(_cut(r, j) for r in some)) for j in range(n)]))
    return torch.cat(parts)


def _leaves(rows: tuple[object, ...]) -> Iterator[Tensor]:
    for row in rows:
        if isinstance(row, Tensor):
            yield row
        elif isinstance(row, Mapping):
            yield from row.values()


def _cut(row: object, which: slice | int) -> object:
    if isinstance(row, Tensor):
        return row[which]
    return {k: v[which] for k, v in row.items()} if isinstance(row, Mapping) else row


def replicate(
    program: Program, values: Values, n: int, context: Tensor | None, *, each: bool = False
) -> Tensor:
    """Draw n examples under each of S draws of θ, fresh latents of their own included.

    Args:
        program: Whose θ they are.
        values: θ_s by site, each (S, *shape).
        n: Examples under each draw.
        context: Shape (n, C), or None; with ``each`` (S, n, C).
        each: Whether every draw has a context of its own.

    Returns:
        Shape (S, n, *event_shape).
    """

    def one(theta: Values, c: Tensor | None) -> Tensor:
        given = c if each else context
        nodes = draw(functools.partial(program.model, None, given, n), theta)
        return nodes[program.observed]["value"].expand(n, *program.event_shape)

    with pyro.validation_enabled(False), torch.no_grad():
        return _over(one, dict(values), context if each else None, size=NUMBERS // n)


def pointwise(program: Program, values: Values, x: Tensor, context: Tensor | None) -> Tensor:
    """Return log p(x_i | θ_s) for S draws of θ, shape (S, N), in nats.

    Args:
        program: Its latents all stand outside the plate.
        values: θ_s by site, each (S, *shape).
        x: Checked data, shape (N, *event_shape).
        context: Shape (N, C) or None.

    Raises:
        UnsupportedQueryError: Examples have latents of their own, which would have to be summed out.
    """
    if any(site.local for site in program.structure.latents):
        raise UnsupportedQueryError(
            "each example has latents of its own, so p(x_i | θ) is not known",
            program=program.name,
            hint="sum them out: write the program with marginal(), or declare p(x | θ) without them",
        )
    n = x.shape[0]

    def one(theta: Values) -> Tensor:
        nodes = draw(functools.partial(program.model, x, context, n), theta)
        return site_log_prob(nodes[program.observed]).expand(n)

    with pyro.validation_enabled(False):
        return _over(one, dict(values), size=NUMBERS // n)


class PosteriorPredictive(Sampler, Density):
    """p(x* | x) by draws of θ: pass it as ``sampler=`` or ``density=`` to the queries of the program.

    Args:
        values: Draws by site, each (S, *shape), chain after chain.
        chains: Number of chains among them.

    Raises:
        UnsupportedQueryError: There is no latent outside the plate.

    Example:
        >>> import pyro.distributions as dist, unigen as ug
        >>> model = ug.bayesian(ug.PPCA(features=2, latents=1), {"mean": dist.Normal(0.0, 1.0)})
        >>> draws = ug.infer(model, torch.randn(20, 2), engine=ug.NUTS(chains=2, draws=5, warmup=5), seed=0)
        >>> model.sample(3, sampler=draws.predictive, seed=0).shape
        torch.Size([3, 2])
    """

    kind = Kind.ESTIMATE

    def __init__(self, values: Values, chains: int = 1) -> None:
        if not values:
            raise UnsupportedQueryError(
                "no latent stands outside the plate, so the data say nothing about new data",
                hint="program.sample and program.log_prob",
            )
        self.chains = chains
        self._values = dict(values)
        self.draws = next(iter(self._values.values())).shape[0]

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws of x*, each under a θ of its own, without repetition while n ≤ S."""
        rounds = math.ceil(n / self.draws)
        which = torch.cat([torch.randperm(self.draws) for _ in range(rounds)])[:n].to(program.device)
        values = {name: value[which] for name, value in self._values.items()}
        rows = None if context is None else context[:, None]
        return replicate(program, values, 1, rows, each=rows is not None)[:, 0]

    def log_prob(self, program: Program, x: Tensor, context: Tensor | None = None) -> LogProb:
        """Return log 1/S Σ_s p(x*_i | θ_s), with a standard error by batch means, in nats, shape (N,)."""
        each = pointwise(program, self._values, x, context)
        value = torch.logsumexp(each, 0) - math.log(self.draws)
        ratio = (each.detach() - value.detach()).exp().reshape(self.chains, -1, x.shape[0])
        length = max(1, ratio.shape[1] // BATCHES)
        means = ratio[:, : ratio.shape[1] // length * length].unflatten(1, (-1, length)).mean(2).flatten(0, 1)
        count = means.shape[0]
        stderr = means.std(0) / math.sqrt(count) if count > 1 else None
        return LogProb(value, Kind.ESTIMATE, stderr, max(1, program.event_shape.numel()))
