r"""Fisher's identity: the score of a marginal is the posterior mean of the conditional's score.

Notation: p(x) = ∫ p(x | z) p(z) dz, s(x) = ∇ log p(x). Differentiating under the integral,

    s(x) = ∫ ∇p(x | z) p(z) dz / p(x) = E_{p(z | x)} ∇ log p(x | z),

for PPCA (W E[z | x] + μ − x)/σ² = −C⁻¹(x − μ), C = WWᵀ + σ²I. With self-normalised weights w ∝ p(x, z)/q(z | x) any
guide estimates the right side.
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
from unigen.queries import evaluating, seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.ppca_vae import axis_points
from unigen.relations.relation import Relation
from unigen.traces import log_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9  # of float64 sums of some hundred terms of order one
ROWS, BATCHES, SAMPLES = (
    4,
    200,
    256,
)  # examples on a program, independent estimates each, samples of an estimate


def curve(z: Tensor) -> Tensor:
    """Decoder of the non-linear example, x | z ~ N(z + sin 2z, noise²)."""
    return z + torch.sin(2 * z)


class LatentScore(Relation):
    """The score of a latent-variable model is the posterior mean of the score given the latent."""

    id = 7
    name = "latent variables – score"
    families = ("Program",)
    statement = "∇ log p(x) is the posterior mean of ∇ log p(x | z)"
    latex = r"\nabla_x \log p(x) = \mathbb{E}_{p(z\mid x)} \nabla_x \log p(x\mid z)"
    source = "Fisher's identity; Efron 2011"
    assumptions = (
        "a latent variable for each example, with a guide",
        "p(x | z) is differentiable in x",
        "for the comparison: log p(x) is known exactly",
    )

    def check(
        self,
        *,
        eigenvalues: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5, 0.5),
        latents: int = 2,
        noise: float = 0.3,
    ) -> Evidence:
        """Compare both sides for PPCA in closed form, and for a non-linear decoder by quadrature.

        Args:
            eigenvalues: λ_1 ≥ … ≥ λ_D of PPCA's data.
            latents: q.
            noise: Standard deviation of the non-linear example.
        """
        spectrum = torch.tensor(eigenvalues, dtype=torch.float64)
        x = axis_points(spectrum)
        ppca = PPCA(x.shape[1], latents).double()
        ppca.solve(x)
        with torch.no_grad():
            x, w = x + 0.1, ppca.weight
            covariance = w @ w.mT + ppca.variance * torch.eye(x.shape[1], dtype=x.dtype)
            closed = -torch.linalg.solve(covariance, (x - ppca.mean).mT).mT
            fisher = (self.latent_mean(ppca, x) @ w.mT + ppca.mean - x) / ppca.variance
        score, size = ppca.score(x), closed.norm().item()
        points = torch.linspace(-3.0, 3.0, 13, dtype=torch.float64)
        left, right = self.sides(points, noise)
        return self.evidence(
            Claim("PPCA: posterior mean of (Wz + μ − x)/σ² = −C⁻¹(x − μ), worst",
                  (fisher - closed).abs().max().item(), 0.0, ROUNDING),
            Claim("PPCA: gradient of its log p = −C⁻¹(x − μ), worst", (score - closed).abs().max().item(), 0.0,
                  ROUNDING),
            Claim("z + sin 2z: both sides by quadrature, worst", (left - right).abs().max().item(), 0.0, ROUNDING),
            norm_of_the_scores=round(size, 6),
        )  # fmt: skip

    def latent_mean(self, ppca: PPCA, x: Tensor) -> Tensor:
        """Return E[z | x], shape (N, q)."""
        return ppca.posterior(x).mean

    def sides(self, x: Tensor, noise: float) -> tuple[Tensor, Tensor]:
        """Return ∇ log p(x) by a complex step, and the posterior mean of ∇ log p(x | z), by quadrature over z."""
        z = torch.linspace(-8.0, 8.0, 4001, dtype=torch.float64)
        step = 1e-30
        residual = (x.to(torch.complex128) + 1j * step)[:, None] - curve(z)
        joint = torch.exp(-residual.square() / (2 * noise**2) - z.square() / 2).sum(1)
        weights = self.weigh(z, x[:, None] - curve(z), noise)
        return torch.log(joint).imag / step, (weights * (curve(z) - x[:, None]) / noise**2).sum(1)

    def weigh(self, z: Tensor, residual: Tensor, noise: float) -> Tensor:
        """Return p(z | x) on the grid, normalised, a row for each x."""
        return torch.softmax(-residual.square() / (2 * noise**2) - z.square() / 2, 1)

    def figure(self, *, noise: float = 0.3) -> Figure:
        """Draw the density of the non-linear example, and its score both ways."""
        x = torch.linspace(-3.5, 3.5, 113, dtype=torch.float64)
        z = torch.linspace(-8.0, 8.0, 4001, dtype=torch.float64)
        p = (torch.exp(-(x[:, None] - curve(z)).square() / (2 * noise**2) - z.square() / 2)).sum(1)
        p = p * (z[1] - z[0]) / (2 * math.pi * noise)
        left, right = self.sides(x, noise)
        with style():
            fig = figure(5.6, 3.8)
            top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=(1, 1.6))
            top.fill_between(x, 0 * p, p, color=COLOURS[0], alpha=0.3)
            top.set_title(f"p(x), x | z ~ N(z + sin 2z, {noise:g}²), z ~ N(0, 1)")
            bottom.plot(x, left, color=COLOURS[0], label="∇ log p(x)")
            bottom.plot(
                x[::8], right[::8], "o", color=COLOURS[1], markersize=4, label="E[∇ log p(x | z) | x]"
            )
            bottom.axhline(0.0, color=GREY, linewidth=0.8)
            bottom.set(xlabel="x", title="its score")
            bottom.legend()
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Compare the exact score of a program with the weighted mean of its conditional's, along random directions.

        Raises:
            UnsupportedQueryError: No local latent, a discrete x, or a log p(x) that is not known exactly.
        """
        if not any(site.local for site in a.structure.latents) or a.structure.shared or not a.has_posterior:
            raise self.refuse(self.assumptions[0], a)
        if a.structure.observed.discrete:
            raise self.refuse(self.assumptions[1], a)
        if not a.has_marginal or a.context_features:
            raise self.refuse(
                self.assumptions[2], a, hint="a family with a marginal: PPCA, FactorAnalysis, GaussianMixture"
            )
        own = copy.deepcopy(a).double()
        x, _ = own.check_batch(data[:ROWS])
        with seeded(0, own.device), evaluating(own):
            direction = torch.nn.functional.normalize(torch.randn_like(x).flatten(1), dim=1).reshape(x.shape)
            estimates = torch.stack([self.estimate(own, x, SAMPLES) for _ in range(BATCHES)])
        along = (estimates * direction).flatten(2).sum(-1)
        exact = (own.score(x) * direction).flatten(1).sum(-1)
        error = along.std(0) / math.sqrt(BATCHES)
        return self.evidence(
            *(
                statistical(f"example {i + 1}, along a random direction", along[:, i].mean().item(), exact[i].item(),
                            error[i].item(), bias=ROUNDING * (1 + abs(exact[i].item())))
                for i in range(x.shape[0])
            ),
            samples=BATCHES * SAMPLES,
        )  # fmt: skip

    def estimate(self, program: Program, x: Tensor, samples: int) -> Tensor:
        """Return Σ_k w_k ∇ log p(x | z_k) with self-normalised weights, the shape of x."""
        rows = x.detach().clone().requires_grad_(True)
        found = log_weights(
            functools.partial(program.model, rows, None, x.shape[0]),
            functools.partial(program.guide, x, None, x.shape[0]),
            samples=samples, nesting=program.structure.nesting,
        )  # fmt: skip
        if found.kind is not Kind.EXACT:
            raise self.refuse(f"exact densities at all sites (here {found.kind})", program)
        weights = self.normalise(found.local.detach())
        return torch.autograd.grad((weights * found.local).sum(), rows)[0]

    def normalise(self, log_w: Tensor) -> Tensor:
        """Return the weights w_k / Σ w of each example, shape (K, N)."""
        return torch.softmax(log_w, 0)
