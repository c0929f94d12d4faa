r"""Symmetry breaking: on the way from noise the centre between two modes turns from a valley's floor into a ridge.

For p_0 = ½N(±m, s²) the curvature of −log p_t at 0 is 1/v − alpha² m²/v², v = alpha² s² + sigma². It is positive at
large t and negative at small; it vanishes where alpha² m² = v, which for a variance-preserving schedule is
alpha² = 1/(1 + m² − s²). Above that time the score has one zero, below three, and a draw chooses its mode.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.schedule import VariancePreserving, VPLinear
from unigen.dynamics.time_of_snr import time_of
from unigen.errors import ArgumentError
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.noisy_mixture import NoisyMixture
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BISECTIONS = 40
ROUNDING = 1e-8


class SymmetryBreaking(Relation):
    """The time at which a diffusion begins to choose between two modes."""

    id = 29
    name = "diffusion – symmetry breaking"
    families = ("Diffusion",)
    statement = (
        "−∇²log p_t(0) of two equal Gaussians changes sign once, where the score's one zero becomes three"
    )
    latex = r"\alpha_{t_c}^2 = 1/(1 + m^2 - s^2)"
    source = "Raya & Ambrogioni 2023"
    assumptions = ("two equal Gaussians at ±m, m > s", "the schedule preserves the variance")

    def critical_alpha_squared(self, centre: float, std: float) -> float:
        """Return alpha² at the time."""
        return 1.0 / (1.0 + centre**2 - std**2)

    def check(
        self,
        *,
        centre: float = 2.0,
        std: float = 0.35,
        schedule: VariancePreserving = VPLinear(),
        step: float = 0.02,
    ) -> Evidence:
        """Find the time by the Jacobian of the denoiser's score, and count the score's zeros on either side.

        Args:
            centre: m.
            std: s < m.
            schedule: Of the noise.
            step: Distance in time at which zeros are counted.

        Raises:
            ArgumentError: m ≤ s: one mode, no symmetry to break.
        """
        if not 0.0 < std < centre:
            raise ArgumentError(
                program="SymmetryBreaking", got=f"centre={centre}, std={std}", expected="0 < std < centre"
            )
        law = NoisyMixture(schedule, torch.tensor([[-centre], [centre]]), std)
        alpha2 = self.critical_alpha_squared(centre, std)
        level = torch.tensor([math.log(alpha2 / (1.0 - alpha2))], dtype=torch.float64)
        exact, denoiser = time_of(schedule, level).item(), law.denoiser()
        found = self.first_change(denoiser)
        counts = [float(self.zeros(denoiser, exact + side * step)) for side in (-1, 1)]
        return self.evidence(
            Claim("time at which −∇²log p_t(0) changes sign = closed form", found, exact, ROUNDING),
            Claim("zeros of the score before it", counts[0], 3.0, 0.0),
            Claim("zeros of the score after it", counts[1], 1.0, 0.0),
            critical_time=round(found, 6),
        )

    def curvature(self, denoiser: Denoiser, t: float) -> float:
        """Return −∇²log p_t(0), by differentiating the score."""
        z = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
        score = denoiser.score(torch.full((1,), t, dtype=torch.float64), z)
        return -torch.autograd.grad(score.sum(), z)[0].item()

    def first_change(self, denoiser: Denoiser) -> float:
        """Return the time at which the curvature turns from negative to positive, by bisection."""
        low, high = denoiser.start, 1.0
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if self.curvature(denoiser, middle) > 0.0 else (middle, high)
        return 0.5 * (low + high)

    @torch.no_grad()
    def zeros(self, denoiser: Denoiser, t: float, points: int = 4000) -> int:
        """Return how often the score changes sign over z, at points of which 0 is none."""
        z = torch.linspace(-5.0, 5.0, points, dtype=torch.float64)[:, None]
        score = denoiser.score(torch.full((points,), t, dtype=torch.float64), z)[:, 0]
        return int((torch.diff(torch.sign(score)) != 0).sum())

    def figure(
        self, *, centre: float = 2.0, std: float = 0.35, schedule: VariancePreserving = VPLinear()
    ) -> Figure:
        """Draw the density over time and the zeros of the score: a pitchfork."""
        law = NoisyMixture(schedule, torch.tensor([[-centre], [centre]]), std)
        t = torch.linspace(1e-3, 1.0, 200, dtype=torch.float64)
        z = torch.linspace(-3.0, 3.0, 302, dtype=torch.float64)
        times, places = (each.reshape(-1) for each in torch.meshgrid(t, z, indexing="ij"))
        with torch.no_grad():
            density = law.log_prob(places[:, None], times).exp().reshape(len(t), len(z))
            score = -law(places[:, None], times).reshape(len(t), len(z))
        sides = torch.diff(torch.sign(score), dim=1).nonzero()
        alpha2 = self.critical_alpha_squared(centre, std)
        level = torch.tensor([math.log(alpha2 / (1.0 - alpha2))], dtype=torch.float64)
        with style():
            fig = figure(5.6, 3.2)
            axes = fig.subplots()
            axes.pcolormesh(
                t.numpy(), z.numpy(), density.T.clamp(max=0.6).numpy(), cmap="Greys", shading="nearest"
            )
            axes.scatter(t[sides[:, 0]], z[sides[:, 1]], s=2, color=COLOURS[1], label="zeros of the score")
            axes.axvline(time_of(schedule, level).item(), color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.set(xlabel="time t, data to noise", ylabel="z", title="one zero becomes three")
            axes.legend(loc="upper right")
        return fig
