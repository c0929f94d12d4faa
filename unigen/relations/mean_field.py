r"""Variational inference: log Z is the bound and what it misses, for every q; mean field takes q of independent parts.

Notation: unnormalised weights exp(−E(s)) of finitely many states, Z their sum, p = exp(−E)/Z. For any q

    log Z = E_q[−E] + H(q) + KL(q ‖ p) = ELBO(q) + KL(q ‖ p),

so that the best q is p itself; among q(s_1) q(s_2) the coordinate updates q(s_1) ∝ exp E_{q(s_2)}[−E] never lower the
bound, and what is left is KL(q ‖ p), the price of independence. Two states ±β have log Z = log 2 cosh β.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.models.mixture import GaussianMixture
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.relation import Relation
from unigen.traces import draw, site_log_prob

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-12  # of float64 sums of a few terms of order one
SWEEPS = 200  # of the coordinate updates; they contract by a factor each
ROWS = 500
TEMPERATURES = (0.0, 0.5, 1.0, 2.0)  # of the posteriors tried on a program: q ∝ p(z | x)^T


class MeanFieldVI(Relation):
    """The log normaliser is the variational bound plus the divergence, whatever q is."""

    id = 4
    name = "mean-field variational inference"
    families = ("GaussianMixture",)
    statement = "log Z is the variational bound plus KL(q‖p), for every q; mean field loses the KL of the best product"
    latex = r"\log Z = \mathbb{E}_q[-E] + H(q) + \mathrm{KL}(q\,\|\,p)"
    source = "Jordan et al. 1999"
    assumptions = ("for a program: a discrete latent whose states can be listed, and an exact log p(x)",)

    def check(
        self,
        *,
        beta: float = 1.5,
        coupling: float = 0.8,
        field: float = 0.3,
        guesses: tuple[float, ...] = (0.05, 0.3, 0.5, 0.9),
    ) -> Evidence:
        """Sum up two states ±β for several q, and two coupled spins for the best product.

        Args:
            beta: β.
            coupling: J of −E(s, t) = J s t + h (s + t).
            field: h.
            guesses: The values of q(s = 1).
        """
        weights = torch.tensor([beta, -beta], dtype=torch.float64)
        log_z, claims = torch.logsumexp(weights, 0).item(), []
        claims.append(Claim("log Z = log 2 cosh β", log_z, math.log(2 * math.cosh(beta)), ROUNDING))
        exact = torch.sigmoid(torch.tensor(2 * beta, dtype=torch.float64)).item()
        for guess in (*guesses, exact):
            q = torch.tensor([guess, 1 - guess], dtype=torch.float64)
            bound, divergence = self.bound(q, weights), self.divergence(q, weights)
            claims.append(Claim(f"q = {guess:.4g}: ELBO + KL = log Z", bound + divergence, log_z, ROUNDING))
            claims.append(Claim(f"q = {guess:.4g}: ELBO ≤ log Z", bound, log_z, ROUNDING, sense="≤"))
        claims.append(Claim("KL of the best q", divergence, 0.0, ROUNDING))
        spins = torch.tensor(list(itertools.product((1.0, -1.0), repeat=2)), dtype=torch.float64)
        pair = coupling * spins.prod(1) + field * spins.sum(1)
        q, bounds = self.mean_field(coupling, field, pair)
        joint = torch.logsumexp(pair, 0).item()
        claims += [
            Claim("two spins: smallest rise of the bound in a sweep", bounds.diff().min().item(), 0.0, ROUNDING,
                  sense="≥"),
            Claim("two spins: ELBO of the mean field + KL = log Z", self.bound(q, pair) + self.divergence(q, pair),
                  joint, ROUNDING),
        ]  # fmt: skip
        return self.evidence(
            *claims, log_z=round(log_z, 6), log_z_of_the_pair=round(joint, 6),
            mean_field_of_the_pair=round(self.bound(q, pair), 6),
        )  # fmt: skip

    def bound(self, q: Tensor, log_weights: Tensor) -> float:
        """Return E_q[−E] + H(q) of probabilities and log weights over the same states, in nats."""
        return float((q * log_weights).sum()) + self.entropy(q)

    def entropy(self, q: Tensor) -> float:
        """Return H(q) in nats."""
        return -float(torch.xlogy(q, q).sum())

    def divergence(self, q: Tensor, log_weights: Tensor) -> float:
        """Return KL(q ‖ p) in nats."""
        return float((torch.xlogy(q, q) - q * torch.log_softmax(log_weights, 0)).sum())

    def mean_field(self, coupling: float, field: float, pair: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best product of two spins' probabilities over the four states, and the bound after each sweep."""
        m, bounds, q = [0.1, -0.2], [], pair
        for _ in range(SWEEPS):
            for i in (0, 1):
                m[i] = math.tanh(coupling * m[1 - i] + field)
            up = torch.tensor([[(1 + v) / 2, (1 - v) / 2] for v in m], dtype=torch.float64)
            q = (up[0][:, None] * up[1]).flatten()
            bounds.append(self.bound(q, pair))
        return q, torch.tensor(bounds, dtype=torch.float64)

    def figure(self, *, beta: float = 1.5) -> Figure:
        """Draw bound and divergence of two states against q, and what mean field loses on two spins."""
        weights = torch.tensor([beta, -beta], dtype=torch.float64)
        grid = torch.linspace(0.001, 0.999, 200).double().tolist()
        qs = [torch.tensor([v, 1 - v], dtype=torch.float64) for v in grid]
        spins = torch.tensor(list(itertools.product((1.0, -1.0), repeat=2)), dtype=torch.float64)
        couplings, loss = torch.linspace(0, 2, 21).tolist(), []
        for j in couplings:
            pair = j * spins.prod(1) + 0.3 * spins.sum(1)
            loss.append(self.divergence(self.mean_field(j, 0.3, pair)[0], pair))
        with style():
            fig = figure(7.4, 3.1)
            left, right = fig.subplots(1, 2)
            bounds = [self.bound(q, weights) for q in qs]
            total = torch.logsumexp(weights, 0).item()
            left.plot(grid, bounds, color=COLOURS[0], label="ELBO(q)")
            left.fill_between(grid, bounds, total, color=COLOURS[1], alpha=0.25, label="KL(q ‖ p)")
            left.axhline(total, color=GREY, linewidth=0.9, linestyle=":", label=f"log Z = {total:.4f}")
            left.set(xlabel="q(s = 1)", ylabel="nats", title=f"two states ±{beta:g}")
            left.legend(loc="lower center")
            right.plot(couplings, loss, color=COLOURS[1])
            right.set(xlabel="coupling of two spins", ylabel="nats", title="what the best product misses")
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Enumerate the components of a mixture: ELBO + KL = log p(x) for tempered posteriors.

        Raises:
            UnsupportedQueryError: The program is not a Gaussian mixture.
        """
        if not isinstance(a, GaussianMixture):
            raise self.refuse(self.assumptions[0], a)
        own = copy.deepcopy(a).double()
        x, _ = own.check_batch(data[:ROWS])
        n, joint = x.shape[0], []
        with torch.no_grad():
            for k in range(own.components):
                z = torch.full((n,), k, dtype=torch.long, device=x.device)
                nodes = draw(functools.partial(own.model, x, n), {"z": z})
                joint.append(site_log_prob(nodes["z"]) + site_log_prob(nodes["x"]))
            log_joint, exact = torch.stack(joint, 1), own.log_prob(x).value
            posterior = own.posterior(x).probs
        claims = []
        for t in TEMPERATURES:
            q = torch.softmax(t * log_joint, 1)
            bound = (q * log_joint - torch.xlogy(q, q)).sum(1)
            divergence = (torch.xlogy(q, q) - torch.xlogy(q, posterior)).sum(1)
            used = torch.isfinite(divergence)  # q may keep a component whose posterior is 0 in float64
            gap = (bound + divergence - exact)[used].abs()
            scale = 1e-9 * (1 + exact.abs().max().item())
            claims.append(
                Claim(
                    f"q ∝ p(z|x)^{t:g}: ELBO + KL = log p(x), worst",
                    gap.max().item() if len(gap) else 0.0,
                    0.0,
                    scale,
                )
            )
            slack = (bound - exact).max().item()
            claims.append(Claim(f"q ∝ p(z|x)^{t:g}: largest ELBO − log p(x)", slack, 0.0, scale, sense="≤"))
        return self.evidence(*claims, examples=n)
