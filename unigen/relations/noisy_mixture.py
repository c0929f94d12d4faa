"""An equal mixture of Gaussians under noise, whose every denoiser, score and density is known.

p_0 = 1/K Σ_k N(m_k, s² I),   p_t = 1/K Σ_k N(alpha m_k, v_t I),   v_t = alpha² s² + sigma²,
E[eps | z_t] = −sigma ∇ log p_t(z_t) = sigma Σ_k w_k(z_t) (z_t − alpha m_k) / v_t,    w the responsibilities.
With s = 0 it is a data set: p_t is then the law of its noisy copies.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import Schedule

NODES = 801  # of a quadrature in one dimension, exact to rounding for smooth densities


@final
class NoisyMixture(nn.Module):
    """The optimal eps-network of an equal mixture.

    Args:
        schedule: Signal and noise levels.
        centres: m_k, (K, D).
        std: s ≥ 0.
    """

    centres: Tensor

    def __init__(self, schedule: Schedule, centres: Tensor, std: float) -> None:
        super().__init__()
        self.schedule, self.std = schedule, float(std)
        self.register_buffer("centres", centres.double())

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Alpha, sigma and v_t, the shape of t."""
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return alpha, sigma, alpha.square() * self.std**2 + sigma.square()

    def offsets(self, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """z − alpha m_k, (N, K, D), and their log weights −‖·‖²/2v, (N, K); z (N, D), t (N,)."""
        alpha, _, variance = self.levels(t)
        offsets = z[:, None] - alpha[:, None, None] * self.centres.to(z)
        return offsets, -0.5 * offsets.square().sum(-1) / variance[:, None]

    def log_prob(self, z: Tensor, t: Tensor) -> Tensor:
        """Log p_t(z), (N,), in nats."""
        d, variance = z.shape[1], self.levels(t)[2]
        constant = math.log(self.centres.shape[0]) + 0.5 * d * torch.log(2.0 * math.pi * variance)
        return torch.logsumexp(self.offsets(z, t)[1], 1) - constant

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """E[eps | z_t = z], (N, D)."""
        offsets, logits = self.offsets(z, t)
        _, sigma, variance = self.levels(t)
        return (sigma / variance)[:, None] * (torch.softmax(logits, 1)[..., None] * offsets).sum(1)

    def denoiser(self, start: float | None = None) -> Denoiser:
        """The library's denoiser around it, in float64."""
        return Denoiser(self, self.schedule, Eps(), (self.centres.shape[1],), start).double()

    def draw(self, n: int) -> Tensor:
        """n draws of p_0, (n, D)."""
        rows = self.centres[torch.randint(self.centres.shape[0], (n,), device=self.centres.device)]
        return rows + self.std * torch.randn_like(rows)

    @torch.no_grad()
    def quadrature(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Over z in one dimension: E ‖E[eps | z_t]‖² and the entropy of p_t in nats, each (T,); t (T,)."""
        alpha, _, variance = self.levels(t)
        spread = alpha * float(self.centres.abs().max()) + 12.0 * variance.sqrt()
        z = torch.linspace(-1.0, 1.0, NODES, dtype=torch.float64) * spread[:, None]
        times = t[:, None].expand_as(z).reshape(-1)
        log_p = self.log_prob(z.reshape(-1, 1), times).reshape(z.shape)
        square = self(z.reshape(-1, 1), times).square().reshape(z.shape)
        p = log_p.exp()
        return torch.trapezoid(p * square, z), -torch.trapezoid(p * log_p, z)
