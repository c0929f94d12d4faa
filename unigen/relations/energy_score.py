r"""Density, energy and score: a score that comes from an energy is a gradient field, a free network's need not be.

    s(x) = ∇log p(x) = −∇E(x),      ∂s_i/∂x_j = ∂s_j/∂x_i,      ∮ s · dx = 0 along every closed curve,

since second derivatives of E commute. A network trained to be a score directly has none of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from unigen.logprob import Kind
from unigen.models.energy import EnergyModel
from unigen.nn.mlp import MLP
from unigen.nn.tilt import Tilt
from unigen.plots.style import COLOURS, figure, style
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9
DIFFERENCE = 1e-6  # error of central differences at a step of 10⁻⁴
FREE = 1e-2  # asymmetry and circulation that no gradient field has
POINTS, CORNERS = 20, 2000
Field = Callable[[Tensor], Tensor]


class EnergyScore(Relation):
    """The score is minus the gradient of the energy, and so its Jacobian is symmetric."""

    id = 8
    name = "density – energy – score"
    families = ("EnergyModel", "Diffusion")
    statement = (
        "the score is −∇E; the Jacobian of an energy's score is symmetric, a free score network's need not be"
    )
    latex = r"s = \nabla\log p = -\nabla E, \qquad \partial_j s_i = \partial_i s_j"
    source = "Salimans & Ho 2021"
    assumptions = ("the energy has continuous second derivatives",)

    def check(self, *, features: int = 3, seed: int = 0) -> Evidence:
        """Compare a random energy and a random free network of the same size.

        Args:
            features: D ≥ 2.
            seed: Of weights and points.
        """
        with seeded(seed, torch.device("cpu")):
            model = EnergyModel(features, energy=Tilt(features, hidden=(32, 32))).double()
            free = MLP(features, features, hidden=(32, 32)).double()
            x = torch.randn(POINTS, features, dtype=torch.float64)
        score = self.score(model)
        slopes = _differences(lambda at: model.potential(at).detach(), x)
        apart = float((score(x).detach() + slopes).abs().max())
        return self.evidence(
            Claim("s(x) + ∇E(x), by central differences", apart, 0.0, DIFFERENCE),
            Claim("asymmetry of the energy's score", self.asymmetry(score, x), 0.0, ROUNDING),
            Claim("circulation of the energy's score", abs(self.circulation(score, features)), 0.0, ROUNDING),
            Claim("asymmetry of a free network", self.asymmetry(free, x), FREE, 0.0, sense="≥"),
            Claim("circulation of a free network", abs(self.circulation(free, features)), FREE, 0.0, sense="≥"),
        )  # fmt: skip

    def score(self, model: EnergyModel) -> Field:
        """Return s = −∇E as a function of x (N, D)."""
        return lambda x: -vmap(torch.func.grad(lambda row: model.potential(row)))(x)

    def asymmetry(self, field: Field, x: Tensor) -> float:
        """Return the mean of ‖J − Jᵀ‖ / ‖J‖ over rows x (N, D)."""
        jacobian = vmap(jacrev(lambda row: field(row[None])[0]))(x).detach()
        apart = (jacobian - jacobian.mT).flatten(1).norm(dim=1)
        return float((apart / jacobian.flatten(1).norm(dim=1).clamp_min(1e-12)).mean())

    def circulation(self, field: Field, features: int) -> float:
        """Return ∮ s · dx around the unit circle of the first two features."""
        angle = 2 * math.pi * torch.arange(CORNERS, dtype=torch.float64) / CORNERS
        x = torch.zeros(CORNERS, features, dtype=torch.float64)
        x[:, 0], x[:, 1] = angle.cos(), angle.sin()
        along = torch.zeros_like(x)
        along[:, 0], along[:, 1] = -angle.sin(), angle.cos()
        return float((field(x).detach() * along).sum(1).mean() * 2 * math.pi)

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Measure the asymmetry of both scores at data: none for the energy's, some for the diffusion's.

        Raises:
            UnsupportedQueryError: One feature has no asymmetry, or the diffusion's x is no row of features.
        """
        if a.kind is not Kind.UNNORMALISED or len(a.event_shape) != 1 or a.event_shape[0] < 2:
            raise self.refuse("an energy of at least two features", a)
        from unigen.dynamics.denoiser import denoiser_of  # the network of a diffusion, whatever predicts it

        x, _ = a.check_batch(data[:POINTS])
        y, _ = b.check_batch(data[:POINTS])
        with evaluating(a), evaluating(b):
            denoiser = denoiser_of(b)
            t = torch.full((1,), 0.2, dtype=b.dtype)
            energy = self.asymmetry(lambda at: _score(a, at), x)
            network = self.asymmetry(lambda at: -denoiser(at, t[0], None)[1], denoiser.to_unit(y))
        tolerance = ROUNDING if a.dtype is torch.float64 else 1e-3
        return self.evidence(
            Claim("asymmetry of the energy's score", energy, 0.0, tolerance),
            Claim("asymmetry of the diffusion's score network", network, 0.0, 0.0, sense="≥"),
            asymmetry_of_the_network=round(network, 4),
        )  # fmt: skip

    def figure(self, *, seed: int = 0) -> Figure:
        """Draw both fields along the circle: what they do along it adds up to nothing only for the energy's."""
        with seeded(seed, torch.device("cpu")):
            model = EnergyModel(2, energy=Tilt(2, hidden=(32, 32))).double()
            free = MLP(2, 2, hidden=(32, 32)).double()
        angle = 2 * math.pi * torch.arange(200, dtype=torch.float64) / 200
        x = torch.stack([angle.cos(), angle.sin()], 1)
        along = torch.stack([-angle.sin(), angle.cos()], 1)
        with style():
            fig = figure(4.4, 3.0)
            axes = fig.subplots()
            for field, label, colour in (
                (self.score(model), "−∇E", COLOURS[0]),
                (free, "free network", COLOURS[1]),
            ):
                work = ((field(x).detach() * along).sum(1).cumsum(0) * 2 * math.pi / 200).numpy()
                axes.plot(angle, work, color=colour, label=label)
            axes.axhline(0.0, color="black", linewidth=0.6)
            axes.set(
                xlabel="angle on the unit circle", ylabel="∫ s · dx so far", title="circulation of a score"
            )
            axes.legend()
        return fig


def _score(program: Program, x: Tensor) -> Tensor:
    """Return s(x) in a form that can be differentiated once more."""
    return vmap(torch.func.grad(lambda row: program.density_of(row[None]).value.sum()))(x)


def _differences(function: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-4) -> Tensor:
    """Return the gradient of a function (N, D) → (N,) by central differences."""
    eye = step * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.stack([(function(x + e) - function(x - e)) / (2 * step) for e in eye], 1)
