r"""Posterior collapse of a linear VAE: a latent is used exactly if its eigenvalue exceeds the noise.

Notation: S the data's covariance with eigenvalues λ_1 ≥ … ≥ λ_D, decoder N(Wz + μ, σ²I) with σ² fixed, objective
E_q log p(x | z) − β KL(q ‖ p). For given W the best q is the posterior of a model with noise βσ², so that the bound
as a function of the length a of the column along eigenvector i is −β/2 (log(a² + βσ²) + λ_i/(a² + βσ²)) and a
constant. Its curvature at a = 0 is (λ_i − βσ²)/(βσ⁴): at λ_i ≤ βσ² the unused latent is a maximum, otherwise a saddle,
and the maximum has a² = λ_i − βσ².
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from unigen.models.vae import VAE, linear_vae
from unigen.objectives.annealing import Annealing
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.linear_vae import (
    AFFINE,
    ONE_SIGMA,
    STANDARD,
    affine,
    as_linear_vae,
    elbo,
    head,
    marginal_covariance,
    rate,
    scale,
    weight,
)
from unigen.relations.ppca_vae import axis_points
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPTIMISER = 1e-4  # of the maximum found by a quasi-Newton method from a random start
CURVATURE = 1e-6  # of second derivatives by automatic differentiation
ERRORS = 4.0  # standard errors of an eigenvalue, λ √(2/N), within which a latent may go either way


class PosteriorCollapse(Relation):
    """A latent of a linear VAE collapses exactly if its eigenvalue is below the noise."""

    id = 2
    name = "VAE – posterior collapse"
    families = ("VAE",)
    statement = "with fixed noise σ² a linear VAE uses exactly the latents whose eigenvalue exceeds βσ²"
    latex = r"\|w_i\|^2 = \max(\lambda_i - \beta\sigma^2, 0)"
    source = "Lucas et al. 2019"
    assumptions = (AFFINE, STANDARD, ONE_SIGMA, "the bound is at its maximum")

    def threshold(self, noise: float, beta: float) -> float:
        """Return the eigenvalue above which a latent is used."""
        return beta * noise

    def check(
        self,
        *,
        eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5),
        latents: int = 3,
        noises: tuple[float, ...] = (0.75, 1.5, 3.0, 5.0),
        beta: float = 1.0,
        seed: int = 0,
    ) -> Evidence:
        """Maximise the bound of a linear VAE from a random start at each noise, and count the latents it uses.

        Args:
            eigenvalues: λ_1 ≥ … ≥ λ_D.
            latents: q.
            noises: The values of σ².
            beta: β.
            seed: Of the starts.
        """
        spectrum = torch.tensor(eigenvalues, dtype=torch.float64)
        x, claims, active, likelihoods = axis_points(spectrum), [], [], []
        for noise in noises:
            with seeded(seed, x.device):
                vae = self.train(x, latents, noise, beta)
            level = self.threshold(noise, beta)
            squares = torch.linalg.svdvals(weight(vae).detach()).square().sort(descending=True).values
            wanted = (spectrum[:latents] - level).clamp_min(0.0)
            active.append(int((squares > OPTIMISER * spectrum[0]).sum()))
            model = torch.maximum(spectrum, spectrum.new_tensor(level)) - level + noise
            model[latents:] = noise
            likelihood = -0.5 * (torch.log(2 * math.pi * model) + spectrum / model).sum().item()
            likelihoods.append(round(likelihood, 6))
            normal = MultivariateNormal(x.new_zeros(x.shape[1]), marginal_covariance(vae).detach())
            value = normal.log_prob(x - affine(vae.decoder).bias.detach()).mean().item()
            claims += [
                Claim(f"σ² = {noise:g}: |‖w_i‖² − (λ_i − βσ²)₊|, worst", (squares - wanted).abs().max().item(), 0.0,
                      OPTIMISER * eigenvalues[0]),
                Claim(f"σ² = {noise:g}: latents used = eigenvalues above βσ²", float(active[-1]),
                      float((spectrum[:latents] > level).sum()), 0.0),
                Claim(f"σ² = {noise:g}: log p = its spectral formula", value, likelihood, OPTIMISER),
            ]  # fmt: skip
        noise = noises[0]
        for i in (0, spectrum.shape[0] - 1):
            slope = (eigenvalues[i] - self.threshold(noise, beta)) / (beta * noise**2)
            found = self.curvature(spectrum, i, noise, beta)
            claims.append(
                Claim(f"curvature of the bound at w = 0 along axis {i + 1}", found, slope, CURVATURE)
            )
        return self.evidence(*claims, active=active, log_likelihood=likelihoods)

    def train(self, x: Tensor, latents: int, noise: float, beta: float) -> VAE:
        """Return the linear VAE of fixed noise that maximises the bound in closed form."""
        vae = linear_vae(x.shape[1], latents).double()
        head(vae).set_sigma(math.sqrt(noise))
        free = [p for part in (vae.encoder, vae.decoder) for p in part.parameters()]
        optimizer = torch.optim.LBFGS(
            free, max_iter=1000, tolerance_grad=1e-9, tolerance_change=0.0, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = -self.bound(vae, x, beta).mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        return vae

    def bound(self, vae: VAE, x: Tensor, beta: float) -> Tensor:
        """Return E_q log p(x | z) − β KL(q ‖ p) of a linear VAE in closed form, shape (N,), in nats."""
        return elbo(vae, x) - (beta - 1) * rate(vae, x)

    def curvature(self, spectrum: Tensor, axis: int, noise: float, beta: float) -> float:
        """Return the second derivative of the bound in the length of one column at 0, the best encoder for each."""
        x, d = axis_points(spectrum), spectrum.shape[0]

        def profile(a: Tensor) -> Tensor:
            total = a.square() + beta * noise  # q = N(a x_i / total, βσ² / total), the best for this a
            m, variance = a * x[:, axis] / total, beta * noise / total
            square = (
                x.square().sum(1)
                - x[:, axis].square()
                + (x[:, axis] - a * m).square()
                + a.square() * variance
            )
            kl = 0.5 * (m.square() + variance - 1 - variance.log())
            return (-square / (2 * noise) - beta * kl).mean() - 0.5 * d * math.log(2 * math.pi * noise)

        at = torch.zeros((), dtype=spectrum.dtype)
        return torch.as_tensor(torch.autograd.functional.hessian(profile, at)).item()

    def figure(
        self,
        *,
        eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5),
        latents: int = 3,
        beta: float = 1.0,
    ) -> Figure:
        """Draw the length of each column, and the number of latents used, against the noise."""
        noise = torch.linspace(0.05, 1.25 * eigenvalues[0] / beta, 300, dtype=torch.float64)
        with style():
            fig = figure(7.4, 3.0)
            left, right = fig.subplots(1, 2, sharex=True)
            for i, value in enumerate(eigenvalues[:latents]):
                square = (value - torch.tensor([self.threshold(float(v), beta) for v in noise])).clamp_min(0)
                left.plot(noise, square, color=COLOURS[i], label=f"λ = {value:g}")
            used = [sum(v > self.threshold(float(n), beta) for v in eigenvalues[:latents]) for n in noise]
            right.step(noise, used, color=COLOURS[0], where="post")
            for axes in (left, right):
                for value in eigenvalues[:latents]:
                    axes.axvline(value / beta, color=GREY, linewidth=0.8, linestyle=":")
                axes.set_xlabel("noise σ²")
            left.set_title(f"‖w_i‖² at the maximum, β = {beta:g}")
            right.set_title("latents used")
            left.legend()
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Count the axes that a fitted linear VAE uses against the eigenvalues of the data.

        An eigenvalue within four standard errors λ √(2/N) of βσ² may go either way.

        Raises:
            UnsupportedQueryError: The VAE is not linear.
            NotFittedError: It was never fitted.
        """
        vae = as_linear_vae(self, a)
        self.require_fitted(vae)
        x, _ = vae.check_batch(data)
        rows = x.double() - x.double().mean(0)
        values = torch.linalg.svdvals(rows).square()[: vae.latents] / x.shape[0]
        beta = _beta(vae)
        noise = scale(vae).square().item()
        level, doubt = self.threshold(noise, beta), ERRORS * math.sqrt(2 / x.shape[0])
        squares = torch.linalg.svdvals(weight(vae).detach()).square().double()
        used = float((squares > 0.01 * noise).sum())
        sure, possible = ((values * (1 + sign * doubt) > level).sum().item() for sign in (-1, 1))
        return self.evidence(
            Claim("latents used ≥ eigenvalues clearly above βσ²", used, float(sure), 0.0, sense="≥"),
            Claim("latents used ≤ eigenvalues perhaps above βσ²", used, float(possible), 0.0, sense="≤"),
            noise=f"σ² = {noise:.4g}, β = {beta:g}",
            eigenvalues=[float(f"{v:.4g}") for v in values.tolist()],
            squared_lengths=[float(f"{v:.4g}") for v in squares.tolist()],
        )


def _beta(vae: VAE) -> float:
    beta = getattr(vae.objective, "beta", 1.0)
    return float(beta.final if isinstance(beta, Annealing) else beta)
