"""How far draws are from a Gaussian mixture whose score at every level of noise is known.

Sliced Wasserstein-2 distance to exact draws along fixed directions, and the maximum mean discrepancy to the mixture
itself, for which the kernel's expectations are closed. Both are above zero for exact draws too: that floor is measured
beside them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchmarks.sampler_peers import SCHEDULE

DIRECTIONS, PER_DRAW, KERNEL = 64, 8, 0.3  # KERNEL: width of the Gaussian kernel


class Mixture:
    """Six normal distributions in the plane, of unequal weight and width, with about mean 0 and variance 1."""

    def __init__(self) -> None:
        angles = torch.arange(6, dtype=torch.float64) * (math.pi / 3.0)
        self.weights = torch.tensor([0.05, 0.1, 0.15, 0.2, 0.2, 0.3], dtype=torch.float64)
        self.widths = torch.tensor([0.05, 0.1, 0.15, 0.1, 0.2, 0.3], dtype=torch.float64)
        centres = torch.stack([1.5 * torch.cos(angles), 1.2 * torch.sin(angles)], 1)
        self.centres = centres - self.weights @ centres

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Exact draws, (n, 2), float64."""
        rows = torch.multinomial(self.weights, n, True, generator=generator)
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return self.centres[rows] + self.widths[rows, None] * noise


class ExactNoise(nn.Module):
    """E[eps | z_t] under the mixture, in closed form."""

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        self.centres, self.variances = mixture.centres.float(), mixture.widths.square().float()
        self.log_weights = torch.log(mixture.weights).float()

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """Noise, (N, 2)."""
        t = t[:1, None].double()  # one time for all rows
        alpha, sigma = (level.to(z.dtype) for level in (SCHEDULE.alpha(t), SCHEDULE.sigma(t)))
        variance = alpha.square() * self.variances + sigma.square()
        offsets = z[:, None] - alpha.unsqueeze(-1) * self.centres
        log_weights = self.log_weights - torch.log(variance) - 0.5 * offsets.square().sum(-1) / variance
        weights = torch.softmax(log_weights, 1) * (sigma / variance)
        return torch.bmm(weights.unsqueeze(1), offsets).squeeze(1)


class Distance:
    """Distances of draws to a mixture.

    Args:
        mixture: The mixture.
        n: Number of draws to be compared.
        generator: Of the exact draws.
    """

    def __init__(self, mixture: Mixture, n: int, generator: torch.Generator) -> None:
        angles = (torch.arange(DIRECTIONS, dtype=torch.float64) + 0.5) * (math.pi / DIRECTIONS)
        self.directions = torch.stack([torch.cos(angles), torch.sin(angles)])
        exact = (mixture.draw(PER_DRAW * n, generator) @ self.directions).T.contiguous().sort(1).values
        self.quantiles, self.mixture = exact.reshape(DIRECTIONS, n, PER_DRAW).mean(2), mixture

    def sliced(self, x: Tensor) -> float:
        """Sliced W2, in units of the data; infinite where draws are not finite."""
        if not bool(torch.isfinite(x).all()):
            return math.inf
        ours = (x.double() @ self.directions).T.contiguous().sort(1).values
        return math.sqrt(float((ours - self.quantiles).square().mean()))

    def mmd(self, x: Tensor, n: int = 1500) -> float:
        """Root of the squared MMD of the first n draws to the mixture; 0 where its unbiased estimate is negative."""
        if not bool(torch.isfinite(x).all()):
            return math.inf
        x, mixture, k = x[:n].double(), self.mixture, KERNEL**2
        pairs = torch.exp(-0.5 * torch.cdist(x, x).square() / k)
        own = float(pairs.sum() - pairs.shape[0]) / (pairs.shape[0] * (pairs.shape[0] - 1))

        def mean(points: Tensor, variance: Tensor) -> Tensor:
            """E k(x, y) for y in each component, x at points with the given variance of their own."""
            total = k + variance
            return k / total * torch.exp(-0.5 * torch.cdist(points, mixture.centres).square() / total)

        cross = float((mean(x, mixture.widths.square()) @ mixture.weights).mean())
        both = mean(mixture.centres, mixture.widths.square() + mixture.widths.square().unsqueeze(1))
        squared = own - 2.0 * cross + float(mixture.weights @ both @ mixture.weights)
        return math.sqrt(max(0.0, squared))
