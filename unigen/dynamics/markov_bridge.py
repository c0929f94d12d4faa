"""A Markov process between two distributions, given by two networks that predict the ends of a mixture of bridges.

    forward     dX = [−rate X + sigma² a (x̂_1 − a X) / variance(1 − t)] dt + sigma dW,    X_0 ~ data,   a = decay(1 − t)
    backward    the same towards x̂_0, in the time 1 − t,    X_1 ~ prior

with x̂_1(x, t) = E[X_1 | X_t = x] and x̂_0(x, t) = E[X_0 | X_t = x] under a mixture of bridges these are its Markovian
projections: processes with the same law at every time. Notation: x (N, D), t (N,).
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from unigen.dynamics.reference import Reference


@final
class MarkovBridge(nn.Module):
    """Two networks, the reference process, and the units that the networks work in.

    Args:
        features: D.
        reference: Process whose bridges are mixed.
        network_1: Predicts x_1, called as net(x (N, D), t (N,)) -> (N, D).
        network_0: Predicts x_0.

    References:
        Shi, De Bortoli, Campbell & Doucet, Diffusion Schrödinger bridge matching, 2023; Peluchetti, Diffusion bridge
        mixture transports, Schrödinger bridge problems and generative modeling, 2023.
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self, features: int, reference: Reference, network_1: nn.Module, network_0: nn.Module
    ) -> None:
        super().__init__()
        self.reference, self.network_1, self.network_0 = reference, network_1, network_0
        self.register_buffer("loc", torch.zeros(2, features))
        self.register_buffer("scale", torch.ones(2, features))

    @torch.no_grad()
    def standardise(self, x_0: Tensor, x_1: Tensor) -> None:
        """Take the units of both ends from data, (N, D) each."""
        for i, x in enumerate((x_0, x_1)):
            self.loc[i].copy_(x.mean(0))
            self.scale[i].copy_(x.std(0, correction=0).clamp_min(1e-6))

    def unit_end(self, x: Tensor, end: int) -> Tensor:
        """An end, (N, D), in units of its own mean and scale."""
        return (x - self.loc[end]) / self.scale[end]

    def unit_state(self, x: Tensor, t: Tensor) -> Tensor:
        """A state at t, (N, D), in units of the mixture of bridges between independent ends."""
        a, b, v = self.reference.weights(0.0, t, x)
        spread = (a * self.scale[0]).square() + (b * self.scale[1]).square() + v
        return (x - a * self.loc[0] - b * self.loc[1]) / spread.sqrt()

    def predict(self, x: Tensor, t: Tensor, end: int) -> Tensor:
        """Return x̂_0 or x̂_1, (N, D), at a state x at t."""
        network = self.network_1 if end else self.network_0
        return self.loc[end] + self.scale[end] * network(self.unit_state(x, t), t.expand(x.shape[0]))

    def drift(self, t: Tensor, x: Tensor) -> Tensor:
        """Drift forward in time, (N, D), t < 1."""
        return self.reference.pull_forward(t, x, self.predict(x, t, 1))

    def backward_drift(self, t: Tensor, x: Tensor) -> Tensor:
        """Drift per unit of backward time, (N, D), t > 0."""
        return self.reference.pull_backward(t, x, self.predict(x, t, 0))

    def simulate(self, x: Tensor, end: int, steps: int) -> Tensor:
        """Carry states at one end to the other, by Euler–Maruyama in equal steps.

        Args:
            x: States at the end 1 − ``end``, (N, D).
            end: Where they go: 1 forward, 0 backward.
            steps: Number of steps; the law of the result is off by O(1 / steps).

        Returns:
            States at the other end, (N, D).
        """
        h = 1.0 / steps
        for k in range(steps):
            t = torch.full((), k * h if end else 1.0 - k * h, dtype=x.dtype, device=x.device)
            drift = self.drift(t, x) if end else self.backward_drift(t, x)
            x = x + h * drift + self.reference.sigma * math.sqrt(h) * torch.randn_like(x)
        return x

    def between(self, x_0: Tensor, x_1: Tensor, t: Tensor) -> Tensor:
        """Draw the bridges of pairs at times t (N,), (N, D)."""
        a, b, v = self.reference.weights(0.0, t, x_0)
        return a * x_0 + b * x_1 + v.clamp_min(0).sqrt() * torch.randn_like(x_0)

    def error(self, x_0: Tensor, x_1: Tensor, t: Tensor, end: int) -> Tensor:
        """Return the squared error of the predicted end on bridges of pairs, in units of that end, (N,)."""
        x_t = self.between(x_0, x_1, t)
        network = self.network_1 if end else self.network_0
        target = self.unit_end(x_1 if end else x_0, end)
        return (network(self.unit_state(x_t, t), t) - target).square().sum(1)

    @torch.no_grad()
    def solve(self, x_0: Tensor, x_1: Tensor, t: Tensor, end: int) -> None:
        """Regress the end on bridges of pairs by least squares, with a network that has ``solve``."""
        network = self.network_1 if end else self.network_0
        x_t = self.between(x_0, x_1, t)
        solve = getattr(network, "solve")  # noqa: B009  (a module of the user's own may have it)
        solve(self.unit_state(x_t, t), t, self.unit_end(x_1 if end else x_0, end))

    @property
    def solvable(self) -> bool:
        """Whether both networks solve their regression in closed form."""
        return all(hasattr(network, "solve") for network in (self.network_1, self.network_0))
