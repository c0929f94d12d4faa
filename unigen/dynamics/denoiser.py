"""A denoising network with its schedule, and the terms of the variational bound it defines.

Notation: data x are put in unit coordinates u = (x − loc) / scale; z_t = alpha_t u + sigma_t eps as in `schedule.py`,
t from start to 1. The generative process begins at z_1 ~ N(0, I), follows the network's score down to z_start and
ends with x = loc + scale z_start / alpha_start, give or take the noise that is left there. In nats,

    −log p(u) ≤ KL(q(z_1 | u) ‖ N(0, I)) + ½ ∫ (g²/sigma²) E‖eps − eps_hat(z_t, t)‖² dt − E log p(u | z_start),

with p(u | z) = N(z / alpha_start, (sigma_start / alpha_start)² I), and −log p(x) = −log p(u) + Σ log scale.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from unigen.dynamics.prediction import Prediction, over_events
from unigen.dynamics.schedule import Schedule
from unigen.errors import ArgumentError, ShapeError


def sum_events(x: Tensor) -> Tensor:
    """Sum over the event: (N, *event) -> (N,)."""
    return x.flatten(1).sum(1)


@final
class Denoiser(nn.Module):
    """Predicts the clean data and the noise in z_t.

    Args:
        network: Maps (z_t, t) or (z_t, t, context) to the predicted quantity, (N, *event).
        schedule: Signal and noise levels; its log SNR must fall.
        prediction: What the network predicts.
        event_shape: Shape of one example.
        start: Smallest time; by default 0, or 1e-3 where the schedule has no noise at 0.

    Raises:
        ArgumentError: The schedule is not monotone, or has no noise at the start.

    References:
        Kingma et al. 2021, Variational diffusion models.
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        prediction: Prediction,
        event_shape: tuple[int, ...],
        start: float | None = None,
    ) -> None:
        super().__init__()
        schedule.check_monotone()
        if start is None:
            start = 0.0 if float(schedule.sigma(0.0)) > 0.0 else 1e-3
        if not (0.0 <= start < 1.0 and float(schedule.sigma(start)) > 0.0):
            raise ArgumentError(
                "a schedule without noise at the start has an infinite score there",
                program="Denoiser",
                site="start",
                got=start,
                expected="a time in [0, 1) with sigma > 0",
                hint="start=1e-3",
            )
        self.network, self.schedule, self.prediction, self.start = network, schedule, prediction, float(start)
        self.register_buffer("loc", torch.zeros(event_shape))
        self.register_buffer("scale", torch.ones(event_shape))

    def to_unit(self, x: Tensor) -> Tensor:
        """u = (x − loc) / scale, (N, *event)."""
        return (x - self.loc) / self.scale

    def from_unit(self, u: Tensor) -> Tensor:
        """x = loc + scale u, (N, *event)."""
        return self.loc + self.scale * u

    def log_volume(self) -> Tensor:
        """Σ log scale, (), in nats: log p(x) = log p(u) − log_volume."""
        return torch.log(self.scale).sum()

    @torch.no_grad()
    def standardise(self, x: Tensor, each: bool = True) -> None:
        """Take loc and scale from data.

        Args:
            x: Data, (N, *event).
            each: One scale a feature; otherwise one for all.
        """
        self.loc.copy_(x.mean(0))
        spread = (x - self.loc).square()
        spread = spread.mean(0) if each else spread.mean().expand_as(self.scale)
        self.scale.copy_(spread.sqrt().clamp_min(1e-3 * float(spread.max().sqrt()) + 1e-12))

    def forward(self, z_t: Tensor, t: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            z_t: Noisy data in unit coordinates, (N, *event).
            t: Times, () or (N,).
            context: Context, (N, C), or None.

        Returns:
            u_hat = E[u | z_t] and eps_hat = E[eps | z_t], each (N, *event).

        Raises:
            ShapeError: The network does not keep the shape of z_t.
        """
        t = t.expand(z_t.shape[0])
        raw = self.network(z_t, t) if context is None else self.network(z_t, t, context)
        if raw.shape != z_t.shape:
            raise ShapeError(
                "a denoising network keeps the shape of its input",
                program="Denoiser",
                got=tuple(raw.shape),
                expected=tuple(z_t.shape),
            )
        return self.prediction.pair(raw, z_t, t, self.schedule)

    def score(self, t: Tensor, z_t: Tensor, context: Tensor | None = None) -> Tensor:
        """∇ log p_t(z_t) = −eps_hat / sigma_t, (N, *event), as the solvers call it."""
        return -self(z_t, t, context)[1] / self.schedule.sigma(over_events(t, z_t))

    def at(self, fraction: Tensor) -> Tensor:
        """Times start + (1 − start) fraction for fractions in [0, 1]."""
        return fraction if self.start == 0.0 else fraction * (1.0 - self.start) + self.start

    def perturb(self, u: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """z_t = alpha_t u + sigma_t eps, (N, *event)."""
        t = over_events(t, u)
        return self.schedule.alpha(t) * u + self.schedule.sigma(t) * eps

    def noise_error(self, u: Tensor, t: Tensor, eps: Tensor, context: Tensor | None = None) -> Tensor:
        """‖eps − eps_hat(alpha_t u + sigma_t eps, t)‖², (N,)."""
        return sum_events((eps - self(self.perturb(u, t, eps), t, context)[1]).square())

    def likelihood_weight(self, t: Tensor) -> Tensor:
        """Factor (1 − start) g² / (2 sigma²) of the noise error in the bound, the shape of t."""
        rate = self.schedule.diffusion_squared(t) / self.schedule.sigma(t).square()
        return 0.5 * (1.0 - self.start) * rate

    def prior_term(self, u: Tensor) -> Tensor:
        """KL(q(z_1 | u) ‖ N(0, I)), (N,), in nats."""
        end = torch.ones((), dtype=u.dtype, device=u.device)
        alpha, sigma = self.schedule.alpha(end), self.schedule.sigma(end)
        return 0.5 * sum_events((alpha * u).square() + sigma.square() - 1.0 - 2.0 * torch.log(sigma))

    def reconstruction_term(self, u: Tensor) -> Tensor:
        """−E log p(u | z_start), (N,), in nats: the entropy of the noise that is left, the same for every u."""
        start = torch.full((), self.start, dtype=u.dtype, device=u.device)
        each = 0.5 * (math.log(2.0 * math.pi * math.e) - self.schedule.log_snr(start))
        return each.expand(u.shape[0]) * u[:1].numel()

    def bound(self, x: Tensor, t: Tensor, eps: Tensor, context: Tensor | None = None) -> Tensor:
        """One draw of an unbiased estimate of the bound on log p(x), differentiable in x.

        Args:
            x: Data, (N, *event).
            t: Fractions of the way from start to 1, uniform on [0, 1), (N,).
            eps: Standard normal noise, (N, *event).
            context: Context, (N, C), or None.

        Returns:
            Estimates, (N,), in nats.
        """
        u, t = self.to_unit(x), self.at(t)
        diffusion = self.likelihood_weight(t) * self.noise_error(u, t, eps, context)
        return -(self.prior_term(u) + diffusion + self.reconstruction_term(u)) - self.log_volume()


def denoiser_of(program: nn.Module) -> Denoiser:
    """Return a program's denoiser.

    Raises:
        ArgumentError: It has none.
    """
    denoiser = getattr(program, "denoiser", None)
    if not isinstance(denoiser, Denoiser):
        raise ArgumentError(
            "only a diffusion can be trained, drawn or scored through its denoiser",
            program=type(program).__name__,
            hint="ug.Diffusion(features)",
        )
    return denoiser
