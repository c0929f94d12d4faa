r"""Whitening: PCA's coordinates, and the aggregated posteriors of PPCA and VAE at the optimum, are white.

Notation: S the data's covariance, U_q, Λ_q its leading eigenvectors and eigenvalues. PCA's coordinates Λ^{−½}Uᵀ(x − μ)
have covariance I. PPCA's posterior at the maximum of the likelihood has mean A(x − μ), A = M⁻¹Wᵀ, and covariance
σ²M⁻¹, and what it says of all data together, q(z) = E q(z | x), has covariance ASAᵀ + σ²M⁻¹ = I: the prior's. So it is
for a linear VAE. The means alone are not white, but of variance 1 − σ²/λ_i.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.distributions.standard import StandardNormal
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.ppca_vae import PPCALinearVAE, axis_points
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9  # of float64 sums of some hundred terms of order one
OPTIMISER = 0.1  # of a variance, the share of an encoder and a decoder that have not quite converged
ROWS = 4000  # of the data that are used on a program, at most


class Whitening(Relation):
    """PCA's scaled coordinates and the aggregated posteriors of PPCA and VAE have mean 0 and covariance I."""

    id = 33
    name = "whitening – PPCA – VAE latent"
    families = ("PPCA", "PCA", "VAE")
    statement = (
        "PCA's coordinates, and the aggregated posteriors of PPCA and of a VAE at the optimum, are white"
    )
    latex = r"\mathrm{Cov}(\Lambda^{-1/2}U^\top x) = I, \quad A S A^\top + \sigma^2 M^{-1} = I"
    source = "Tipping & Bishop 1999; Hoffman & Johnson 2016"
    assumptions = (
        "the parameters are at the optimum",
        "the prior is N(0, I)",
        "for a VAE: its aggregated posterior has come to match the prior",
    )

    def check(
        self, *, eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5), latents: int = 2, seed: int = 0
    ) -> Evidence:
        """Whiten data with the given spectrum by PCA, and aggregate the posteriors of PPCA and of the linear VAE.

        Args:
            eigenvalues: λ_1 ≥ … ≥ λ_D.
            latents: q.
            seed: Of the rotation of the data.
        """
        spectrum = torch.tensor(eigenvalues, dtype=torch.float64)
        d = spectrum.shape[0]
        with seeded(seed, spectrum.device):
            rotation = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64)).Q
        x = axis_points(spectrum) @ rotation + 1.0
        pca, ppca = PCA(d, latents).double(), PPCA(d, latents).double()
        pca.solve(x)
        ppca.solve(x)
        claims = []
        for program in (pca, ppca, PPCALinearVAE().to_vae(ppca)):
            mean, covariance = self.moments(program, x)
            gap = (covariance - torch.eye(latents, dtype=x.dtype)).abs().max().item()
            claims += [
                Claim(f"{program.name}: |mean|, worst", mean.abs().max().item(), 0.0, ROUNDING),
                Claim(f"{program.name}: |covariance − I|, worst", gap, 0.0, ROUNDING),
            ]
        variances = ppca.encode(x).var(0, correction=0).sort(descending=True).values
        expected = 1 - spectrum[latents:].mean() / spectrum[:latents]
        claims.append(
            Claim("PPCA: variances of the posterior means = 1 − σ²/λ, worst",
                  (variances - expected).abs().max().item(), 0.0, ROUNDING)
        )  # fmt: skip
        return self.evidence(*claims)

    @torch.no_grad()
    def moments(self, program: Program, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (q,) and covariance (q, q) of PCA's scaled coordinates, or of the aggregated posterior."""
        if isinstance(program, PCA):
            z = self.coordinates(program, x).double()
            return z.mean(0), torch.cov(z.mT, correction=0).reshape(z.shape[1], -1)
        q = program.posterior(x)
        mean = q.mean.double()
        within = getattr(q, "covariance_matrix", None) if isinstance(program, PPCA) else None
        spread = (
            torch.diag(q.variance.double().mean(0))
            if within is None
            else within.double().reshape(-1, *within.shape[-2:]).mean(0)
        )
        return mean.mean(0), torch.cov(mean.mT, correction=0).reshape(mean.shape[1], -1) + self.within(spread)

    def coordinates(self, pca: PCA, x: Tensor) -> Tensor:
        """Return PCA's coordinates in units of their standard deviations, shape (N, q)."""
        return pca.whiten(x)

    def within(self, covariance: Tensor) -> Tensor:
        """Return what the spread of each posterior adds to the covariance of q(z)."""
        return covariance

    def figure(self, *, latents: int = 2, noise: float = 0.35, seed: int = 0) -> Figure:
        """Draw correlated data, PCA's coordinates, PPCA's posterior means, and draws from its posteriors."""
        with seeded(seed, torch.device("cpu")):
            x = torch.randn(400, 2, dtype=torch.float64) @ torch.tensor([[2.0, 0.0], [1.2, 0.6]]).double().mT
            x = torch.cat([x, noise * torch.randn(400, 1, dtype=torch.float64)], 1)
            pca, ppca = PCA(3, latents).double(), PPCA(3, latents).double()
            pca.solve(x)
            ppca.solve(x)
            panels = {"data": x[:, :2], "PCA, scaled": pca.whiten(x), "posterior means": ppca.encode(x),
                      "aggregated posterior": ppca.posterior(x).sample()}  # fmt: skip
        angle = torch.linspace(0, 6.2832, 100)
        with style():
            fig = figure(9.0, 2.6)
            for axes, (name, z) in zip(fig.subplots(1, 4), panels.items(), strict=True):
                z = z.detach()
                axes.plot(*z.T, ".", color=COLOURS[0], markersize=2)
                if name != "data":
                    axes.plot(2 * angle.cos(), 2 * angle.sin(), color=GREY, linewidth=0.9)
                    axes.set(xlim=(-3.6, 3.6), ylim=(-3.6, 3.6))
                sd = z.std(0)
                axes.set(aspect="equal", title=name, xlabel=f"std {sd[0]:.2f}, {sd[1]:.2f}")
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Take the moments of both programs' latents over data, expected to be from the distribution of their training.

        Variances and correlations are claimed within sampling error, and a VAE's within 0.1 besides.

        Raises:
            UnsupportedQueryError: Another prior than N(0, I), a conditional program, or a single example.
            NotFittedError: A program was never fitted.
        """
        claims = []
        for program in (a, b):
            if isinstance(program, VAE) and (
                program.context_features or not isinstance(program.prior, StandardNormal)
            ):
                raise self.refuse(self.assumptions[1], program)
            self.require_fitted(program)
            x, _ = program.check_batch(data[:ROWS])
            n = x.shape[0]
            if n < 2:
                raise self.refuse("at least two examples", program)
            mean, covariance = self.moments(program, x)
            share = OPTIMISER if isinstance(program, VAE) else 1e-4
            off = (covariance - torch.diag(covariance.diagonal())).abs().max().item()
            extremes = {
                "smallest": covariance.diagonal().min().item(),
                "largest": covariance.diagonal().max().item(),
            }
            claims += [
                statistical(f"{program.name}: {which} variance of z", value, 1.0, (2 / n) ** 0.5, bias=share)
                for which, value in extremes.items()
            ]
            claims.append(statistical(f"{program.name}: largest |covariance|", off, 0.0, n**-0.5, bias=share))
            worst = mean.abs().max().item()
            claims.append(statistical(f"{program.name}: largest |mean|", worst, 0.0, n**-0.5, bias=share))
        return self.evidence(*claims, examples=min(ROWS, data.shape[0]))
