"""Oracles of flow matching: velocities that are optimal for Gaussian mixtures, in float64, with their densities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unigen.dynamics.interpolant import Interpolant, Linear
from unigen.models.flow_matching import FlowMatching


class MixtureVelocity(nn.Module):
    """E[alpha' u + sigma' eps | z_t] for u from an equal mixture of N(centre, std² I) and eps ~ N(0, I)."""

    def __init__(self, interpolant: Interpolant, centres: Tensor, std: float) -> None:
        super().__init__()
        self.interpolant, self.std = interpolant, std
        self.register_buffer("centres", centres.double())
        self.anchor = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        path = self.interpolant
        alpha, sigma = path.alpha(t)[:, None], path.sigma(t)[:, None]
        variance = alpha**2 * self.std**2 + sigma**2
        offsets = z[:, None] - alpha[:, None] * self.centres
        weights = torch.softmax(-0.5 * offsets.square().sum(-1) / variance, dim=1)[..., None]
        eps = sigma * (weights * offsets).sum(1) / variance
        means = self.centres + alpha[:, None] * self.std**2 * offsets / variance[:, None]
        u = (weights * means).sum(1)
        return path.alpha_rate(t)[:, None] * u + path.sigma_rate(t)[:, None] * eps + 0.0 * self.anchor


def mixture_flow(
    centres: Tensor, std: float, interpolant: Interpolant = Linear(), **options: object
) -> FlowMatching:
    """The program with the optimal velocity, not standardised."""
    network = MixtureVelocity(interpolant, centres, std)
    return FlowMatching(centres.shape[1], network=network, interpolant=interpolant, **options).double()


def mixture_draws(n: int, centres: Tensor, std: float) -> Tensor:
    """n draws of the mixture."""
    which = torch.randint(centres.shape[0], (n,))
    return centres.double()[which] + std * torch.randn(n, centres.shape[1], dtype=torch.float64)
