r"""Flow and VAE: with a bijective decoder and its inverse as the encoder the ELBO is the change of variables.

Notation: f from noise to data, g = f⁻¹, J = ∂g/∂x, p(z) = N(0, I). The VAE with decoder N(f(z), σ²I) and encoder
q(z | x) = N(g(x), σ² J Jᵀ), whose draws are g(x) + σ J ε, has

    ELBO_σ(x) = E log p(g(x) + σJε) + log |det J| + ½ D − E ‖x − f(g(x) + σJε)‖² / 2σ²  →  log p(g(x)) + log |det J|

as σ → 0, where q is δ(g(x)): the density of the flow, with no gap. The error is of order σ² where f is smooth.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unigen.densities.flow import FlowProgram
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUADRATURE = 1e-9  # of a Gauss–Hermite sum of 60 nodes over a smooth function
ROWS, DRAWS = 8, 256
SWEEP = (0.08, 0.04, 0.02, 0.01)


class SinhFlow:
    """x = f(z) = sinh(bend z)/bend, a flow in one dimension with heavy tails; the identity as bend → 0."""

    def __init__(self, bend: float) -> None:
        self.bend = bend

    def to_data(self, z: Tensor) -> Tensor:
        """f(z)."""
        return torch.sinh(self.bend * z) / self.bend

    def to_noise(self, x: Tensor) -> Tensor:
        """g(x)."""
        return torch.asinh(self.bend * x) / self.bend

    def slope(self, x: Tensor) -> Tensor:
        """g'(x)."""
        return (1 + (self.bend * x).square()).rsqrt()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of x = f(z), z ~ N(0, 1)."""
        return -0.5 * self.to_noise(x).square() - 0.5 * math.log(2 * math.pi) + self.slope(x).log()


class FlowVAE(Relation):
    """A flow is the limit of VAEs whose decoder is a bijection and whose encoder inverts it."""

    id = 19
    name = "flow – VAE"
    families = ("FlowProgram", "VAE")
    statement = "with q = δ(f⁻¹(x)) the ELBO is the change of variables, without gap: a flow is a limit of VAEs, σ → 0"
    latex = r"\lim_{\sigma\to 0} \mathrm{ELBO}_\sigma(x) = \log p(f^{-1}(x)) + \log|\det \partial f^{-1}/\partial x|"
    source = "Nielsen et al. 2020"
    assumptions = ("the decoder is a bijection of vectors, and the encoder its inverse",)

    def check(
        self,
        *,
        bend: float = 0.8,
        points: tuple[float, ...] = (-1.5, 0.3, 2.0),
        noises: tuple[float, ...] = SWEEP,
    ) -> Evidence:
        """Let the noise of a VAE around x = sinh(bend z)/bend fall, and compare its ELBO with the flow's density.

        Args:
            bend: Non-linearity of the flow.
            points: The values of x.
            noises: The values of σ, falling by halves.
        """
        flow, x = SinhFlow(bend), torch.tensor(points, dtype=torch.float64)
        exact = flow.log_prob(x)
        gaps = torch.stack([self.bound(flow, x, noise) - exact for noise in noises])
        mass = torch.linspace(-13.0, 13.0, 8001, dtype=torch.float64)
        own = torch.stack([self.evidence_of(flow, x, noise, mass) for noise in noises])
        last, half = gaps[-1].abs().max().item(), gaps[-2].abs().max().item()
        extrapolated = ((4 * gaps[-1] - gaps[-2]) / 3).abs().max().item()
        slack = 100 * noises[-1] ** 4 * (1 + bend) ** 4
        return self.evidence(
            Claim("order in σ of |ELBO − log p|", math.log2(half / last), 2.0, 0.02),
            Claim("limit of ELBO − log p by extrapolation, worst", extrapolated, 0.0, slack),
            Claim("ELBO_σ ≤ log p_σ(x) of the VAE itself, worst", (gaps + exact - own).max().item(), 0.0, QUADRATURE,
                  sense="≤"),
            Claim("the VAE's own gap at the last σ, worst", (own[-1] - gaps[-1] - exact).max().item(), 0.0,
                  10 * noises[-1] ** 2),
            log_prob=[round(v, 6) for v in exact.tolist()],
            gaps={f"{s:g}": round(g.abs().max().item(), 8) for s, g in zip(noises, gaps, strict=True)},
        )  # fmt: skip

    def bound(self, flow: SinhFlow, x: Tensor, noise: float) -> Tensor:
        """Return ELBO_σ of each x by Gauss–Hermite quadrature, in nats."""
        node, weight = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(60))
        weight, slope = weight / weight.sum(), flow.slope(x)
        z = flow.to_noise(x)[:, None] + noise * slope[:, None] * node
        prior = -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
        residual = (x[:, None] - flow.to_data(z)).square() / (2 * noise**2)
        return (weight * (prior - residual)).sum(1) + 0.5 + self.log_det(slope)

    def log_det(self, slope: Tensor) -> Tensor:
        """Return log |det ∂f⁻¹/∂x|, the entropy of q relative to that of the noise."""
        return slope.log()

    def evidence_of(self, flow: SinhFlow, x: Tensor, noise: float, z: Tensor) -> Tensor:
        """Return log ∫ N(z; 0, 1) N(x; f(z), σ²) dz by the trapezoid rule on u = x − f(z), in nats."""
        u = noise * z[:, None]
        value = flow.log_prob(x - u) - 0.5 * z[:, None].square() - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(value, 0) + math.log(z[1] - z[0])

    def figure(self, *, bend: float = 0.8) -> Figure:
        """Draw the flow's log density with the bounds of the VAEs around it, and their gap as σ falls."""
        flow, x = SinhFlow(bend), torch.linspace(-4.0, 4.0, 161, dtype=torch.float64)
        noises = torch.logspace(-2, 0, 15).tolist()
        gaps = [(flow.log_prob(x) - self.bound(flow, x, noise)).abs().max().item() for noise in noises]
        with style():
            fig = figure(7.4, 3.1)
            left, right = fig.subplots(1, 2)
            left.plot(x, flow.log_prob(x), color=COLOURS[9], label="log p of the flow")
            for i, noise in enumerate((0.8, 0.4, 0.2)):
                left.plot(
                    x,
                    self.bound(flow, x, noise),
                    color=COLOURS[i],
                    linewidth=1.1,
                    label=f"ELBO, σ = {noise:g}",
                )
            left.set(xlabel="x", ylabel="nats", title="VAEs around a flow")
            left.legend()
            right.loglog(noises, gaps, "o-", markersize=3, label="largest |ELBO − log p|")
            right.loglog(
                noises, [v * v for v in noises], "--", color=GREY, linewidth=0.9, label="proportional to σ²"
            )
            right.set(xlabel="σ", title="the gap closes")
            right.legend()
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Take a flow for the decoder of a VAE with little noise, and compare that VAE's ELBO with the flow's density.

        The VAE given enters with its own bound, for comparison.

        Raises:
            UnsupportedQueryError: The flow is conditional, or not on vectors.
        """
        if not isinstance(a, FlowProgram) or a.context_features or len(a.event_shape) != 1:
            raise self.refuse("an unconditional flow on vectors", a)
        own = copy.deepcopy(a).double()
        x, _ = own.check_batch(data[:ROWS])
        exact, claims = own.log_prob(x).value.detach(), []
        for noise in (1e-2, 1e-3):
            with seeded(0, own.device), evaluating(own):
                value = self.bound_of(own, x, noise)
            error = value.std(0).mean().item() / math.sqrt(DRAWS)
            claims.append(
                statistical(f"ELBO with σ = {noise:g} of the spread = log p of the flow", value.mean().item(),
                            exact.mean().item(), error, bias=10 * noise * x.shape[1])
            )  # fmt: skip
        rows, _ = b.check_batch(data[:ROWS])
        return self.evidence(*claims, log_prob_of_the_flow=str(a.log_prob(data[:ROWS]).mean()),
                             bound_of_the_VAE=str(b.log_prob(rows).mean()))  # fmt: skip

    def bound_of(self, flow: FlowProgram, x: Tensor, noise: float) -> Tensor:
        """Return draws of ELBO_σ, σ in units of the data's spread, shape (S, N); ½D by its estimate, which cancels."""
        transform = flow.flow.transform(None)
        sigma = noise * x.std().clamp_min(1e-3).item()

        def g(v: Tensor) -> Tensor:
            return transform(v[None])[0]  # pyright: ignore[reportOptionalSubscript]

        jacobian = torch.stack([torch.autograd.functional.jacobian(g, row) for row in x])
        eps = torch.randn(DRAWS, *x.shape, dtype=x.dtype)
        z = flow.to_noise(x) + sigma * (jacobian @ eps[..., None])[..., 0]
        back = flow.from_noise(z.flatten(0, 1)).reshape(z.shape)
        prior = -0.5 * z.square().sum(-1) - 0.5 * x.shape[1] * math.log(2 * math.pi)
        residual = 0.5 * eps.square().sum(-1) - (x - back).square().sum(-1) / (2 * sigma**2)
        return prior + residual + torch.linalg.slogdet(jacobian)[1]
