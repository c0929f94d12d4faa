r"""Expectation–maximisation as coordinate ascent on the ELBO.

Notation: F(q, θ) = E_q log p(x, z | θ) + H(q) = log p(x | θ) − KL(q ‖ p(z | x, θ)). The E-step maximises F in q (the
posterior, gap 0), the M-step in θ, so that log p(x | θ_t) = F(q_t, θ_t) ≤ F(q_t, θ_{t+1}) ≤ log p(x | θ_{t+1}).
For PPCA q_t(z_n) = N(m_n, V), and

    F = Σ_n −D/2 log 2πσ² − (‖x_n − Wm_n − μ‖² + tr WVWᵀ)/2σ² − ½(‖m_n‖² + tr V − q) + ½ log det V.
"""

from __future__ import annotations

import copy
import functools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.logprob import Kind
from unigen.models.ppca import PPCA
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.ppca_vae import axis_points, spectral_log_likelihood
from unigen.relations.relation import Relation
from unigen.traces import log_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9  # of float64 sums of some hundred terms of order one
CONVERGED = 1e-8  # distance of the likelihood from its maximum after the default number of steps
ROWS, STEPS = 2000, 3  # examples and EM steps on a program


class EMasVI(Relation):
    """EM is coordinate ascent on the ELBO: the likelihood never falls."""

    id = 31
    name = "EM – variational inference"
    families = ("Program",)
    statement = "EM is coordinate ascent on the ELBO, in q and then in θ, so that the likelihood never falls"
    latex = r"\log p_{\theta_t} = F(q_t, \theta_t) \le F(q_t, \theta_{t+1}) \le \log p_{\theta_{t+1}}"
    source = "Dempster, Laird & Rubin 1977; Neal & Hinton 1998"
    assumptions = (
        "the family has an EM step, of the likelihood alone (no prior on the parameters)",
        "its guide is the exact posterior",
    )

    def check(
        self,
        *,
        eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5),
        latents: int = 2,
        steps: int = 80,
        seed: int = 0,
    ) -> Evidence:
        """Fit PPCA by EM from a random start, and follow likelihood and bound to the closed form.

        Args:
            eigenvalues: λ_1 ≥ … ≥ λ_D.
            latents: q.
            steps: EM steps.
            seed: Of the start.
        """
        spectrum = torch.tensor(eigenvalues, dtype=torch.float64)
        x = axis_points(spectrum)
        ppca, (before, tight, between, after, slopes) = self.climb(x, latents, steps, seed)
        best, rest = spectral_log_likelihood(spectrum, latents), spectrum[latents:].mean().item()
        return self.evidence(
            Claim("E-step: F(q_t, θ_t) = log p(x | θ_t), worst", (tight - before).abs().max().item(), 0.0, ROUNDING),
            Claim("M-step: smallest F(q_t, θ_{t+1}) − F(q_t, θ_t)", (between - before).min().item(), 0.0, ROUNDING,
                  sense="≥"),
            Claim("next E-step: smallest log p(x | θ_{t+1}) − F(q_t, θ_{t+1})", (after - between).min().item(), 0.0,
                  ROUNDING, sense="≥"),
            Claim("largest slope of F in θ after an M-step", slopes.max().item(), 0.0, ROUNDING),
            Claim(f"log-likelihood after {steps} steps = closed form", after[-1].item(), best, CONVERGED),
            Claim("σ² = mean of the discarded eigenvalues", ppca.variance.item(), rest, 1e-4),
            first=round(before[0].item(), 6),
            last=round(after[-1].item(), 6),
        )  # fmt: skip

    def climb(self, x: Tensor, latents: int, steps: int, seed: int) -> tuple[PPCA, tuple[Tensor, ...]]:
        """Return PPCA after so many EM steps, and for each step, (steps,) each, what is compared.

        These are log p(x | θ_t), F(q_t, θ_t), F(q_t, θ_{t+1}), log p(x | θ_{t+1}), and F's largest slope in θ_{t+1}.
        """
        with seeded(seed, x.device):
            ppca = PPCA(x.shape[1], latents).double()
        rows, old = [], ppca.log_prob(x).value.mean().detach()
        for _ in range(steps):
            q = ppca.posterior(x)
            mean, covariance = self.code(q.mean.detach(), q.covariance_matrix.detach()[0])
            tight = free_energy(ppca, x, mean, covariance)
            self.step(ppca, x)
            bound = free_energy(ppca, x, mean, covariance)
            slope = torch.stack(
                [g.abs().max() for g in torch.autograd.grad(bound, list(ppca.parameters()))]
            ).max()
            new = ppca.log_prob(x).value.mean().detach()
            rows.append(torch.stack([old, tight.detach(), bound.detach(), new, slope]))
            old = new
        return ppca, torch.stack(rows).unbind(1)

    def code(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and covariance of q."""
        return mean, covariance

    def step(self, ppca: PPCA, x: Tensor) -> None:
        """Make an EM step."""
        ppca.em_step(x)

    def figure(
        self, *, eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5), latents: int = 2, steps: int = 12,
        seed: int = 0,
    ) -> Figure:  # fmt: skip
        """Draw the staircase of log-likelihood and bound, and the distance from the maximum."""
        spectrum = torch.tensor(eigenvalues, dtype=torch.float64)
        x, best = axis_points(spectrum), spectral_log_likelihood(spectrum, latents)
        _, (_, _, between, many, _) = self.climb(x, latents, 40, seed)
        between, after = between[:steps], many[:steps]
        t = torch.arange(1, steps + 1)
        with style():
            fig = figure(7.4, 3.1)
            left, right = fig.subplots(1, 2)
            left.axhline(best, color=GREY, linewidth=0.9, linestyle=":", label="maximum, closed form")
            left.plot(t, after, "o-", color=COLOURS[0], markersize=3, label="log p(x | θ), after the E-step")
            left.plot(t, between, "s", color=COLOURS[1], markersize=3, label="F(q, θ), after the M-step")
            left.vlines(t, between, after, color=COLOURS[1], linewidth=0.9)
            left.set(xlabel="EM step", ylabel="nats", title="coordinate ascent")
            left.legend(loc="lower right")
            right.semilogy(range(1, 41), (best - many).clamp_min(1e-16), color=COLOURS[0])
            right.set(xlabel="EM step", ylabel="nats", title="distance from the maximum")
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Make three EM steps of a copy on data: the bound is tight before each, and the likelihood never falls.

        Raises:
            UnsupportedQueryError: The family has no EM step, or one that maximises more than the likelihood.
        """
        step = getattr(a, "em_step", None)
        if step is None or getattr(a, "shrinkage", 0.0) or a.context_features or not a.has_marginal:
            raise self.refuse(
                self.assumptions[0], a, hint="PPCA, FactorAnalysis, GaussianMixture(…, shrinkage=0.0)"
            )
        own = copy.deepcopy(a).double()
        x, _ = own.check_batch(data[:ROWS])
        claims = []
        for t in range(STEPS):
            value = own.log_prob(x).value.detach()
            gap = (self.bound(own, x) - value).abs().max().item()
            getattr(own, "em_step")(x)  # noqa: B009  (a method of some families)
            later = own.log_prob(x).value.detach().mean().item()
            scale = ROUNDING * (1 + value.abs().max().item())
            claims += [
                Claim(f"step {t + 1}: ELBO of the guide = log p, worst", gap, 0.0, 10 * scale),
                Claim(f"step {t + 1}: log p after ≥ before", later, value.mean().item(), scale, sense="≥"),
            ]
        return self.evidence(*claims, examples=x.shape[0])

    def bound(self, program: Program, x: Tensor) -> Tensor:
        """Return log p(x, z) − log q(z | x) of one draw from the guide, shape (N,): constant in z if q is exact."""
        with seeded(0, x.device), torch.no_grad():
            found = log_weights(
                functools.partial(program.model, x, None, x.shape[0]),
                functools.partial(program.guide, x, None, x.shape[0]),
                nesting=program.structure.nesting,
            )
        if found.kind is not Kind.EXACT or found.shared_latents:
            raise self.refuse("exact densities, and a latent for each example", program)
        return found.local[0]


def free_energy(ppca: PPCA, x: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return F(q, θ) of PPCA for q(z_n) = N(mean_n, covariance), the mean over the data, in nats."""
    w, variance, d = ppca.weight, ppca.variance, x.shape[1]
    residual = (x - mean @ w.mT - ppca.mean).square().sum(1).mean() + torch.trace(w @ covariance @ w.mT)
    prior = mean.square().sum(1).mean() + covariance.trace() - mean.shape[1]
    fit = -0.5 * d * (2 * math.pi * variance).log() - residual / (2 * variance)
    return (fit - 0.5 * prior + 0.5 * torch.logdet(covariance)).squeeze()
