"""Oracles of diffusion: networks that are optimal for Gaussian and mixture data, in float64, and closed forms."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import Schedule, VariancePreserving, as_time
from unigen.models.ddpm import DDPM
from unigen.models.diffusion import Diffusion


class ZeroTerminal(VariancePreserving):
    """alpha proportional to 1 − t: no signal at all at t = 1, some noise at t = 0."""

    def rate(self, t: Tensor) -> Tensor:
        return 2.0 / (1.0 - as_time(t))

    def integrated_rate(self, t: Tensor) -> Tensor:
        return 0.01 - 2.0 * torch.log(1.0 - as_time(t))


class GaussianNoise(nn.Module):
    """E[eps | z_t] for N(mean, std²) data in every dimension."""

    def __init__(self, schedule: Schedule, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self.schedule, self.mean, self.std = schedule, mean, std
        self.anchor = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        t = t.reshape(-1, *(1,) * (z.dim() - 1))
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return sigma * (z - alpha * self.mean) / (alpha**2 * self.std**2 + sigma**2) + 0.0 * self.anchor


class MixtureNoise(nn.Module):
    """E[eps | z_t] for an equal mixture of N(centre, std² I)."""

    def __init__(self, schedule: Schedule, centres: Tensor, std: float) -> None:
        super().__init__()
        self.schedule, self.std = schedule, std
        self.register_buffer("centres", centres.double())
        self.anchor = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
        variance = alpha**2 * self.std**2 + sigma**2
        offsets = z[:, None] - alpha[:, None] * self.centres
        weights = torch.softmax(-0.5 * offsets.square().sum(-1) / variance, dim=1)
        return sigma * (weights[..., None] * offsets).sum(1) / variance + 0.0 * self.anchor


def gaussian_diffusion(
    schedule: Schedule, mean: float = 0.0, std: float = 1.0, dims: int = 1, **options
) -> Diffusion:
    """The diffusion whose network is optimal for Gaussian data, not standardised."""
    network = GaussianNoise(schedule, mean, std)
    return Diffusion(dims, network=network, schedule=schedule, prediction=Eps(), **options).double()


def gaussian_ddpm(schedule: Schedule, steps: int, mean: float = 0.0, std: float = 1.0, dims: int = 1) -> DDPM:
    """The same in discrete time."""
    network = GaussianNoise(schedule, mean, std)
    return DDPM(dims, steps, network=network, schedule=schedule, prediction=Eps()).double()


def mixture_diffusion(schedule: Schedule, centres: Tensor, std: float, **options) -> Diffusion:
    """The diffusion whose network is optimal for an equal mixture."""
    network = MixtureNoise(schedule, centres, std)
    return Diffusion(
        centres.shape[1], network=network, schedule=schedule, prediction=Eps(), **options
    ).double()


def mixture_log_prob(x: Tensor, centres: Tensor, std: float) -> Tensor:
    """Log density of an equal mixture of N(centre, std² I), (N,)."""
    squares = ((x[:, None] - centres.double()) / std).square().sum(-1)
    constant = math.log(centres.shape[0]) + centres.shape[1] * (math.log(std) + 0.5 * math.log(2 * math.pi))
    return torch.logsumexp(-0.5 * squares, 1) - constant
