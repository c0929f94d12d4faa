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
from unigen.dynamics.sde import ForwardSDE, ProbabilityFlow, TimeField
from unigen.dynamics.unit_flow import UnitFlow, sum_events
from unigen.errors import ArgumentError, ShapeError


@torch.no_grad()
def _checked_start(schedule: Schedule, start: float | None) -> float:
    """The smallest time, by default 0 or 1e-3, or a refusal."""
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
    return start


@torch.no_grad()
def _check_prediction(schedule: Schedule, prediction: Prediction) -> None:
    """Refuse a prediction whose data are divided by a signal of zero at t = 1."""
    z = torch.ones(1, 1, dtype=torch.float64)
    pair = prediction.pair(0.5 * z, z, torch.ones(1, dtype=torch.float64), schedule)
    if not all(bool(torch.isfinite(part).all()) for part in pair):
        raise ArgumentError(
            "with no signal at t = 1 the data cannot be read off this prediction",
            program="Denoiser",
            site="prediction",
            got=prediction,
            expected="X0() or V(), or a schedule with SNR > 0 at t = 1",
        )


@final
class Denoiser(UnitFlow):
    """Predicts the clean data and the noise in z_t.

    Args:
        network: Maps (z_t, t) or (z_t, t, context) to the predicted quantity, (N, *event).
        schedule: Signal and noise levels; its log SNR must fall.
        prediction: What the network predicts.
        event_shape: Shape of one example.
        start: Smallest time; by default 0, or 1e-3 where the schedule has no noise at 0.

    Raises:
        ArgumentError: The schedule is not monotone, has no noise at the start, or has no signal at the end and the
            prediction divides by it.

    References:
        Kingma et al. 2021, Variational diffusion models.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        prediction: Prediction,
        event_shape: tuple[int, ...],
        start: float | None = None,
    ) -> None:
        start = _checked_start(schedule, start)
        _check_prediction(schedule, prediction)
        super().__init__(event_shape, start)
        self.network, self.schedule, self.prediction = network, schedule, prediction

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
        return self.prediction.pair(self.output(z_t, t, context), z_t, t, self.schedule)

    def output(self, z_t: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """What the network says of noisy data z_t, (N, *event), at times t, () or (N,): the predicted quantity.

        Raises:
            ShapeError: The network does not keep the shape of z_t.
        """
        each = t.expand(z_t.shape[0])
        raw = self.network(z_t, each) if context is None else self.network(z_t, each, context)
        if raw.shape != z_t.shape:
            raise ShapeError(
                "a denoising network keeps the shape of its input",
                program="Denoiser",
                got=tuple(raw.shape),
                expected=tuple(z_t.shape),
            )
        return raw

    def score(self, t: Tensor, z_t: Tensor, context: Tensor | None = None) -> Tensor:
        """∇ log p_t(z_t) = −eps_hat / sigma_t, (N, *event), as the solvers call it."""
        return -self(z_t, t, context)[1] / self.schedule.sigma(over_events(t, z_t))

    def field(self, context: Tensor | None = None) -> TimeField:
        """The velocity f z − ½ g² score of the probability flow, a function (t, z)."""
        return ProbabilityFlow(ForwardSDE(self.schedule), lambda t, z: self.score(t, z, context)).drift

    def log_contraction(self) -> Tensor:
        """Log alpha_start, ()."""
        return self.schedule.log_alpha(
            torch.full((), self.start, dtype=self.loc.dtype, device=self.loc.device)
        )

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
