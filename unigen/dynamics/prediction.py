"""What a denoising network may predict; x0, eps, v, score and velocity are affine in one another given x_t and t.

With x_t = alpha x0 + sigma eps (`schedule.py`), every quantity is read off the pair (x0, eps):

    v = alpha eps − sigma x0,   score = −eps / sigma,   velocity = alpha' x0 + sigma' eps = f x_t − ½ g² score.

When x0 and eps are conditional means given x_t, the score is that of the marginal p_t (Tweedie) and the velocity is the
drift of the probability-flow ODE.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from torch import Tensor

from unigen.dynamics.schedule import Schedule, Time, as_time


def over_events(t: Time, x: Tensor) -> Tensor:
    """Times shaped to multiply a batch: () stays, (N,) becomes (N, 1, …, 1) with the dimensions of x (N, *event)."""
    t = as_time(t)
    return t if t.dim() == 0 else t.reshape(t.shape + (1,) * (x.dim() - t.dim()))


class Prediction(ABC):
    """One affine coordinate of the pair (x0, eps)."""

    @abstractmethod
    def pair(self, value: Tensor, x_t: Tensor, t: Time, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """The pair (x0, eps) behind a predicted value.

        Args:
            value: The prediction, (N, *event).
            x_t: Noisy data, (N, *event).
            t: Times, () or (N,).
            schedule: Gives alpha and sigma.

        Returns:
            x0 and eps, each (N, *event).
        """

    @abstractmethod
    def value(self, x0: Tensor, eps: Tensor, t: Time, schedule: Schedule) -> Tensor:
        """The quantity itself, from the pair.

        Args:
            x0: Clean data, (N, *event).
            eps: Standard normal noise, (N, *event).
            t: Times, () or (N,).
            schedule: Gives alpha and sigma.

        Returns:
            The quantity, (N, *event).
        """

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"{type(self).__name__}()"


@final
class X0(Prediction):
    """The clean data: eps = (x_t − alpha x0) / sigma."""

    def pair(self, value: Tensor, x_t: Tensor, t: Time, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """x0 as it is, and the noise left over."""
        t = over_events(t, x_t)
        return value, (x_t - schedule.alpha(t) * value) / schedule.sigma(t)

    def value(self, x0: Tensor, eps: Tensor, t: Time, schedule: Schedule) -> Tensor:
        """x0."""
        return x0


@final
class Eps(Prediction):
    """The noise: x0 = (x_t − sigma eps) / alpha."""

    def pair(self, value: Tensor, x_t: Tensor, t: Time, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """The data left over, and eps as it is."""
        t = over_events(t, x_t)
        return (x_t - schedule.sigma(t) * value) / schedule.alpha(t), value

    def value(self, x0: Tensor, eps: Tensor, t: Time, schedule: Schedule) -> Tensor:
        """eps."""
        return eps


@final
class V(Prediction):
    """The rotation v = alpha eps − sigma x0, well conditioned at both ends.

    References:
        Salimans & Ho 2022, Progressive distillation.
    """

    def pair(self, value: Tensor, x_t: Tensor, t: Time, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """x0 = (alpha x_t − sigma v) / (alpha² + sigma²), eps = (sigma x_t + alpha v) / (alpha² + sigma²)."""
        t = over_events(t, x_t)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        norm = alpha**2 + sigma**2
        return (alpha * x_t - sigma * value) / norm, (sigma * x_t + alpha * value) / norm

    def value(self, x0: Tensor, eps: Tensor, t: Time, schedule: Schedule) -> Tensor:
        """Alpha eps − sigma x0."""
        t = over_events(t, x0)
        return schedule.alpha(t) * eps - schedule.sigma(t) * x0


@final
class Score(Prediction):
    """The score of the noise: score = −eps / sigma, x0 = (x_t + sigma² score) / alpha."""

    def pair(self, value: Tensor, x_t: Tensor, t: Time, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """Tweedie's formula for x0, and −sigma score."""
        t = over_events(t, x_t)
        sigma = schedule.sigma(t)
        return (x_t + sigma**2 * value) / schedule.alpha(t), -sigma * value

    def value(self, x0: Tensor, eps: Tensor, t: Time, schedule: Schedule) -> Tensor:
        """−eps / sigma."""
        return -eps / schedule.sigma(over_events(t, x0))


@final
class Velocity(Prediction):
    """The velocity of the probability flow, alpha' x0 + sigma' eps = f x_t − ½ g² score.

    References:
        Lipman et al. 2023, Flow matching; Kingma & Gao 2023.
    """

    def pair(self, value: Tensor, x_t: Tensor, t: Time, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """x0 = ((g² + 2 f sigma²) x_t − 2 sigma² u) / (alpha g²), eps = 2 sigma (u − f x_t) / g²."""
        t = over_events(t, x_t)
        sigma, f, g2 = schedule.sigma(t), schedule.drift_coefficient(t), schedule.diffusion_squared(t)
        x0 = ((g2 + 2.0 * f * sigma**2) * x_t - 2.0 * sigma**2 * value) / (schedule.alpha(t) * g2)
        return x0, 2.0 * sigma * (value - f * x_t) / g2

    def value(self, x0: Tensor, eps: Tensor, t: Time, schedule: Schedule) -> Tensor:
        """Alpha' x0 + sigma' eps."""
        t = over_events(t, x0)
        return schedule.alpha_rate(t) * x0 + schedule.sigma_rate(t) * eps


def convert(
    value: Tensor, source: Prediction, target: Prediction, x_t: Tensor, t: Time, schedule: Schedule
) -> Tensor:
    """One predicted quantity turned into another, given x_t and t.

    Args:
        value: What the network predicted, (N, *event).
        source: What it stands for.
        target: What is wanted.
        x_t: Noisy data, (N, *event).
        t: Times, () or (N,); where sigma is 0 only x0 → x0 and v → x0 are finite.
        schedule: Gives alpha and sigma.

    Returns:
        The wanted quantity, (N, *event).

    Example:
        >>> import torch
        >>> from unigen.dynamics.schedule import VPCosine
        >>> x_t, t = torch.tensor([[1.0]]), torch.tensor(0.5)
        >>> convert(torch.tensor([[2.0]]), X0(), Score(), x_t, t, VPCosine()).round(decimals=4)
        tensor([[0.8284]])
    """
    if type(source) is type(target):
        return value
    x0, eps = source.pair(value, x_t, t, schedule)
    return target.value(x0, eps, t, schedule)
