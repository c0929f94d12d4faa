"""A mixture of diagonal Gaussians whose draws carry gradients, those in the weights included.

    q(z) = Σ_k π_k Π_d N(z_d; μ_kd, σ_kd²)

The draw picks a component, which has no derivative. Its gradient is implicit: the conditional distribution functions
F_d(z_d | z_{<d}; φ) of a draw are uniform and independent whatever the parameters φ, so a draw that keeps them moves by

    J ∂z/∂φ = −∂F/∂φ,      J_dj = ∂F_d/∂z_j   (lower triangular, q(z_d | z_{<d}) on its diagonal).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.errors import ShapeError


class NormalMixture(TorchDistribution):
    """Σ_k π_k N(z; μ_k, diag σ_k²) over vectors, with reparameterised draws.

    Args:
        logits: log π up to a constant, shape (..., K).
        loc: μ, shape (..., K, L).
        scale: σ, shape (..., K, L).

    Raises:
        ShapeError: The shapes do not agree.

    References:
        Figurnov, Mohamed & Mnih, Implicit reparameterization gradients, NeurIPS 2018; Graves, Stochastic
        backpropagation through mixture density distributions, 2016.

    Example:
        >>> logits = torch.zeros(2, requires_grad=True)
        >>> q = NormalMixture(logits, torch.tensor([[-1.0], [2.0]]), torch.ones(2, 1))
        >>> gradient = torch.autograd.grad(q.rsample((4000,)).mean(), logits)[0]  # of (2 π_2 − π_1) is ∓3/4
        >>> bool((gradient - torch.tensor([-0.75, 0.75])).abs().max() < 0.1)
        True
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.independent(constraints.real, 1),
        "loc": constraints.independent(constraints.real, 2),
        "scale": constraints.independent(constraints.positive, 2),
    }
    support = constraints.real_vector  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor) -> None:
        if loc.shape != scale.shape or logits.shape != loc.shape[:-1]:
            raise ShapeError(
                program="NormalMixture",
                got=f"logits {tuple(logits.shape)}, loc {tuple(loc.shape)}, scale {tuple(scale.shape)}",
                expected="(..., K), (..., K, L) and (..., K, L)",
            )
        self.logits, self.loc, self.scale = logits, loc, scale
        super().__init__(loc.shape[:-2], loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> NormalMixture:
        """Return the same mixture with another batch shape."""
        batch, k = torch.Size(batch_shape), self.logits.shape[-1]
        tail = (*batch, k, *self.event_shape)
        return NormalMixture(self.logits.expand(*batch, k), self.loc.expand(tail), self.scale.expand(tail))

    @property
    def weights(self) -> Tensor:
        """π, shape (..., K)."""
        return self.logits.softmax(-1)

    @property
    def mean(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Σ_k π_k μ_k, shape (..., L)."""
        return (self.weights[..., None] * self.loc).sum(-2)

    @property
    def variance(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Σ_k π_k (σ_k² + (μ_k − mean)²), shape (..., L)."""
        square = self.scale.square() + (self.loc - self.mean[..., None, :]).square()
        return (self.weights[..., None] * square).sum(-2)

    def _standardised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return t = (z − μ) / σ and log N(z_d; μ_kd, σ_kd²), both (..., K, L)."""
        t = (z[..., None, :] - self.loc) / self.scale
        return t, -0.5 * t.square() - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log q(value) in nats, shape (...)."""
        return torch.logsumexp(self.logits.log_softmax(-1) + self._standardised(value)[1].sum(-1), -1)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw without gradients, shape (*sample_shape, *batch_shape, L)."""
        shape = torch.Size(sample_shape) + self.batch_shape
        k, size = self.logits.shape[-1], self.event_shape[0]
        index = dist.Categorical(logits=self.logits, validate_args=False).sample(torch.Size(sample_shape))
        index = index[..., None, None].expand(*shape, 1, size)
        loc = self.loc.expand(*shape, k, size).gather(-2, index)[..., 0, :]
        return loc + self.scale.expand(*shape, k, size).gather(-2, index)[..., 0, :] * torch.randn_like(loc)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw with gradients, shape (*sample_shape, *batch_shape, L)."""
        z = self.sample(sample_shape)
        t, log_normal = self._standardised(z)
        before = log_normal.cumsum(-1) - log_normal  # Σ_{j<d} log N(z_j; μ_kj, σ_kj²)
        w = (self.logits[..., None] + before).softmax(-2)  # of component k given z_{<d}
        with torch.no_grad():  # the smaller of both tails is the accurate one: F = Φ(t), or 1 − F = Φ(−t)
            sign = torch.where(z > (w * self.loc).sum(-2), -1.0, 1.0)[..., None, :]
        each = torch.special.ndtr(sign * t)
        tail = (w * each).sum(-2)  # F_d or 1 − F_d, shape (..., L)
        with torch.no_grad():
            density = (w * log_normal.exp()).sum(-2)
            towards = sign * w * (each - tail[..., None, :]) / density[..., None, :]
            jacobian = (towards.mT @ (-t / self.scale)).tril(-1)  # J_dj / J_dd for j < d
            inverse = torch.linalg.inv(jacobian + torch.eye(z.shape[-1], dtype=z.dtype, device=z.device))
        change = sign[..., 0, :] * (tail - tail.detach()) / density
        return z - (inverse @ change[..., None])[..., 0]
