r"""The Schrödinger bridge and optimal transport: the entropic plan between no noise and too much of it.

Notation: ends p_0, p_1, reference Brownian motion of scale sigma, plan π(x_0, x_1) = φ̂(x_0) N(x_1; x_0, sigma²) φ(x_1)
with these marginals: argmin E_π ½‖x_0 − x_1‖² + sigma² KL(π ‖ p_0 ⊗ p_1). Between the ends x_t has the density φ̂_t φ_t,
the potentials carried by the heat equation, and the process is Markov with drift sigma² ∇ log φ_t. For N(0, a) and
N(0, b) the plan is Gaussian with covariance C = ½ ((4ab + sigma⁴)^½ − sigma²), which tends to that of optimal
transport, (ab)^½, as sigma → 0, and to independence as sigma → ∞. The bridge of any other coupling has the right ends
too, but its Markovian projection couples them differently.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.dynamics.reference import BrownianMotion
from unigen.dynamics.solvers import integrate_ode
from unigen.models.schroedinger_bridge import SchroedingerBridge
from unigen.plots.style import COLOURS, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUADRATURE = 1e-7  # of trapezoid sums over smooth densities, and of Sinkhorn's iterations
SOLVER = 1e-6  # of the linear equations, stopped 10⁻⁷ before the end
ROWS, SWEEPS = 400, 1000


class BridgeTransport(Relation):
    """A Schrödinger bridge couples its ends by the entropic plan, and is Markov."""

    id = 26
    name = "Schrödinger bridge – OT"
    families = ("SchroedingerBridge",)
    statement = (
        "the bridge couples its ends by the entropic plan: optimal transport as σ → 0, independence as σ → ∞"
    )
    latex = r"\pi = \arg\min \mathbb{E}_\pi \tfrac12\|x_0 - x_1\|^2 + \sigma^2 \mathrm{KL}(\pi\,\|\,p_0 \otimes p_1)"
    source = "Léonard 2014; De Bortoli et al. 2021"
    assumptions = ("the reference is Brownian motion", "the bridge is fitted by iterative Markovian fitting")

    def check(
        self, *, sigma: float = 1.0, scale: float = 1.0, centre: float = 2.0, std: float = 0.35, target: float = 0.45,
        noise: float = 0.6, points: int = 301,
    ) -> Evidence:  # fmt: skip
        """Couple two Gaussians in closed form and two modes with one by Sinkhorn's iterations, and follow the bridge.

        Args:
            sigma: Noise between N(0, 1) and N(0, scale²).
            scale: Of the second Gaussian.
            centre: m of ½N(±m, std²), to be coupled with N(0, target²).
            std: Of its modes.
            target: Of the other end.
            noise: σ between them.
            points: Of each grid.
        """
        a, b, c = 1.0, scale**2, self.covariance(1.0, scale**2, sigma)
        x = torch.linspace(-8.0, 8.0, points, dtype=torch.float64)
        grid = self.plan(x, _normal(x, 1.0), x * scale, _normal(x * scale, scale), sigma)
        variance, end = self.markov(a, b, c, sigma)
        x_0 = torch.linspace(-centre - 8 * std, centre + 8 * std, points, dtype=torch.float64)
        x_1 = torch.linspace(-8 * target, 8 * target, points, dtype=torch.float64)
        p_0, p_1 = 0.5 * (_normal(x_0 - centre, std) + _normal(x_0 + centre, std)), _normal(x_1, target)
        pi = self.plan(x_0, p_0, x_1, p_1, noise)
        v_0, v_1, cov = self.moments(pi, x_0, x_1)
        halfway = 0.25 * (v_0 + v_1 + 2 * cov + noise**2)
        small, large = 0.01, 100.0
        return self.evidence(
            Claim("Gaussians: covariance by Sinkhorn on a grid = closed form", self.moments(grid, x, x * scale)[2], c,
                  QUADRATURE),
            Claim("σ → 0: ½ E‖x_0 − x_1‖² → ½ W₂²", 0.5 * (a + b) - self.covariance(a, b, small),
                  0.5 * (1 - scale) ** 2, small**2),
            Claim("σ → ∞: covariance → 0", self.covariance(a, b, large), 0.0, 2 * a * b / large**2),
            Claim("Markov drift: variance at t = 1", variance, b, SOLVER),
            Claim("Markov drift: covariance of x_0 and x_1 = that of the plan", end, c, SOLVER),
            Claim("modes: Var x_½ by the plan = by the potentials", halfway,
                  self.by_potentials(x_0, p_0, x_1, p_1, noise), QUADRATURE),
            covariance=round(c, 6), correlation_of_the_modes=round(cov / math.sqrt(v_0 * v_1), 6),
            variance_halfway=round(halfway, 6),
        )  # fmt: skip

    def covariance(self, a: float, b: float, sigma: float) -> float:
        """Return C, the covariance of the ends of the bridge between N(0, a) and N(0, b)."""
        return 2 * a * b / (math.sqrt(4 * a * b + sigma**4) + sigma**2)

    def plan(self, x: Tensor, p: Tensor, y: Tensor, q: Tensor, sigma: float) -> Tensor:
        """Return the probabilities of pairs of grid points, (N, M)."""
        f, g, kernel = potentials(x, p, y, q, sigma)
        return torch.exp(f[:, None] + kernel + g)

    def moments(self, pi: Tensor, x: Tensor, y: Tensor) -> tuple[float, float, float]:
        """Return Var x_0, Var x_1 and their covariance under a plan."""
        row, column = pi.sum(1), pi.sum(0)
        m, n = row @ x, column @ y
        cross = (x - m) @ pi @ (y - n)
        return float(row @ (x - m).square()), float(column @ (y - n).square()), float(cross)

    def markov(self, a: float, b: float, c: float, sigma: float) -> tuple[float, float]:
        """Return Var x_1 and Cov(x_0, x_1) of the Markov process with the drift (E[x_1 | x_t] − x_t)/(1 − t).

        The bridges of a Gaussian coupling with covariance c have x_t = (1 − t) x_0 + t x_1 + σ √(t (1 − t)) ε.
        """

        def rate(t: Tensor, state: Tensor) -> Tensor:
            v = (1 - t) ** 2 * a + t**2 * b + 2 * t * (1 - t) * c + sigma**2 * t * (1 - t)
            k = (((1 - t) * c + t * b) / v - 1) / (1 - t)
            return torch.stack([2 * k * state[0] + sigma**2, k * state[1]])

        start = torch.tensor([a, a], dtype=torch.float64)
        variance, cross = integrate_ode(rate, start, 0.0, 1 - 1e-7, 1e-10, 1e-10).value.tolist()
        return variance, cross

    def by_potentials(self, x: Tensor, p: Tensor, y: Tensor, q: Tensor, sigma: float) -> float:
        """Return Var x_½ from the density φ̂_½ φ_½, both potentials carried half the way by the heat equation."""
        f, g, _ = potentials(x, p, y, q, sigma)
        low, high = min(x[0], y[0]) - 4 * sigma, max(x[-1], y[-1]) + 4 * sigma
        z = torch.linspace(float(low), float(high), 801, dtype=torch.float64)
        forward, backward = (
            torch.logsumexp(w - (z[:, None] - at).square() / sigma**2, 1) for w, at in ((f, x), (g, y))
        )
        density = torch.softmax(forward + backward, 0)
        mean = density @ z
        return float(density @ (z - mean).square())

    def figure(self, *, centre: float = 2.0, std: float = 0.35, target: float = 0.45) -> Figure:
        """Draw the plans of little, some and much noise."""
        x = torch.linspace(-centre - 4 * std, centre + 4 * std, 121, dtype=torch.float64)
        y = torch.linspace(-4 * target, 4 * target, 121, dtype=torch.float64)
        p, q = 0.5 * (_normal(x - centre, std) + _normal(x + centre, std)), _normal(y, target)
        with style():
            fig = figure(9.4, 2.9)
            panels = fig.subplots(1, 4, width_ratios=(1, 1, 1, 1.2))
            for axes, sigma in zip(panels, (0.3, 0.6, 2.0), strict=False):
                pi = self.plan(x, p, y, q, sigma)
                v_0, v_1, c = self.moments(pi, x, y)
                axes.contour(x.numpy(), y.numpy(), pi.T.numpy(), levels=7, colors=COLOURS[0], linewidths=0.8)
                axes.set(xlabel="x_0", title=f"σ = {sigma:g}: correlation {c / math.sqrt(v_0 * v_1):.2f}")
            panels[0].set_ylabel("x_1")
            scales = torch.logspace(-1.5, 1.5, 60).tolist()
            panels[3].semilogx(scales, [self.covariance(1.0, 1.0, s) for s in scales], color=COLOURS[1])
            panels[3].set(xlabel="σ", title="covariance, unit Gaussians")
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Carry data over a fitted bridge, and compare how it couples them with the entropic plan of samples.

        Equality is claimed up to sampling error and .1 of the spreads, the share of steps, networks and samples.

        Raises:
            UnsupportedQueryError: The reference is not Brownian motion.
            NotFittedError: The bridge was never fitted.
        """
        if not isinstance(a, SchroedingerBridge) or not isinstance(a.bridge.reference, BrownianMotion):
            raise self.refuse(self.assumptions[0], a)
        self.require_fitted(a)
        x, _ = a.check_batch(data[:ROWS])
        z = a.transport(x, seed=0).double()
        with seeded(0, a.device):
            y = a.draw_prior(x.shape[0]).double()
        x = x.double()
        u, v, w = x - x.mean(0), y - y.mean(0), z - z.mean(0)
        weights = x.new_full((x.shape[0],), 1 / x.shape[0])
        cost = 0.5 * (u[:, None] - v).square().sum(-1)
        f, g = sinkhorn(-cost / a.bridge.reference.sigma**2, weights, weights)
        pi = torch.exp(f[:, None] - cost / a.bridge.reference.sigma**2 + g)
        wanted, each = float(((pi @ v) * u).sum()), (u * w).sum(1)
        spread = math.sqrt(float(u.square().sum(1).mean() * v.square().sum(1).mean()))
        stderr = 1.5 * each.std().item() / math.sqrt(x.shape[0])  # as much again from the samples of the plan
        return self.evidence(
            statistical("mean product of the ends: bridge = entropic plan", each.mean().item(), wanted, stderr,
                        bias=0.1 * spread),
            spread=f"{spread:.4g}", independent=0.0,
        )  # fmt: skip


def sinkhorn(kernel: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Return f, g such that exp(f + kernel + g) has the marginals p (N,) and q (M,), iterating on logarithms."""
    log_p, log_q = p.clamp_min(1e-300).log(), q.clamp_min(1e-300).log()
    g = torch.zeros_like(log_q)
    for _ in range(SWEEPS):
        f = log_p - torch.logsumexp(kernel + g, 1)
        new = log_q - torch.logsumexp(kernel + f[:, None], 0)
        if float((new - g).abs().max()) < 1e-11:
            return log_p - torch.logsumexp(kernel + new, 1), new
        g = new
    return log_p - torch.logsumexp(kernel + g, 1), g


def potentials(x: Tensor, p: Tensor, y: Tensor, q: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return log φ̂ and log φ on the grids, with their probabilities, and the kernel −(x − y)²/2σ²."""
    kernel = -(x[:, None] - y).square() / (2 * sigma**2)
    return *sinkhorn(kernel, p / p.sum(), q / q.sum()), kernel


def _normal(x: Tensor, std: float) -> Tensor:
    return torch.exp(-0.5 * (x / std).square()) / (std * math.sqrt(2 * math.pi))
