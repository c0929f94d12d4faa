r"""A flow in one dimension is the inverse distribution function; an autoregressive one is Rosenblatt's map.

Notation: g from data to noise z ~ N(0, 1). The negative log-likelihood E[−log φ(g(x)) − log g'(x)] exceeds the entropy
of the data by KL(p ‖ model), and is equal to it for the increasing map g = Φ⁻¹ ∘ F, F the distribution function of
the data. In several dimensions z_i = Φ⁻¹(F_i(x_i | x_{<i})) does the same with a triangular Jacobian. Without log g'
the best g is constant: what is then trained is no density.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unigen.densities.flow import FlowProgram
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9  # of float64 sums of some hundred terms of order one
TRAPEZOID = 1e-4  # of the distribution function of a program, on some thousand points
ROWS = 1000


def log_normal(z: Tensor) -> Tensor:
    """Log density of N(0, 1), the shape of z."""
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


class InverseCDF(Relation):
    """The best flow of one variable carries it to noise through the two distribution functions."""

    id = 18
    name = "flow – inverse CDF"
    families = ("FlowProgram",)
    statement = "the best flow of one variable is F_noise⁻¹ ∘ F_data; of several, one given the last, Rosenblatt's map"
    latex = r"g = \Phi^{-1}\circ F, \quad \mathbb{E}[-\log\varphi(g(x)) - \log g'(x)] = H(p)"
    source = "Rosenblatt 1952; Papamakarios et al. 2021"
    assumptions = ("for a program: one feature, no context", "the flow is free to be any increasing map")

    def check(self, *, scale: float = 1.0, point: float = 1.0) -> Evidence:
        """Carry Laplace data to a normal, compare its likelihood with those of other maps, and add a second variable.

        Args:
            scale: b of the data's density exp(−|x|/b)/2b.
            point: x where g is reported.
        """
        node, weight = (
            torch.from_numpy(v) for v in np.polynomial.laguerre.laggauss(60)
        )  # E over |x|/b ~ Exp(1)
        x = torch.cat([-scale * node, scale * node])
        w = torch.cat([weight, weight]) / 2
        entropy = 1 + math.log(2 * scale)
        at = torch.tensor([point], dtype=torch.float64)
        best = self.loss(x, w, lambda v: self.map(v, scale))
        others = {
            "0.7 g": lambda v: 0.7 * self.map(v, scale),
            "g + 0.2": lambda v: self.map(v, scale) + 0.2,
            "g + 0.3 tanh g": lambda v: self.map(v, scale) + 0.3 * self.map(v, scale).tanh(),
        }
        claims = [Claim("E[−log φ(g) − log g'] = entropy 1 + log 2b", best, entropy, ROUNDING)]
        claims += [
            Claim(f"the loss of {name} ≥ the entropy", self.loss(x, w, g), entropy, 0.0, sense="≥")
            for name, g in others.items()
        ]
        return self.evidence(
            *claims, *self._rosenblatt(scale), g_at_the_point=round(float(self.map(at, scale)), 6),
            without_log_derivative=round(float((w * -log_normal(0.7 * self.map(x, scale))).sum()), 6),
        )  # fmt: skip

    def map(self, x: Tensor, scale: float) -> Tensor:
        """Return g(x) = Φ⁻¹(F(x)) for Laplace data, without loss in either tail."""
        tail = torch.special.ndtri(0.5 * torch.exp(-x.abs() / scale))
        return -x.sign() * tail

    def log_det(self, slope: Tensor) -> Tensor:
        """Return log g'."""
        return slope.log()

    def loss(self, x: Tensor, weight: Tensor, g: Callable[[Tensor], Tensor]) -> float:
        """Return E[−log φ(g(x)) − log g'(x)] by quadrature, in nats."""
        x = x.clone().requires_grad_(True)
        z = g(x)
        slope = torch.autograd.grad(z.sum(), x)[0]
        return float((weight * (-log_normal(z) - self.log_det(slope))).sum().detach())

    def second(self, x: Tensor) -> Tensor:
        """Return Φ⁻¹(F(x_2 | x_1)) for x_2 | x_1 ~ N(x_1²/2, e^{x_1/2})."""
        return (x[1] - x[0].square() / 2) / torch.exp(x[0] / 4)

    def _rosenblatt(self, scale: float) -> list[Claim]:
        """Compare the density of two dependent variables with the change of variables by Rosenblatt's map."""
        points = torch.tensor([[-1.5, 2.0], [0.4, -0.6], [2.0, 1.0]], dtype=torch.float64)

        def transform(v: Tensor) -> Tensor:
            return torch.stack([self.map(v[:1], scale)[0], self.second(v)])

        j = torch.stack([torch.autograd.functional.jacobian(transform, v) for v in points])
        z = torch.stack([transform(v) for v in points])
        flow = log_normal(z).sum(1) + torch.linalg.slogdet(j)[1]
        first, mean, spread = points[:, 0], points[:, 0].square() / 2, points[:, 0] / 4
        truth = (
            -first.abs() / scale
            - math.log(2 * scale)
            + log_normal((points[:, 1] - mean) / spread.exp())
            - spread
        )
        return [
            Claim("Rosenblatt: log φ(z) + log |det J| = log p(x_1) p(x_2 | x_1), worst",
                  (flow - truth).abs().max().item(), 0.0, ROUNDING),
            Claim("Rosenblatt: largest |∂z_1/∂x_2|", j[:, 0, 1].abs().max().item(), 0.0, 0.0),
        ]  # fmt: skip

    def figure(self, *, scale: float = 1.0, point: float = 2.5) -> Figure:
        """Draw both distribution functions, the map between them at a point, and the map itself."""
        x = torch.linspace(-5.0, 5.0, 401, dtype=torch.float64)
        data = torch.where(x < 0, 0.5 * torch.exp(x / scale), 1 - 0.5 * torch.exp(-x / scale))
        at = torch.tensor([point], dtype=torch.float64)
        z, level = float(self.map(at, scale)), float(torch.special.ndtr(self.map(at, scale)))
        with style():
            fig = figure(7.4, 3.1)
            left, right = fig.subplots(1, 2)
            left.plot(x, data, label="F of the data (Laplace)")
            left.plot(x, torch.special.ndtr(x), label="Φ of the noise")
            left.plot([point, point, z, z], [0, level, level, 0], ":", color=GREY, linewidth=1.0)
            left.set(xlabel="x, z", title=f"equal levels: x = {point:g} ↦ z = {z:.4f}")
            left.legend(loc="upper left")
            right.plot(x, self.map(x, scale), color=COLOURS[2], label="g = Φ⁻¹ ∘ F")
            right.plot(x, x, "--", color=GREY, linewidth=0.9, label="identity")
            right.set(xlabel="x", ylabel="z", title="the flow")
            right.legend()
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Compare a flow of one feature with the distribution function that its own density integrates to.

        How far the data are from uniform under it says how well it is fitted, and is reported.

        Raises:
            UnsupportedQueryError: More than one feature, or a conditional flow.
        """
        if not isinstance(a, FlowProgram) or a.context_features or tuple(a.event_shape) != (1,):
            raise self.refuse(self.assumptions[0], a, hint="relation(16): what holds for several features")
        own = copy.deepcopy(a).double()
        z = torch.linspace(-7.0, 7.0, 6001, dtype=torch.float64)[:, None]
        x = own.from_noise(z)
        x, z = x[:, 0], z[:, 0]
        direction = 1.0 if x[-1] > x[0] else -1.0
        p = own.log_prob(x[:, None]).value.detach().exp()
        by_density = torch.cat([z.new_zeros(1), torch.cumulative_trapezoid(p, direction * x)])
        by_flow = torch.special.ndtr(z)
        rows, _ = own.check_batch(data[:ROWS])
        level = torch.special.ndtr(own.to_noise(rows)[:, 0]).sort().values
        steps = torch.arange(1, level.shape[0] + 1, dtype=level.dtype) / level.shape[0]
        distance = (
            torch.maximum((steps - level).abs(), (steps - 1 / level.shape[0] - level).abs()).max().item()
        )
        smallest = (direction * x.diff()).min().item()
        return self.evidence(
            Claim("Φ(g(x)) = the integral of the density up to x, worst", (by_density - by_flow).abs().max().item(),
                  0.0, TRAPEZOID),
            Claim("g is monotone: smallest step of x", smallest, 0.0, 0.0, sense="≥"),
            kolmogorov_distance_of_the_data=f"{distance:.3g} (a perfect fit: about {0.87 / level.shape[0] ** 0.5:.2g})",
        )  # fmt: skip
