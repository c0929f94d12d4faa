r"""ELBO, importance-weighted bound, evidence: a ladder, and how fast it is climbed.

Notation: w = p(x, z)/q(z | x) with z ~ q, L_k = E log 1/k Σ_i w_i. Since log s = ∫_0^∞ (e^{−t} − e^{−ts}) dt/t,

    L_k = ∫_0^∞ (e^{−t} − φ(t)^k) dt/t − log k,      φ(t) = E e^{−tw},

two one-dimensional quadratures that share nothing with the estimator.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor

from unigen.logprob import Kind
from unigen.objectives.elbo import ELBO
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation
from unigen.traces import log_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUADRATURE = 1e-8  # error of the trapezoid sums, seen by halving the step
LADDER = (1, 5, 50)
ROWS = 256  # examples of the data that are used on a program


class Toy(Program):
    """z ~ N(0, 1), x | z ~ N(z, 1), with the prior as the proposal."""

    def __init__(self) -> None:
        super().__init__((1,), objective=ELBO())
        self.register_buffer("zero", torch.zeros(1, dtype=torch.float64))

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z)."""
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare the prior."""
        with self.plate(x):
            return pyro.sample("z", dist.Normal(self.zero, 1.0).to_event(1))


def bound_by_quadrature(x: float, k: int, points: int = 4001) -> float:
    """Return L_k of the toy with the prior as proposal, exactly up to quadrature, in nats."""
    z = torch.linspace(-12, 12, points, dtype=torch.float64)
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    w = torch.exp(-0.5 * (x - z).square()) / math.sqrt(2 * math.pi)
    u = torch.linspace(-40, 60, points, dtype=torch.float64)
    t = u.exp()
    phi = torch.exp(-t[:, None] * w) @ density
    return ((torch.exp(-t) - phi**k).sum() * (u[1] - u[0])).item() - math.log(k)


class ELBOtoIWAE(Relation):
    """The importance-weighted bounds rise from the ELBO to the evidence."""

    id = 6
    name = "ELBO – IWAE – evidence"
    families = ("Program",)
    statement = (
        "L_k rises with k from the ELBO to log p(x), and k times the gap tends to half the variance of w/p(x)"
    )
    latex = r"L_1 \le L_k \le \log p(x), \quad k(\log p(x) - L_k) \to \tfrac12 \mathrm{Var}(w / p(x))"
    source = "Burda et al. 2016; Domke & Sheldon 2018"
    assumptions = (
        "a latent variable for each example, with a guide",
        "for the rate: w has a finite variance",
    )

    def check(
        self, *, x: float = 1.0, samples: tuple[int, ...] = LADDER, draws: int = 20_000, seed: int = 0
    ) -> Evidence:
        """Compare the estimator on the toy with L_k by quadrature, and the ladder with the evidence.

        Args:
            x: The observation.
            samples: The values of k, rising.
            draws: Independent estimates of each L_k.
            seed: Of these draws.
        """
        evidence = -0.25 * x * x - 0.5 * math.log(4 * math.pi)
        second = math.exp(-x * x / 3) / math.sqrt(3 * math.pi) / (2 * math.sqrt(math.pi))  # E w²
        limit = 0.5 * (second / math.exp(2 * evidence) - 1)
        bounds = [bound_by_quadrature(x, k) for k in samples]
        claims = [
            Claim(f"L_{k} ≤ L_{l}", a, b, QUADRATURE, sense="≤")
            for k, l, a, b in zip(samples, samples[1:], bounds, bounds[1:], strict=False)
        ]
        claims.append(Claim(f"L_{samples[-1]} ≤ log p(x)", bounds[-1], evidence, QUADRATURE, sense="≤"))
        with seeded(seed, torch.device("cpu")):
            for k, bound in zip(samples, bounds, strict=True):
                value = self.estimate(Toy(), torch.full((draws, 1), x, dtype=torch.float64), k)
                stderr = (value.std() / math.sqrt(draws)).item()
                claims.append(
                    statistical(f"estimate of L_{k} = its integral", value.mean().item(), bound, stderr)
                )
        slow, fast = (k * (evidence - bound_by_quadrature(x, k)) for k in (500, 1000))
        rate = 2 * fast - slow  # Richardson: the error falls from O(1/k) to O(1/k²)
        claims.append(Claim("k (log p − L_k) → Var(w/p)/2", rate, limit, 1e-4))
        table = {f"L_{k}": round(bound, 6) for k, bound in zip(samples, bounds, strict=True)}
        return self.evidence(*claims, evidence=round(evidence, 6), limit=round(limit, 6), **table)

    def figure(self, *, x: float = 1.0, largest: int = 200) -> Figure:
        """Draw the ladder of bounds against k, and k times the gap with its limit."""
        evidence = -0.25 * x * x - 0.5 * math.log(4 * math.pi)
        second = math.exp(-x * x / 3) / math.sqrt(3 * math.pi) / (2 * math.sqrt(math.pi))
        limit = 0.5 * (second / math.exp(2 * evidence) - 1)
        steps = sorted({round(largest ** (i / 14)) for i in range(15)})
        bounds = [bound_by_quadrature(x, k, points=1501) for k in steps]
        with style():
            fig = figure(7.4, 3.0)
            left, right = fig.subplots(1, 2, sharex=True)
            left.semilogx(steps, bounds, "o-", color=COLOURS[0], markersize=3, label="L_k")
            left.axhline(
                evidence, color=GREY, linestyle=":", linewidth=0.9, label=f"log p(x) = {evidence:.4f}"
            )
            left.set(xlabel="k", ylabel="nats", title="from the ELBO to the evidence")
            gaps = [k * (evidence - bound) for k, bound in zip(steps, bounds, strict=True)]
            right.semilogx(steps, gaps, "o-", color=COLOURS[1], markersize=3, label="k (log p − L_k)")
            right.axhline(limit, color=GREY, linestyle=":", linewidth=0.9, label=f"Var(w/p)/2 = {limit:.4f}")
            right.set(xlabel="k", title="the rate")
            left.legend()
            right.legend()
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor, context: Tensor | None = None) -> Evidence:
        """Climb the ladder on a program's own model and guide, up to the exact evidence where it is known.

        Raises:
            UnsupportedQueryError: The program has no local latent, or its weights are not exact numbers.
            NoDensityError: It has no density.
        """
        if not any(site.local for site in a.structure.latents) or a.structure.shared:
            raise self.refuse(self.assumptions[0], a)
        x, c = a.check_batch(data[:ROWS], context)
        a.log_prob(x[:1], None if c is None else c[:1])  # raises where there is no density to bound
        ladder = [self.estimate(a, x, k, c) for k in LADDER]
        if not all(bool(value.isfinite().all()) for value in ladder):
            raise self.refuse("log-weights that are finite", a)
        names = [f"L_{k}" for k in LADDER]
        if a.has_marginal:
            ladder, names = [*ladder, a.log_prob(x, c).value], [*names, "log p"]
        claims = []
        for one, two, low, high in zip(names, names[1:], ladder, ladder[1:], strict=False):
            difference = (low - high).double()
            stderr = (difference.std() / math.sqrt(x.shape[0])).item() if x.shape[0] > 1 else 0.0
            left, right = low.mean().item(), high.mean().item()
            bias = 1e-5 * max(1.0, abs(right))  # rounding of float32
            claims.append(statistical(f"{one} ≤ {two}", left, right, stderr, bias=bias, sense="≤"))
        return self.evidence(*claims, examples=x.shape[0])

    def estimate(self, program: Program, x: Tensor, k: int, context: Tensor | None = None) -> Tensor:
        """Return one estimate of L_k for each row of x, shape (N,), in nats."""
        with torch.no_grad():
            weights = log_weights(
                functools.partial(program.model, x, context, x.shape[0]),
                functools.partial(program.guide, x, context, x.shape[0]),
                samples=k,
                nesting=program.structure.nesting,
            )
        if weights.kind is not Kind.EXACT:
            raise self.refuse(f"exact densities at all sites (here {weights.kind})", program)
        return torch.logsumexp(weights.local, 0) - math.log(k)
