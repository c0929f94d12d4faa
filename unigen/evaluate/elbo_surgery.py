"""ELBO surgery: the rate split into what the code says of the index and what the prior misses."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.errors import ArgumentError, EmptyDataError, KindError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.program import Program
from unigen.queries import evaluating, first_latent, seeded
from unigen.traces import draw, kind_of, site_log_prob

CHUNK = 2**22  # log densities held at once


@dataclass(frozen=True)
class ElboSurgery:
    """E KL(q(z|x) ‖ p(z)) = I(n; z) + KL(q(z) ‖ p(z)) over N examples, in nats.

    Args:
        rate: E KL(q(z|x_n) ‖ p(z)).
        information: I(n; z), the mutual information of index and code; at most log N.
        marginal_kl: KL(q(z) ‖ p(z)), q(z) the exact mixture of the N posteriors.
        stderr: Monte Carlo standard errors of the three.
        n: Number of examples N.
    """

    rate: float
    information: float
    marginal_kl: float
    stderr: tuple[float, float, float]
    n: int

    def __str__(self) -> str:
        """Write the three terms and the ceiling of the information."""
        r, i, m = self.stderr
        return (
            f"rate {self.rate:.5g} ± {r:.1g} = information {self.information:.5g} ± {i:.1g} (at most log N = "
            f"{math.log(self.n):.4g}) + KL(q(z) ‖ p(z)) {self.marginal_kl:.5g} ± {m:.1g} nats"
        )


def _log_aggregate(q: object, z: Tensor, n: int) -> Tensor:
    """Return log 1/N Σ_m q(z | x_m) of rows z (R, *event), shape (R,), some rows at a time."""
    rows, parts = max(1, CHUNK // n), []
    for i in range(0, z.shape[0], rows):
        each = site_log_prob({"fn": q, "value": z[i : i + rows].unsqueeze(1)})  # (r, N)
        parts.append(each.double().logsumexp(1) - math.log(n))
    return torch.cat(parts)


def elbo_surgery(program: Program, x: object, *, samples: int = 8, seed: int | None = None) -> ElboSurgery:
    """Split the rate of a program on data, with the exact aggregated posterior of these data.

    I(n; z) = E_n E_q(z|x_n) [log q(z|x_n) − log q(z)],    q(z) = 1/N Σ_n q(z | x_n).

    Cost: N² · samples evaluations of q. On N examples from p(x) the information falls short of I(x; z) by O(1/N), and
    the other term exceeds KL(q(z) ‖ p(z)) of the population by as much.

    Args:
        program: Unconditional, with one continuous latent an example.
        x: Data, shape (N, *event_shape), N ≥ 2.
        samples: Draws of z an example, at least two.
        seed: Of these.

    Returns:
        ElboSurgery in nats.

    Raises:
        ArgumentError: samples < 2.
        EmptyDataError: One example.
        UnsupportedQueryError: A conditional program, or more than one latent.
        KindError: The prior's density is not exact.

    References:
        Hoffman & Johnson, ELBO surgery: yet another way to carve up the variational evidence lower bound, 2016.

    Example:
        >>> import unigen as ug
        >>> ppca = ug.PPCA(features=3, latents=1)
        >>> found = elbo_surgery(ppca, ppca.sample(200, seed=0), seed=0)
        >>> abs(found.rate - found.information - found.marginal_kl) < 1e-6
        True
    """
    if samples < 2:
        raise ArgumentError(program=program.name, site="samples", got=samples, expected="≥ 2, for an error")
    site = first_latent(program)
    if program.context_features or len(program.structure.latents) > 1 or not program.has_posterior:
        raise UnsupportedQueryError(
            "needs an unconditional program with one latent and a guide", program=program.name, site=site.name
        )
    if site.kind is not Kind.EXACT:
        raise KindError("needs a prior with an exact density", program=program.name, got=f"kind {site.kind}")
    rows, _ = program.check_batch(x)
    n = rows.shape[0]
    if n < 2:
        raise EmptyDataError(program=program.name, site="x", got="1 example", expected="at least two")
    terms = []
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        q = draw(functools.partial(program.guide, rows, None, n))[site.name]["fn"]
        if kind_of(q) is not Kind.EXACT or len(q.batch_shape) > 1:
            raise KindError("needs a guide with an exact density", program=program.name)
        for _ in range(samples):
            z = q.sample()
            p = draw(functools.partial(program.model, rows, None, n), {site.name: z})[site.name]
            log_q, log_p = site_log_prob({"fn": q, "value": z}).double(), site_log_prob(p).double()
            log_m = _log_aggregate(q, z, n)
            terms.append(torch.stack([log_q - log_p, log_q - log_m, log_m - log_p]))
    each = torch.stack(terms)  # (S, 3, N): draws of one example share its index, and the index is not sampled
    rate, information, marginal = each.mean((0, 2)).tolist()
    r, i, m = ((each.std(0).square().sum(1) / samples).sqrt() / n).tolist()
    return ElboSurgery(rate, information, marginal, (r, i, m), n)
