"""Bridges: a reference process conditioned on where it starts, at time 0, and where it ends, at time 1.

    X_t | x_0, x_1 ~ N(a(t) x_0 + b(t) x_1, v(t) I)
    Cov(X_s, X_t) = decay(t − s) variance(s) variance(1 − t) / variance(1) I,    s ≤ t

with a, b and v of `reference.Reference.weights(0, t)`. For Brownian motion a = 1 − t, b = t and v = sigma² t (1 − t).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from unigen.dynamics.reference import Reference, over_events
from unigen.errors import ArgumentError, ShapeError


def _between(site: str, value: float, low: float, high: float, open_low: bool, open_high: bool) -> float:
    """Return a time if it lies in an interval, open at its ends or not."""
    t = float(value)
    if (
        math.isfinite(t)
        and low <= t <= high
        and not (open_low and t == low)
        and not (open_high and t == high)
    ):
        return t
    interval = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
    raise ArgumentError(program="Bridge", site=site, got=t, expected=f"a time in {interval}")


def check_increasing(times: Sequence[float] | Tensor, program: str = "Bridge") -> list[float]:
    """Return times in [0, 1] as strictly increasing numbers.

    Raises:
        ArgumentError: None is given, one lies outside [0, 1], or they do not increase.
    """
    values = [float(t) for t in times]
    if not values or not all(0.0 <= t <= 1.0 for t in values) or any(b <= a for a, b in pairwise(values)):
        raise ArgumentError(
            "times must increase and lie in [0, 1]", program=program, site="times", got=values,
            expected="0 ≤ t_1 < t_2 < … ≤ 1", hint="sorted(set(times))",
        )  # fmt: skip
    return values


@final
class Bridge:
    """A reference process pinned at both ends: moments, drifts, transition densities and exact draws.

    dX = [−rate X + sigma² ∇ log p(X_1 = x_1 | X_t = X)] dt + sigma dW,   X_0 = x_0

    Args:
        reference: The process, ``BrownianMotion(sigma)`` or ``OrnsteinUhlenbeck(rate, sigma)``.
        x_0: Start, (N, *event).
        x_1: End, (N, *event).

    Raises:
        ShapeError: The two ends have different shapes.

    References:
        Doob, Conditional Brownian motion and the boundary limits of harmonic functions, 1957; Rogers & Williams,
        Diffusions, Markov processes and martingales, 2000.

    Example:
        >>> from unigen.dynamics.reference import BrownianMotion
        >>> bridge = Bridge(BrownianMotion(1.0), torch.zeros(1, 1), torch.ones(1, 1))
        >>> bridge.mean(0.25).item(), bridge.variance(0.25)
        (0.25, 0.1875)
    """

    def __init__(self, reference: Reference, x_0: Tensor, x_1: Tensor) -> None:
        if x_0.shape != x_1.shape:
            raise ShapeError(program="Bridge", site="x_1", got=tuple(x_1.shape), expected=tuple(x_0.shape))
        self.reference, self.x_0, self.x_1 = reference, x_0, x_1

    def mean(self, t: float) -> Tensor:
        """Return E[X_t], (N, *event), for t in [0, 1]."""
        a, b, _ = self.reference.weights(0.0, _between("t", t, 0, 1, False, False), self.x_0)
        return a * self.x_0 + b * self.x_1

    def variance(self, t: float) -> float:
        """Return the variance of every coordinate of X_t, for t in [0, 1]."""
        return self.covariance(t, t)

    def covariance(self, s: float, t: float) -> float:
        """Return the covariance of X_s and X_t, the same for every coordinate, in either order of the times."""
        s, t = sorted((_between("s", s, 0, 1, False, False), _between("t", t, 0, 1, False, False)))
        p = self.reference
        early, ahead, step = (torch.tensor(h, dtype=torch.float64) for h in (s, 1 - t, t - s))
        whole = p.variance(torch.ones((), dtype=torch.float64))
        return float(p.decay(step) * p.variance(early) * p.variance(ahead) / whole)

    def drift(self, t: float | Tensor, x: Tensor) -> Tensor:
        """Return the drift at x forward in time, (N, *event), for t in [0, 1); t is one number or (N,)."""
        self._inside(t, open_low=False, open_high=True)
        return self.reference.pull_forward(t, x, self.x_1)

    def backward_drift(self, t: float | Tensor, x: Tensor) -> Tensor:
        """Return the drift at x of the time reversal, per unit of backward time, (N, *event), for t in (0, 1]."""
        self._inside(t, open_low=True, open_high=False)
        return self.reference.pull_backward(t, x, self.x_0)

    def transition(self, x_s: Tensor, s: float, t: float) -> TorchDistribution:
        """Return p(x_t | x_s, x_1), batch shape (N,), for 0 ≤ s < t < 1.

        Args:
            x_s: State at s, (N, *event).
            s: Earlier time.
            t: Later time.

        Returns:
            A normal distribution; its ``log_prob`` is in nats.

        Raises:
            ArgumentError: Not 0 ≤ s < t < 1.
        """
        start = _between("s", s, 0, 1, False, True)
        stop = _between("t", t, start, 1, True, True)
        a, b, v = self.reference.weights(start, stop, x_s)
        loc = a * x_s + b * self.x_1
        return dist.Normal(loc, v.sqrt().expand_as(loc)).to_event(loc.dim() - 1)

    def sample(self, times: Sequence[float] | Tensor) -> Tensor:
        """Return a joint draw of the path at the given times, without discretisation error.

        Args:
            times: Increasing times in [0, 1], T of them.

        Returns:
            States, (T, N, *event).

        Raises:
            ArgumentError: The times do not increase or lie outside [0, 1].
        """
        x, s, path = self.x_0, 0.0, []
        for t in check_increasing(times):
            a, b, v = self.reference.weights(s, t, x)
            x, s = a * x + b * self.x_1 + v.clamp_min(0).sqrt() * torch.randn_like(x), t
            path.append(x)
        return torch.stack(path)

    def _inside(self, t: float | Tensor, *, open_low: bool, open_high: bool) -> None:
        times = over_events(t, self.x_0).flatten()
        for extreme in (times.min(), times.max()):
            _between("t", float(extreme), 0, 1, open_low, open_high)
