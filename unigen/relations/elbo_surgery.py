r"""ELBO surgery: the rate is what the code says about the example, and what the prior misses.

Notation: data x ~ N(0, S), encoder q(z | x) = N(Ax, diag s²), aggregated posterior q(z) = E q(z | x) = N(0, ASAᵀ +
diag s²), prior N(0, I). All three terms are in closed form for this linear-Gaussian channel, which is what the worked
example uses; on a program the two right-hand terms are estimated, with draws of their own each, against the rate in
closed form.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from unigen.distributions.posteriors import MeanField
from unigen.distributions.standard import StandardNormal
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.plots.style import COLOURS, figure, style
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.linear_vae import affine, rate
from unigen.relations.ppca_vae import PPCALinearVAE, axis_points
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9  # of float64 sums and determinants of order one
ROWS = 400  # examples of the data used on a program
DRAWS = 8  # of each posterior


class ElboSurgeryRelation(Relation):
    """The rate is the mutual information of data and code, and the divergence of the aggregated posterior."""

    id = 5
    name = "VAE – ELBO surgery"
    families = ("VAE",)
    statement = (
        "the mean rate is the information the code has of x plus the divergence of q(z) from the prior"
    )
    latex = (
        r"\mathbb{E}_x\mathrm{KL}(q(z\mid x)\,\|\,p(z)) = I_q(x; z) + \mathrm{KL}(q(z)\,\|\,p(z)), \quad "
        r"q(z) = \mathbb{E}_x q(z\mid x)"
    )
    source = "Hoffman & Johnson 2016"
    assumptions = ("for a program: a mean-field posterior and the prior N(0, I)",)

    def check(
        self,
        *,
        eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5),
        latents: int = 2,
        gains: tuple[float, ...] = (1.0, 0.6, 1.5),
    ) -> Evidence:
        """Split the rate of the linear VAE at its optimum, and of encoders whose means are too small or too large.

        Args:
            eigenvalues: λ_1 ≥ … ≥ λ_D.
            latents: q.
            gains: Factors of the encoder's mean; at 1 it is the exact posterior of the optimum.
        """
        spectrum = torch.tensor(eigenvalues, dtype=torch.float64)
        x, claims = axis_points(spectrum), []
        for gain in gains:
            vae = self.encoder(x, latents, gain)
            total = rate(vae, x).mean().item()
            information, divergence = self.terms(vae, spectrum)
            claims.append(
                Claim(
                    f"gain {gain:g}: rate = information + KL(q(z)‖p)",
                    total,
                    information + divergence,
                    ROUNDING,
                )
            )
            claims.append(Claim(f"gain {gain:g}: KL(q(z)‖p) ≥ 0", divergence, 0.0, ROUNDING, sense="≥"))
            if gain == 1.0:
                variance = spectrum[latents:].mean()
                best = 0.5 * (spectrum[:latents] / variance).log().sum().item()
                claims.append(
                    Claim("at the optimum: information = ½ Σ log λ/σ²", information, best, ROUNDING)
                )
                claims.append(Claim("at the optimum: KL(q(z)‖p) = 0", divergence, 0.0, ROUNDING))
        return self.evidence(*claims)

    @torch.no_grad()
    def encoder(self, x: Tensor, latents: int, gain: float) -> VAE:
        """Return the linear VAE at its optimum on x, the mean of its encoder multiplied by ``gain``."""
        ppca = PPCA(x.shape[1], latents).double()
        ppca.solve(x)
        vae = PPCALinearVAE().to_vae(ppca)
        affine(vae.encoder).weight[:latents].mul_(gain)
        return vae

    def terms(self, vae: VAE, spectrum: Tensor) -> tuple[float, float]:
        """Return I(x; z) and KL(q(z) ‖ p(z)) for x ~ N(0, diag λ), in nats."""
        q = vae.latents
        a = affine(vae.encoder).weight[:q].detach()
        noise = vae.posterior(torch.zeros(1, a.shape[1], dtype=a.dtype)).variance[0].detach()
        covariance = self.aggregate(a, spectrum, noise)
        information = 0.5 * (torch.logdet(covariance) - noise.log().sum())
        divergence = 0.5 * (covariance.trace() - q - torch.logdet(covariance))
        return information.item(), divergence.item()

    def aggregate(self, a: Tensor, spectrum: Tensor, noise: Tensor) -> Tensor:
        """Return the covariance of q(z)."""
        return (a * spectrum) @ a.mT + torch.diag(noise)

    def figure(
        self, *, eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5), latents: int = 2
    ) -> Figure:
        """Draw the two terms and their sum against the gain of the encoder."""
        spectrum = torch.tensor(eigenvalues, dtype=torch.float64)
        x, gains = axis_points(spectrum), torch.linspace(0.05, 2.0, 40).tolist()
        vaes = [self.encoder(x, latents, gain) for gain in gains]
        information, divergence = zip(*(self.terms(vae, spectrum) for vae in vaes), strict=True)
        total = [rate(vae, x).mean().item() for vae in vaes]
        with style():
            fig = figure(5.6, 3.2)
            axes = fig.subplots()
            axes.stackplot(
                gains, information, divergence, labels=["information I(x; z)", "KL(q(z) ‖ p(z))"],
                colors=[COLOURS[0], COLOURS[1]], alpha=0.45,
            )  # fmt: skip
            axes.plot(gains, total, color=COLOURS[9], label="rate E KL(q(z | x) ‖ p(z))")
            axes.axvline(1.0, color=COLOURS[9], linewidth=0.8, linestyle=":")
            axes.set(
                xlabel="gain of the encoder's mean (1: exact posterior)",
                ylabel="nats",
                title="the rate, split",
            )
            axes.legend(loc="upper left")
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Split the rate of a VAE on data: the information of the index and KL(q(z)‖p) for these very examples.

        q(z) is the mixture of the posteriors of the examples; the two terms are estimated from independent draws.

        Raises:
            UnsupportedQueryError: Another posterior or prior, or a conditional VAE.
        """
        if not isinstance(a, VAE) or a.context_features:
            raise self.refuse("an unconditional VAE", a)
        if not isinstance(a.head, MeanField) or not isinstance(a.prior, StandardNormal):
            raise self.refuse(
                self.assumptions[0], a, hint="ug.evaluate.elbo_surgery(program, x) estimates all terms"
            )
        x, _ = a.check_batch(data[:ROWS])
        with evaluating(a), seeded(0, a.device), torch.no_grad():
            q = a.posterior_of(x)
            prior = torch.distributions.Normal(torch.zeros_like(q.mean), 1.0)
            total = kl_divergence(torch.distributions.Normal(q.mean, q.stddev), prior).sum(1).double()
            said, missed = [], []
            for _ in range(DRAWS):
                z, other = q.sample(), q.sample()
                said.append(q.log_prob(z).double() - self.log_aggregate(q, z))
                missed.append(self.log_aggregate(q, other) - prior.log_prob(other).sum(1).double())
        one, two = (
            torch.stack(said),
            torch.stack(missed),
        )  # (S, N): the examples are given, the draws are random
        error = math.sqrt(float((one.var(0) + two.var(0)).sum()) / DRAWS) / x.shape[0]
        information, divergence = one.mean().item(), two.mean().item()
        rounding = 1e-3 if a.dtype is torch.float32 else ROUNDING
        return self.evidence(
            statistical("rate = information + KL(q(z)‖p)", total.mean().item(), information + divergence, error,
                        bias=rounding),
            statistical("information ≤ log N", information, math.log(x.shape[0]), error, bias=rounding, sense="≤"),
            rate=f"{total.mean().item():.5g}", information=f"{information:.5g}", divergence=f"{divergence:.5g}",
        )  # fmt: skip

    def log_aggregate(self, q: torch.distributions.Distribution, z: Tensor) -> Tensor:
        """Return log 1/N Σ_n q(z | x_n) of rows z, shape (N,)."""
        return q.log_prob(z[:, None]).double().logsumexp(1) - math.log(z.shape[0])
