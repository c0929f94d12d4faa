r"""PPCA and the linear VAE: one model, and a bound that is tight at the optimum.

Notation: D features, q latents, λ_1 ≥ … ≥ λ_D the eigenvalues of the data's covariance S (divided by N), decoder
x | z ~ N(Wz + μ, σ²I), encoder z | x ~ N(Ax + a, diag s²). In closed form

    ELBO(x) = −D/2 log 2πσ² − (‖x − Wm − μ‖² + Σ_j s_j²‖w_j‖²)/2σ² − ½ Σ_j (m_j² + s_j² − 1 − log s_j²),  m = Ax + a.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.models.ppca import PPCA
from unigen.models.vae import FLOOR, VAE, linear_vae
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.linear_vae import (
    AFFINE,
    ONE_SIGMA,
    STANDARD,
    affine,
    as_linear_vae,
    cosine,
    elbo,
    head,
    rate,
    scale,
    weight,
)  # fmt: skip
from unigen.relations.relation import Relation
from unigen.traces import log_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9  # of float64 sums of some hundred terms of order one


def axis_points(eigenvalues: Tensor) -> Tensor:
    """Return the 2D points ±√(Dλ_i) e_i, whose mean is 0 and whose covariance is diag λ, shape (2D, D)."""
    points = torch.diag((eigenvalues.shape[0] * eigenvalues).sqrt())
    return torch.cat([points, -points])


def spectral_log_likelihood(eigenvalues: Tensor, latents: int) -> float:
    """Return max log p(x) of PPCA, the mean over the data, from the eigenvalues alone, in nats."""
    d, kept, left = eigenvalues.shape[0], eigenvalues[:latents], eigenvalues[latents:]
    return (
        -0.5 * (d * math.log(2 * math.pi) + kept.log().sum() + (d - latents) * left.mean().log() + d).item()
    )


class PPCALinearVAE(Relation):
    """The optimum of a linear VAE's ELBO is PPCA's maximum likelihood."""

    id = 1
    name = "PPCA – linear VAE"
    families = ("PPCA", "VAE")
    statement = "at the ELBO's optimum a linear VAE is PPCA, and the bound is tight"
    latex = r"\max_{W,\mu,\sigma,A,a,s} \mathrm{ELBO} = \max_{W,\mu,\sigma} \log p(x)"
    source = "Tipping & Bishop 1999; Lucas et al. 2019"
    assumptions = (AFFINE, STANDARD, ONE_SIGMA)
    converts = (("PPCA", "VAE"), ("VAE", "PPCA"))

    def check(
        self, *, eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5), latents: int = 2, seed: int = 0
    ) -> Evidence:
        """Solve PPCA on data with the given spectrum, convert it, and compare bound, likelihood and spectrum.

        Args:
            eigenvalues: λ_1 ≥ … ≥ λ_D.
            latents: q.
            seed: Of the draws from the encoder.
        """
        spectrum = torch.tensor(eigenvalues, dtype=torch.float64)
        x, kept = axis_points(spectrum), spectrum[:latents]
        ppca = PPCA(spectrum.shape[0], latents).double()
        ppca.solve(x)
        vae = self.to_vae(ppca)
        variance, exact = spectrum[latents:].mean(), ppca.log_prob(x).value
        bound = self.elbo(vae, x)
        gradient = torch.autograd.grad(bound.mean(), [p for p in vae.parameters() if p.requires_grad])
        slope = max(g.abs().max().item() for g in gradient)
        with seeded(seed, x.device):
            draws = log_weights(
                functools.partial(vae.model, x), functools.partial(vae.guide, x), samples=100
            ).local
        posterior = vae.posterior(x).variance[0].sort(descending=True).values
        truth = (variance / kept).sort(descending=True).values
        likelihood, rate = (
            spectral_log_likelihood(spectrum, latents),
            0.5 * (kept / variance).log().sum().item(),
        )
        return self.evidence(
            Claim("σ² = mean of the discarded eigenvalues", ppca.variance.item(), variance.item(), ROUNDING),
            Claim("log-likelihood = its spectral formula", exact.mean().item(), likelihood, ROUNDING),
            Claim("ELBO of the linear VAE = log-likelihood", bound.mean().item(), likelihood, ROUNDING),
            Claim(
                "largest |log w − log p(x)| in 100 draws", (draws - exact).abs().max().item(), 0.0, ROUNDING
            ),
            Claim("largest slope of the ELBO there", slope, 0.0, ROUNDING),
            Claim("posterior variances = σ²/λ, worst", (posterior - truth).abs().max().item(), 0.0, ROUNDING),
            Claim("rate E KL(q‖p) = ½ Σ log λ/σ²", self.rate(vae, x).mean().item(), rate, ROUNDING),
            posterior_variances=[round(v, 6) for v in posterior.tolist()],
        )

    def figure(
        self, *, eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5), latents: int = 2
    ) -> Figure:
        """Draw likelihood and bound as the encoder leaves the exact posterior, and as the noise leaves its best."""
        spectrum = torch.tensor(eigenvalues, dtype=torch.float64)
        x, ppca = axis_points(spectrum), PPCA(len(eigenvalues), latents).double()
        ppca.solve(x)
        best, variances = ppca.variance.item(), torch.linspace(0.3, 2.0, 60, dtype=torch.float64)
        likelihood, bound = [], []
        for v in variances:
            vae = self.to_vae(ppca)
            with torch.no_grad():
                head(vae).set_sigma((v * best).sqrt())
                ppca.log_variance.copy_((v * best).log().reshape(1))
                bound.append(self.elbo(vae, x).mean().item())
                likelihood.append(ppca.log_prob(x).value.mean().item())
                ppca.log_variance.fill_(math.log(best))
        with style():
            fig = figure(5.4, 3.2)
            axes = fig.subplots()
            axes.plot(variances * best, likelihood, color=COLOURS[0], label="log p(x) of PPCA with this σ²")
            axes.plot(variances * best, bound, color=COLOURS[1], label="ELBO, encoder of the best σ²")
            axes.axvline(best, color=GREY, linewidth=0.9, linestyle=":")
            axes.set(xlabel="σ²", ylabel="nats", title="the bound touches at the optimum, and only there")
            axes.legend()
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Measure a linear VAE against PPCA on data; both are expected to be fitted to data of that distribution.

        The equality is claimed up to 0.01 nats a feature (the optimiser's share) and the sampling error of the mean.

        Raises:
            UnsupportedQueryError: The VAE is not linear.
        """
        ppca, vae = _as_ppca(a), as_linear_vae(self, b)
        x, _ = ppca.check_batch(data)
        with torch.no_grad():
            bound, own = self.elbo(vae, x.to(vae.dtype)), self.to_ppca(vae).log_prob(x).value
        exact = ppca.log_prob(x).value
        difference = (bound - exact).double()
        stderr = (difference.std() / difference.shape[0] ** 0.5).item() if difference.shape[0] > 1 else 0.0
        rounding = 1e-4 if vae.dtype is torch.float32 else ROUNDING
        largest, d = (bound - own).max().item(), ppca.event_shape[0]
        bias, mean, right = 0.01 * d, bound.mean().item(), exact.mean().item()
        return self.evidence(
            Claim(
                "largest ELBO − log p of the VAE itself, by example", largest, 0.0, rounding * d, sense="≤"
            ),
            statistical("ELBO of the VAE = log-likelihood of PPCA", mean, right, stderr, bias=bias),
            sigma_squared=f"PPCA {ppca.variance.item():.6g}, VAE {scale(vae).square().item():.6g}",
            smallest_cosine_between_subspaces=cosine(ppca.weight, weight(vae)),
        )

    def convert(self, program: Program, *, to: str) -> Program:
        """Return the linear VAE equal to a PPCA, with its latent axes rotated onto the principal ones, or the reverse.

        p(x) is the same, exactly. The encoder is the exact posterior.

        Raises:
            UnsupportedQueryError: The VAE is not linear, or PPCA's σ is below the floor of the VAE's likelihood.
        """
        if to == "PPCA":
            return self.to_ppca(as_linear_vae(self, program))
        if to == "VAE":
            return self.to_vae(_as_ppca(program))
        return super().convert(program, to=to)

    def to_ppca(self, vae: VAE) -> PPCA:
        """Return the PPCA with the decoder of a linear VAE."""
        ppca = PPCA(vae.event_shape[0], vae.latents).to(vae.device, vae.dtype)
        ppca.write(weight(vae), affine(vae.decoder).bias, scale(vae).square())
        ppca.fitted = vae.fitted
        return ppca

    @torch.no_grad()
    def to_vae(self, ppca: PPCA) -> VAE:
        """Return the linear VAE equal to a PPCA."""
        vae = linear_vae(ppca.event_shape[0], ppca.latents).to(ppca.device, ppca.dtype)
        left, singular, _ = torch.linalg.svd(ppca.weight, full_matrices=False)
        total = singular.square() + ppca.variance
        sigma, posterior = ppca.variance.sqrt(), (ppca.variance / total).sqrt()
        if sigma.item() <= 1.01 * head(vae).floor or posterior.min().item() <= 2 * FLOOR:
            raise self.refuse("σ above the floor of the VAE's scales", ppca, hint="data on a larger scale")
        columns, gain = left * singular, left.mT * (singular / total)[:, None]
        above = (posterior - FLOOR).double()
        raw = above + torch.log(-torch.expm1(-above))  # the inverse of softplus
        decoder, encoder = affine(vae.decoder), affine(vae.encoder)
        head(vae).set_sigma(sigma)
        decoder.weight.copy_(columns)
        decoder.bias.copy_(ppca.mean)
        encoder.weight.copy_(torch.cat([gain, torch.zeros_like(gain)]))
        encoder.bias.copy_(torch.cat([-gain @ ppca.mean, raw.to(gain)]))
        vae.fitted = ppca.fitted
        return vae

    def rate(self, vae: VAE, x: Tensor) -> Tensor:
        """Return KL(q(z | x) ‖ N(0, I)), shape (N,), in nats."""
        return rate(vae, x)

    def elbo(self, vae: VAE, x: Tensor) -> Tensor:
        """Return the ELBO of a linear VAE in closed form, shape (N,), in nats."""
        return elbo(vae, x)


def _as_ppca(program: Program) -> PPCA:
    if not isinstance(program, PPCA):
        raise PPCALinearVAE().refuse("a PPCA as its first program", program)
    return program
