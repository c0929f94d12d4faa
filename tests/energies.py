"""Energies of known normaliser: name → (program, log Z)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unigen.models.energy import EnergyModel
from unigen.models.mixture import GaussianMixture
from unigen.models.potential import Potential
from unigen.program import Program

WELL = 1.2  # 4 D of the double well ¼(x² − 1)²/D, D = .3
LOG_Z_WELL = math.log(2.123003)  # by quadrature


class Scaled(nn.Module):
    """E(x) = ½ (x − m)ᵀ P (x − m)."""

    def __init__(self, precision: Tensor, loc: Tensor) -> None:
        super().__init__()
        self.precision, self.loc = nn.Parameter(precision), nn.Parameter(loc)

    def forward(self, x: Tensor) -> Tensor:
        apart = x - self.loc
        return 0.5 * ((apart @ self.precision) * apart).sum(-1)


def gaussian(d: int, precision: float = 4.0) -> tuple[Program, float]:
    """Precisions from 1 to ``precision``, rotated, off the origin."""
    q, _ = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64))
    spread = (
        torch.linspace(1.0, precision, d, dtype=torch.float64)
        if d > 1
        else torch.full((1,), precision).double()
    )
    energy = Scaled(q @ torch.diag(spread) @ q.mT, torch.full((d,), 0.5, dtype=torch.float64))
    log_z = 0.5 * (d * math.log(2 * math.pi) - float(spread.log().sum()))
    return Potential(energy, d), log_z


def well(d: int = 1) -> tuple[Program, float]:
    return Potential(double_well, d), d * LOG_Z_WELL


def double_well(x: Tensor) -> Tensor:
    return (x.square() - 1).square().sum(-1) / WELL


def mixture(d: int = 2, apart: float = 1.5) -> tuple[Program, float]:
    """Two unit Gaussians at ±apart on the first axis, shifted by a constant."""

    def energy(x: Tensor) -> Tensor:
        rest = 0.5 * x[..., 1:].square().sum(-1)
        ends = torch.stack([-0.5 * (x[..., 0] - s).square() for s in (-apart, apart)])
        return rest - ends.logsumexp(0) + 3.0

    return Potential(energy, d), math.log(2) + 0.5 * d * math.log(2 * math.pi) - 3.0


def ring() -> tuple[Program, float]:
    """E = (‖x‖ − 2)² / (2 · .3²) in the plane; Z = 2π ∫ r e^{−E} dr."""
    r = torch.linspace(0.0, 8.0, 200_001, dtype=torch.float64)
    z = 2 * math.pi * torch.trapezoid(r * torch.exp(-(r - 2).square() / 0.18), r)
    return Potential(lambda x: (x.square().sum(-1) + 1e-12).sqrt().sub(2).square() / 0.18, 2), math.log(
        float(z)
    )


def density() -> tuple[Program, float]:
    """A normalised program, read as an energy."""
    return GaussianMixture(2, 3).double(), 0.0


class Bump(nn.Module):
    """f(u) = a u + b u² + c u⁴."""

    def forward(self, u: Tensor) -> Tensor:
        return (0.3 * u - 0.8 * u**2 + 0.2 * u**4).sum(-1)


def model() -> tuple[Program, float]:
    """An EnergyModel with a location and a length, by quadrature."""
    program = EnergyModel(1, energy=Bump()).double()
    program.initialise(1.0 + 2.0 * torch.randn(200, 1, dtype=torch.float64))
    x = torch.linspace(-30.0, 30.0, 200_001, dtype=torch.float64)
    with torch.no_grad():
        z = torch.trapezoid(torch.exp(-program.potential(x[:, None])), x)
    return program, math.log(float(z))


PROBLEMS = {
    "Gaussian 1": lambda: gaussian(1),
    "Gaussian 2": lambda: gaussian(2),
    "Gaussian 8": lambda: gaussian(8, 25.0),
    "double well": well,
    "double well 4": lambda: well(4),
    "mixture 2": mixture,
    "mixture 8": lambda: mixture(8),
    "ring": ring,
    "normalised": density,
    "EnergyModel": model,
}
