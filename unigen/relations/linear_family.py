r"""PCA, PPCA, factor analysis and the linear autoencoder: one subspace, four models of what lies beside it.

Notation: S the data's covariance (divided by N), λ_1 ≥ … ≥ λ_D its eigenvalues, U_q its q leading eigenvectors. PPCA
encodes x as M⁻¹Wᵀ(x − μ), M = WᵀW + σ²I, and so shrinks the projection onto axis i by λ_i/(λ_i + σ²) where W keeps
W Wᵀ = UΛUᵀ: an error of σ²/λ_i that vanishes with the noise. A linear autoencoder x ↦ BAx has the loss E‖x − BAx‖²,
whose every stationary subspace is spanned by eigenvectors; only the leading ones are a minimum.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.linear_vae import cosine
from unigen.relations.ppca_vae import axis_points
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9  # of float64 sums of some hundred terms of order one
OPTIMISER = 1e-6  # of a quasi-Newton method run to a gradient of 10⁻¹⁰


class LinearFamily(Relation):
    """PCA is PPCA without noise, PPCA is factor analysis with equal noise, and a linear autoencoder finds PCA."""

    id = 3
    name = "PCA – PPCA – FA – linear AE"
    families = ("PPCA", "PCA", "FactorAnalysis")
    statement = (
        "PPCA tends to PCA as σ² → 0, is factor analysis with one ψ, is the same for W and WR, and a linear "
        "autoencoder finds its subspace"
    )
    latex = (
        r"\Psi = \sigma^2 I, \quad WR(WR)^\top = WW^\top, \quad "
        r"\min_{A,B} \mathbb{E}\|x - BAx\|^2 = \sum_{i>q}\lambda_i"
    )
    source = "Tipping & Bishop 1999; Baldi & Hornik 1989"
    assumptions = (
        "for PPCA = FA: one noise variance for all features",
        "for PCA → PPCA: both are at their optimum on the same data, and λ_q exceeds the discarded eigenvalues",
    )
    converts = tuple(itertools.permutations(families, 2))

    def check(
        self, *, eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5), latents: int = 2, seed: int = 0
    ) -> Evidence:
        """Solve all four models on data with the given spectrum and compare them.

        Args:
            eigenvalues: λ_1 ≥ … ≥ λ_D.
            latents: q.
            seed: Of the rotation and of the autoencoder's start.
        """
        spectrum = torch.tensor(eigenvalues, dtype=torch.float64)
        x, d = axis_points(spectrum), spectrum.shape[0]
        pca, ppca = PCA(d, latents).double(), PPCA(d, latents).double()
        pca.solve(x)
        ppca.solve(x)
        rest, value = spectrum[latents:].sum().item(), ppca.log_prob(x).value
        with seeded(seed, x.device):
            turned = self.turn(ppca).log_prob(x).value
            loss, axes = self.autoencoder(x, latents)
        fa = self.to_factor_analysis(ppca).log_prob(x).value
        far, near = self.limit_error(pca, x, 1e-3), self.limit_error(pca, x, 5e-4)
        order = math.log2(far / near)
        return self.evidence(
            Claim("PCA's residual = Σ_{i>q} λ_i", pca.residual_variance.item(), rest, ROUNDING),
            Claim("order in σ² of PPCA's reconstruction minus PCA's", order, 1.0, 1e-2),
            Claim("log p of FA with ψ = σ² = PPCA's, worst", (fa - value).abs().max().item(), 0.0, ROUNDING),
            Claim("log p of PPCA with WR = with W, worst", (turned - value).abs().max().item(), 0.0, ROUNDING),
            Claim("loss of a trained linear autoencoder = Σ_{i>q} λ_i", loss, rest, OPTIMISER),
            Claim("smallest cosine of its subspace with PCA's", cosine(axes, pca.components.mT), 1.0, OPTIMISER),
            Claim("PCA → PPCA: log p, worst", (self.to_ppca(pca).log_prob(x).value - value).abs().max().item(), 0.0,
                  ROUNDING),
            residual=rest,
        )  # fmt: skip

    def figure(self, *, variances: tuple[float, float] = (4.0, 0.5), seed: int = 0) -> Figure:
        """Draw what PCA and PPCA make of a plane cloud, and their difference as σ² falls."""
        with seeded(seed, torch.device("cpu")):
            x = torch.randn(60, 2, dtype=torch.float64) * torch.tensor(variances).sqrt()
        x = x @ torch.tensor([[0.8, 0.6], [-0.6, 0.8]], dtype=torch.float64)
        pca, ppca = PCA(2, 1).double(), PPCA(2, 1).double()
        pca.solve(x)
        ppca.solve(x)
        noise = torch.logspace(-4, 0, 30).tolist()
        with style():
            fig = figure(7.4, 3.2)
            left, right = fig.subplots(1, 2)
            left.plot(*x.T, "o", color=GREY, markersize=3, label="data")
            for i, (program, name) in enumerate(((pca, "PCA"), (ppca, "PPCA, posterior mean"))):
                left.plot(*program.reconstruct(x).detach().T, "o", color=COLOURS[i], markersize=3, label=name)
            left.set(aspect="equal", title="reconstructions from one latent")
            left.legend(loc="upper left")
            right.loglog(noise, [self.limit_error(pca, x, v) for v in noise], label="largest difference")
            right.loglog(
                noise, [2 * v for v in noise], "--", color=GREY, linewidth=0.9, label="proportional to σ²"
            )
            right.set(xlabel="σ²", title="PPCA's reconstruction minus PCA's")
            right.legend()
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Compare two fitted programs of these families on data.

        PPCA and PCA are expected to be fitted to the same data; factor analysis, having more parameters, to explain
        them at least as well, up to D/N nats of over-fitting and the sampling error of the mean.

        Raises:
            UnsupportedQueryError: PCA beside a factor analysis with unequal noise.
            NotFittedError: A program was never fitted.
        """
        self.require_fitted(a, b)
        if isinstance(b, PCA):
            ppca = self.to_ppca(a)
            angle = cosine(ppca.weight, b.components.mT)
            reference = self.to_ppca(b)
            gap = (reference.variance / ppca.variance).log().abs().item()
            return self.evidence(
                Claim("smallest cosine between the subspaces", angle, 1.0, 1e-3),
                Claim("|log ratio of σ² to PCA's mean discarded variance|", gap, 0.0, 1e-3),
                sigma_squared=f"{ppca.variance.item():.6g}",
            )
        if isinstance(a, PCA):
            a = self.to_ppca(a)
        x, _ = a.check_batch(data)
        with torch.no_grad():
            one, two = a.log_prob(x).value.double(), b.log_prob(x.to(b.dtype)).value.double()
            copy = self.to_factor_analysis(a).log_prob(x).value.double()
        difference, n = two - one, x.shape[0]
        stderr = (difference.std() / n**0.5).item() if n > 1 else 0.0
        worst, d = (copy - one).abs().max().item(), x.shape[1]
        scale = (1e-4 if a.dtype is torch.float32 else ROUNDING) * max(1.0, one.abs().max().item() / 10)
        left, right = two.mean().item(), one.mean().item()
        return self.evidence(
            Claim("log p of FA with PPCA's noise = PPCA's, worst", worst, 0.0, scale),
            statistical("log p of FA ≥ of PPCA", left, right, stderr, bias=d / n, sense="≥"),
            gain_of_unequal_noise=f"{left - right:.4g} nats",
        )

    def convert(self, program: Program, *, to: str) -> Program:
        """Return the equal program of another of the three families, or PCA as the limit of the other two.

        Raises:
            UnsupportedQueryError: Unequal noise, missing entries, or a PCA without a discarded variance.
        """
        made = {"PCA": self.to_pca, "PPCA": self.to_ppca, "FactorAnalysis": self.to_factor_analysis}
        if to not in made:
            return super().convert(program, to=to)
        return made[to](program)

    @torch.no_grad()
    def to_ppca(self, program: Program) -> PPCA:
        """Return the PPCA equal to a factor analysis with one noise variance, or at the optimum PCA stands for."""
        if isinstance(program, PPCA):
            return program
        if isinstance(program, PCA):
            d, q = program.event_shape[0], program.latents
            rest = program.residual_variance.item()
            if q == d or rest <= 0 or program.explained_variance.min().item() < rest / (d - q):
                raise self.refuse("a discarded variance, below that of each axis that is kept", program)
            variance = program.residual_variance / (d - q)
            weight = program.components.mT * (program.explained_variance - variance).clamp_min(0).sqrt()
        elif isinstance(program, FactorAnalysis):
            noise = program.noise.double()
            if (noise.max() / noise.min()).item() > 1 + (1e-4 if program.dtype is torch.float32 else 1e-9):
                spread = f"noise variances {noise.min().item():.4g} … {noise.max().item():.4g}"
                raise self.refuse(self.assumptions[0], program, got=spread, expected="one")
            weight, variance = program.weight, noise.mean()
        else:
            raise self.refuse("a PPCA, PCA or FactorAnalysis", program)
        self._complete(program)
        ppca = PPCA(program.event_shape[0], program.latents).to(program.device, program.dtype)
        ppca.write(weight, program.mean, variance)
        ppca.fitted = program.fitted
        return ppca

    @torch.no_grad()
    def to_factor_analysis(self, program: Program) -> FactorAnalysis:
        """Return the factor analysis with PPCA's σ² as the noise of every feature."""
        ppca = self.to_ppca(program)
        self._complete(ppca)
        fa = FactorAnalysis(ppca.event_shape[0], ppca.latents).to(ppca.device, ppca.dtype)
        fa.weight.copy_(ppca.weight)
        fa.mean.copy_(ppca.mean)
        fa.log_noise.copy_(self.noise(ppca).log())
        fa.fitted = ppca.fitted
        return fa

    @torch.no_grad()
    def to_pca(self, program: Program) -> PCA:
        """Return the PCA of the covariance WWᵀ + σ²I: PPCA's limit, with the variances of the axes kept."""
        ppca = self.to_ppca(program)
        d, q = ppca.event_shape[0], ppca.latents
        left, singular, _ = torch.linalg.svd(ppca.weight.double(), full_matrices=False)
        pca = PCA(d, q).to(ppca.device, ppca.dtype)
        pca.components.copy_(left.mT)
        pca.mean.copy_(ppca.mean)
        pca.explained_variance.copy_(singular.square() + ppca.variance.double())
        pca.residual_variance.copy_((d - q) * ppca.variance)
        pca.fitted = ppca.fitted
        return pca

    def noise(self, ppca: PPCA) -> Tensor:
        """Return ψ of the equal factor analysis, shape (D,)."""
        return ppca.variance.expand_as(ppca.mean)

    def turn(self, ppca: PPCA) -> PPCA:
        """Return PPCA with WR, R a random rotation."""
        rotation = torch.linalg.qr(torch.randn(ppca.latents, ppca.latents, dtype=ppca.dtype)).Q
        turned = PPCA(ppca.event_shape[0], ppca.latents).to(ppca.dtype)
        turned.write(ppca.weight @ rotation, ppca.mean, ppca.variance)
        return turned

    @torch.no_grad()
    def limit_error(self, pca: PCA, x: Tensor, variance: float) -> float:
        """Return the largest difference between PCA's reconstructions and those of PPCA with a small σ²."""
        ppca = PPCA(x.shape[1], pca.latents).to(pca.dtype)
        weight = pca.components.mT * pca.explained_variance.sqrt()
        ppca.write(weight, pca.mean, torch.tensor(variance, dtype=pca.dtype))
        return (ppca.reconstruct(x) - pca.reconstruct(x)).abs().max().item()

    def autoencoder(self, x: Tensor, latents: int) -> tuple[float, Tensor]:
        """Train x ↦ BAx from a random start; return its loss and the columns of B, shape (D, q)."""
        d = x.shape[1]
        down = torch.randn(latents, d, dtype=x.dtype).div_(d).requires_grad_()
        up = torch.randn(d, latents, dtype=x.dtype).div_(d).requires_grad_()
        optimizer = torch.optim.LBFGS(
            (down, up),
            max_iter=500,
            tolerance_grad=1e-10,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = (x - x @ down.mT @ up.mT).square().sum(-1).mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        return closure().item(), up.detach()

    def _complete(self, program: Program) -> None:
        if program.missing:
            raise self.refuse("complete data (missing=False)", program)
