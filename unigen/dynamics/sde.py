"""Dynamics: a drift, a diffusion and a schedule; forward, reversed, and as the probability-flow ODE.

All are written in the one time t of `schedule.py`, 0 = data, 1 = noise: the forward SDE is solved with increasing
times, its reversal and the probability flow down to data with decreasing times. A drift is always dx/dt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.prediction import over_events
from unigen.dynamics.schedule import Schedule
from unigen.errors import ArgumentError

TimeField = Callable[[Tensor, Tensor], Tensor]  # (t () or (N,), x (N, *event)) -> (N, *event)


class Dynamics(ABC):
    """A drift and a diffusion along a schedule: dx = drift(t, x) dt + diffusion(t, x) dW.

    Args:
        schedule: Signal and noise levels; its log SNR must fall.

    Raises:
        ArgumentError: The schedule's log SNR does not fall strictly.
    """

    def __init__(self, schedule: Schedule) -> None:
        schedule.check_monotone()
        self.schedule = schedule

    @abstractmethod
    def drift(self, t: Tensor, x: Tensor) -> Tensor:
        """Drift.

        Args:
            t: Time, () or (N,).
            x: State, (N, *event).

        Returns:
            dx/dt, (N, *event).
        """

    @abstractmethod
    def diffusion(self, t: Tensor, x: Tensor) -> Tensor | float:
        """Diffusion, diagonal in the event's coordinates.

        Args:
            t: Time, () or (N,).
            x: State, (N, *event).

        Returns:
            Standard deviation of the noise per unit √time: a number where it does not depend on the state, or any
            shape that broadcasts with x.
        """


@final
class ForwardSDE(Dynamics):
    """Data turned into noise: dx = f(t) x dt + g(t) dW, so that x_t | x_0 ~ N(alpha_t x_0, sigma_t² I).

    Args:
        schedule: Signal and noise levels with alpha(0) close to 1 and sigma(0) close to 0.

    Example:
        >>> from unigen.dynamics.schedule import VPLinear
        >>> mean, std = ForwardSDE(VPLinear()).marginal(torch.ones(1, 2), torch.tensor(1.0))
        >>> mean.round(decimals=5), std.round(decimals=5)
        (tensor([[0.0066, 0.0066]]), tensor(1.0000))
    """

    def drift(self, t: Tensor, x: Tensor) -> Tensor:
        """f(t) x."""
        return self.schedule.drift_coefficient(over_events(t, x)) * x

    def diffusion(self, t: Tensor, x: Tensor) -> Tensor:
        """g(t)."""
        return torch.sqrt(self.schedule.diffusion_squared(over_events(t, x)))

    def marginal(self, x_0: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of x_t given x_0.

        Args:
            x_0: Data, (N, *event).
            t: Times, () or (N,).

        Returns:
            alpha_t x_0, (N, *event), and sigma_t, which broadcasts with it.
        """
        t = over_events(t, x_0)
        return self.schedule.alpha(t) * x_0, self.schedule.sigma(t)

    def perturb(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t = alpha_t x_0 + sigma_t eps, (N, *event)."""
        mean, std = self.marginal(x_0, t)
        return mean + std * eps

    def on_grid(self, times: Tensor) -> TabulatedSDE:
        """The same SDE with f and g looked up at the times of a solver's grid instead of computed.

        Args:
            times: Grid in [0, 1], (K + 1,).

        Returns:
            Dynamics with the same drift and diffusion.

        Raises:
            ArgumentError: A time is outside [0, 1].
        """
        return TabulatedSDE(self, times)


@final
class TabulatedSDE(Dynamics):
    """A forward SDE whose coefficients are looked up where the time is on a grid, and computed elsewhere.

    Args:
        forward: The SDE.
        times: Grid in [0, 1], (K + 1,), in the type the solver will use.
    """

    def __init__(self, forward: ForwardSDE, times: Tensor) -> None:
        self.schedule, self.forward = forward.schedule, forward
        times = self.schedule.check(times)
        f, g = self.schedule.drift_coefficient(times), torch.sqrt(self.schedule.diffusion_squared(times))
        self._table = dict(zip(times.tolist(), zip(f.tolist(), g.tolist(), strict=True), strict=True))

    def _levels(self, t: Tensor) -> tuple[float, float] | None:
        """(f, g) at a single time of the grid."""
        return self._table.get(float(t)) if t.dim() == 0 else None

    def drift(self, t: Tensor, x: Tensor) -> Tensor:
        """f(t) x."""
        levels = self._levels(t)
        return self.forward.drift(t, x) if levels is None else x * levels[0]

    def diffusion(self, t: Tensor, x: Tensor) -> Tensor | float:
        """g(t)."""
        levels = self._levels(t)
        return self.forward.diffusion(t, x) if levels is None else levels[1]


def _plus_score(drift: Tensor, score: Tensor, g: Tensor | float, weight: float) -> Tensor:
    """Drift − weight g² score, in one operation where g is a number."""
    if isinstance(g, float):
        return torch.add(drift, score, alpha=-weight * g * g)
    return drift - (weight * g**2) * score


@final
class ReverseSDE(Dynamics):
    """Noise turned back into data, with the same marginals as the forward SDE.

        dx = [drift − ½ (1 + noise²) g² score] dt + noise g dW,   times decreasing.

    Args:
        dynamics: The forward dynamics; its diffusion must not depend on the state.
        score: ∇ log p_t, a function (t, x) -> (N, *event).
        noise: 1 is Anderson's reversal, 0 the probability flow; any value ≥ 0 keeps the marginals.

    Raises:
        ArgumentError: The noise is negative.

    References:
        Anderson 1982, Reverse-time diffusion equation models; Song et al. 2021.
    """

    def __init__(self, dynamics: Dynamics, score: TimeField, noise: float = 1.0) -> None:
        super().__init__(dynamics.schedule)
        if not noise >= 0.0:
            raise ArgumentError(program="ReverseSDE", site="noise", got=noise, expected="a number >= 0")
        self.dynamics, self.score, self.noise = dynamics, score, float(noise)
        self._weight = 0.5 * (1.0 + self.noise**2)

    def drift(self, t: Tensor, x: Tensor) -> Tensor:
        """Forward drift − ½ (1 + noise²) g² score."""
        g = self.dynamics.diffusion(t, x)
        return _plus_score(self.dynamics.drift(t, x), self.score(t, x), g, self._weight)

    def diffusion(self, t: Tensor, x: Tensor) -> Tensor | float:
        """Noise times the forward diffusion."""
        g = self.dynamics.diffusion(t, x)
        return g if self.noise == 1.0 else g * self.noise


@final
class ProbabilityFlow(Dynamics):
    """The ODE with the SDE's marginals: dx/dt = drift − ½ g² score.

    Args:
        dynamics: The forward dynamics; its diffusion must not depend on the state.
        score: ∇ log p_t, a function (t, x) -> (N, *event).

    References:
        Song et al. 2021, Score-based generative modeling through stochastic differential equations.
    """

    def __init__(self, dynamics: Dynamics, score: TimeField) -> None:
        super().__init__(dynamics.schedule)
        self.dynamics, self.score = dynamics, score

    def drift(self, t: Tensor, x: Tensor) -> Tensor:
        """Forward drift − ½ g² score."""
        g = self.dynamics.diffusion(t, x)
        return _plus_score(self.dynamics.drift(t, x), self.score(t, x), g, 0.5)

    def diffusion(self, t: Tensor, x: Tensor) -> float:
        """Zero: the flow is deterministic."""
        return 0.0
