"""Oracles of conditioning: mixtures with labels whose noisy scores, classifiers and posteriors are in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unigen.dynamics.observation import GaussianObservation, Inpainting, LinearObservation
from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import LogLinearSNR, Schedule
from unigen.models.diffusion import Diffusion

SCHEDULE = LogLinearSNR(1e4, 1e-4)
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
CENTRES = torch.tensor([[-1.0, 0.5], [1.0, 1.0], [0.5, -1.0]], dtype=torch.float64)
STDS = torch.tensor([0.4, 0.3, 0.5], dtype=torch.float64)


class LabelledMixture(nn.Module):
    """E[eps | z_t, c] for the mixture of N(centre_k, std_k² I) under label c; zeros stand for no label."""

    def __init__(
        self,
        schedule: Schedule = SCHEDULE,
        weights: Tensor = WEIGHTS,
        centres: Tensor = CENTRES,
        stds: Tensor = STDS,
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.weights, self.centres, self.stds = weights, centres, stds
        self.anchor = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def joint(self, z: Tensor, t: Tensor) -> Tensor:
        """log π_k p_t(z | k), (N, K)."""
        alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
        variance = (alpha * self.stds).square() + sigma.square()
        squares = (z[:, None] - alpha[..., None] * self.centres).square().sum(-1)
        return (
            self.weights.log()
            - 0.5 * squares / variance
            - 0.5 * z.shape[1] * torch.log(2 * math.pi * variance)
        )

    def log_prob(self, z: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """log p(k | z_t), (N,), of one-hot labels."""
        return (self.joint(z, t).log_softmax(-1) * c).sum(-1)

    def forward(self, z: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
        variance = (alpha * self.stds).square() + sigma.square()
        responsibility = self.joint(z, t).softmax(-1)
        if c is not None:
            responsibility = torch.where(c.sum(-1, keepdim=True) > 0, c, responsibility)
        offsets = (z[:, None] - alpha[..., None] * self.centres) / variance[..., None]
        return sigma * (responsibility[..., None] * offsets).sum(1) + 0.0 * self.anchor


def labelled_diffusion(context: int = 3, **options) -> Diffusion:
    """The diffusion of the mixture, conditional on the label unless ``context=0``."""
    network = LabelledMixture()
    return Diffusion(
        2, network=network, schedule=network.schedule, prediction=Eps(), context=context, **options
    ).double()


def gaussian_prior(mean: float, std: float, dims: int) -> Diffusion:
    """The diffusion of N(mean, std² I)."""
    one = torch.ones(1, dtype=torch.float64)
    network = LabelledMixture(SCHEDULE, one, mean * torch.ones(1, dims, dtype=torch.float64), std * one)
    return Diffusion(dims, network=network, schedule=SCHEDULE, prediction=Eps()).double()


def operator(observation: GaussianObservation) -> tuple[Tensor, Tensor]:
    """A (M, D) and y (M,), by hand."""
    if isinstance(observation, LinearObservation):
        return observation.matrix.double(), observation.y.double()
    assert isinstance(observation, Inpainting)
    rows = observation.known.flatten()
    return torch.eye(rows.numel(), dtype=torch.float64)[rows], observation.x.flatten()[rows].double()


class MixturePosterior:
    """p(x | y) and p(y) for x from a mixture of N(centre_k, std_k² I) and y = A x + noise ξ."""

    def __init__(
        self, weights: Tensor, centres: Tensor, stds: Tensor, observation: GaussianObservation
    ) -> None:
        a, y = operator(observation)
        evidence, self.means, self.covariances = [], [], []
        eye = torch.eye(a.shape[1], dtype=torch.float64)
        for weight, centre, std in zip(weights, centres, stds, strict=True):
            s = std**2 * a @ a.T + observation.noise**2 * torch.eye(a.shape[0], dtype=torch.float64)
            gain = std**2 * a.T @ torch.linalg.inv(s)
            law = torch.distributions.MultivariateNormal(a @ centre, s)
            evidence.append(weight.log() + law.log_prob(y))
            self.means.append(centre + gain @ (y - a @ centre))
            self.covariances.append(std**2 * (eye - gain @ a))
        self.log_evidence = float(torch.logsumexp(torch.stack(evidence), 0))
        self.weights = torch.softmax(torch.stack(evidence), 0)

    @property
    def mean(self) -> Tensor:
        """E[x | y], (D,)."""
        return sum(w * m for w, m in zip(self.weights, self.means, strict=True))

    @property
    def second(self) -> Tensor:
        """E[x² | y], (D,)."""
        parts = zip(self.weights, self.means, self.covariances, strict=True)
        return sum(w * (m.square() + c.diagonal()) for w, m, c in parts)
