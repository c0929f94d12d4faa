r"""Score matching: an objective without the data's score, whose least value is minus half a Fisher information.

    J(s) = E_p[½ ‖s‖² + ∇·s] = ½ E_p ‖s − ∇log p‖² − ½ E_p ‖∇log p‖²,

by parts, where p s vanishes at infinity. Without the divergence the least J is at s = 0, which is no score at all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.logprob import Kind
from unigen.models.potential import Potential
from unigen.objectives.score_matching import ScoreMatchingLoss
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import evaluating
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUADRATURE = 1e-8  # error of the trapezoid sums, seen by halving the step
ROWS = 2000


class ExplicitScoreMatching(Relation):
    """Score matching needs no normaliser, and its floor is minus half of the data's Fisher information."""

    id = 9
    name = "explicit score matching"
    families = ("Program",)
    statement = "E[½‖s‖² + ∇·s] is the Fisher divergence less half the Fisher information, so −½ of that at the optimum"
    latex = r"E_p[\tfrac12\|s\|^2 + \nabla\cdot s] = "
    latex += r"\tfrac12 E_p\|s - \nabla\log p\|^2 - \tfrac12 E_p\|\nabla\log p\|^2"
    source = "Hyvärinen 2005"
    assumptions = ("p s vanishes at infinity", "the program draws exactly from its own density")

    def check(self, *, distance: float = 1.0, variance: float = 0.1, temperature: float = 1.5) -> Evidence:
        """Integrate over two Gaussians at (±distance, 0): the floor, and the excess of a wrong energy.

        Args:
            distance: Of each centre from the origin.
            variance: Of each Gaussian.
            temperature: By which the wrong energy is divided.
        """
        x, p = _grid(distance, variance)
        truth, wrong = (_two_gaussians(distance, variance, t) for t in (1.0, temperature))
        own, other = truth.score(x), wrong.score(x)
        fisher = float((p * own.square().sum(1)).sum())
        apart = float((p * (other - own).square().sum(1)).sum())
        at_truth, at_wrong = (float((p * self.terms(program, x)).sum()) for program in (truth, wrong))
        scale = 1 + abs(fisher)
        return self.evidence(
            Claim("J at the truth = −½ Fisher information", at_truth, -0.5 * fisher, QUADRATURE * scale),
            Claim("J of a wrong energy = ½ E‖s − s_p‖² − ½ Fisher information", at_wrong, 0.5 * apart - 0.5 * fisher,
                  QUADRATURE * scale),
            Claim("it exceeds the floor", at_wrong, at_truth, 0.0, sense="≥"),
            floor=round(at_truth, 6),
        )  # fmt: skip

    def terms(self, program: Program, x: Tensor) -> Tensor:
        """Return ½ ‖s‖² + ∇·s at rows x, shape (N,)."""
        return ScoreMatchingLoss(program).terms(x).detach()

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Compare J with −½ E‖s‖² on the program's own draws, where it is at its floor; and report J on the data.

        Raises:
            UnsupportedQueryError: The program has no exact density, or x is discrete.
        """
        if a.kind is not Kind.EXACT or a.structure.observed.discrete or a.context_features:
            raise self.refuse(self.assumptions[1], a, hint="a flow, PPCA or a mixture")
        x, _ = a.check_batch(data[:ROWS])
        with evaluating(a):
            y = a.sample(ROWS, seed=0)
            terms, energy = self.terms(a, y).double(), 0.5 * a.score(y).flatten(1).square().sum(1).double()
            gap = terms + energy
            mean = [float(v.mean()) for v in (terms, -energy)]
            stderr, on_data = float(gap.std()) / math.sqrt(ROWS), float(self.terms(a, x).mean())
        return self.evidence(
            statistical("J = −½ E‖s‖² on draws of the program", mean[0], mean[1], stderr),
            on_the_data=round(on_data, 4),
        )

    def figure(self, *, distance: float = 1.0, variance: float = 0.1) -> Figure:
        """Draw J against the temperature of the model, with and without the divergence."""
        x, p = _grid(distance, variance, 60)
        temperatures = torch.linspace(0.5, 3.0, 26).tolist()
        whole, alone = [], []
        for t in temperatures:
            program = _two_gaussians(distance, variance, t)
            whole.append(float((p * ScoreMatchingLoss(program).terms(x).detach()).sum()))
            alone.append(float((p * 0.5 * program.score(x).square().sum(1)).sum()))
        with style():
            fig = figure(4.6, 3.0)
            axes = fig.subplots()
            axes.plot(temperatures, whole, color=COLOURS[0], label="½‖s‖² + ∇·s")
            axes.plot(temperatures, alone, color=COLOURS[1], linestyle="--", label="½‖s‖² alone")
            axes.axvline(1.0, color=GREY, linestyle=":", linewidth=0.9)
            axes.set(
                xlabel="temperature of the model", ylabel="J in nats a squared unit", title="score matching"
            )
            axes.legend()
        return fig


def _two_gaussians(distance: float, variance: float, temperature: float) -> Potential:
    def energy(x: Tensor) -> Tensor:
        ends = [
            -0.5 * ((x[..., 0] - s * distance).square() + x[..., 1].square()) / variance for s in (-1.0, 1.0)
        ]
        return -torch.logaddexp(*ends) / temperature

    program = Potential(energy, 2)
    program.register_buffer("unit", torch.ones(1, dtype=torch.float64))  # so that it computes in float64
    return program


def _grid(distance: float, variance: float, points: int = 240) -> tuple[Tensor, Tensor]:
    """Return points of a grid and the density's weights on them, which sum to one."""
    sd = math.sqrt(variance)
    across = torch.linspace(-distance - 8 * sd, distance + 8 * sd, 2 * points, dtype=torch.float64)
    up = torch.linspace(-8 * sd, 8 * sd, points, dtype=torch.float64)
    x = torch.cartesian_prod(across, up)
    log_p = -_two_gaussians(distance, variance, 1.0).potential(x)
    return x, log_p.softmax(0)
