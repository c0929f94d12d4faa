"""What a chain learns before its draws count: a step size by dual averaging, a diagonal mass by windows.

Every quantity has one entry a chain, so that chains learn alone and the first of many is the first of few.
"""

from __future__ import annotations

import torch
from torch import Tensor


class DualAveraging:
    """Step sizes whose mean acceptance probability tends to a target.

        log h_t = μ − √t / γ · H̄_t,   H̄_t = mean of (target − accepted), μ = log 10 h_0

    Args:
        step_size: h_0, shape (C,).
        target: Acceptance probability wanted.

    References:
        Nesterov 2009; Hoffman & Gelman, The no-U-turn sampler, JMLR 2014, algorithm 5 (γ = .05, t_0 = 10, κ = .75).
    """

    gamma, t_0, kappa = 0.05, 10.0, 0.75

    def __init__(self, step_size: Tensor, target: float) -> None:
        self.target = target
        self.restart(step_size)

    def restart(self, step_size: Tensor) -> None:
        """Forget the past and start from h_0."""
        self.centre = (10 * step_size).log()
        self.error = torch.zeros_like(step_size)
        self.log_average = step_size.log()
        self.log_step, self.t = step_size.log(), 0

    def update(self, accepted: Tensor) -> None:
        """Learn from the acceptance probabilities (C,) of one transition."""
        self.t += 1
        weight = 1 / (self.t + self.t_0)
        self.error = (1 - weight) * self.error + weight * (self.target - accepted)
        self.log_step = self.centre - self.t**0.5 / self.gamma * self.error
        fade = self.t**-self.kappa
        self.log_average = fade * self.log_step + (1 - fade) * self.log_average

    @property
    def step_size(self) -> Tensor:
        """The step to explore with, shape (C,)."""
        return self.log_step.exp()

    @property
    def final(self) -> Tensor:
        """The averaged step to keep, shape (C,)."""
        return self.log_average.exp()


class RunningVariance:
    """Variances of each chain's own draws, by Welford's recursion, shrunk towards 10⁻³ as Stan does.

    Args:
        like: Positions, shape (C, D).
    """

    def __init__(self, like: Tensor) -> None:
        self.n, self.mean, self.square = 0, torch.zeros_like(like), torch.zeros_like(like)

    def update(self, q: Tensor) -> None:
        """Take in one draw of every chain, shape (C, D)."""
        self.n += 1
        apart = q - self.mean
        self.mean = self.mean + apart / self.n
        self.square = self.square + apart * (q - self.mean)

    @property
    def value(self) -> Tensor:
        """The shrunk variances, shape (C, D)."""
        n = self.n
        return (n / (n + 5.0)) * self.square / max(1, n - 1) + 1e-3 * 5.0 / (n + 5.0)


def window_ends(warmup: int) -> list[int]:
    """Return the rounds after which the mass is renewed: windows that double, between two pure step-size phases.

    Example:
        >>> window_ends(1000)
        [100, 150, 250, 450, 950]
    """
    begin, last, width = (
        (75, 50, 25) if warmup >= 150 else (int(0.15 * warmup), int(0.1 * warmup), int(0.75 * warmup))
    )
    ends, at = [], begin
    while width and at < warmup - last:
        following = at + width
        at = following if following + 2 * width <= warmup - last else warmup - last
        ends.append(at)
        width *= 2
    return ends
