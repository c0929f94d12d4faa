"""Toy distributions in one or two dimensions whose density is exact: mixtures of Gaussians, some with a twist.

Each is p(x) = Σ_k w_k N(T⁻¹(x); μ_k, L_k L_kᵀ) with T the identity or T(v) = R(τ|v|) v, a rotation by an angle
proportional to the radius. T preserves volume (its Jacobian determinant is 1), so density and entropy stay exact.
Curves (circle, moons) are mixtures of so many narrow components that they equal the blurred curve to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.data.dataset import Dataset
from unigen.errors import ArgumentError, ShapeError


class Toy(TorchDistribution):
    """A twisted mixture of Gaussians, sampled and scored exactly.

    Args:
        name: What it is called.
        means: μ_k, shape (K, D), D = 1 or 2.
        sd: Standard deviation of all components, or their Cholesky factors L_k, shape (K, D, D).
        weights: w_k, shape (K,), positive; equal when None.
        labels: Label of each component, shape (K,); the component's index when None.
        twist: τ, radians a unit of radius (D = 2 only).

    Example:
        >>> toy = two_gaussians()
        >>> toy.sample((3,)).shape, round(float(toy.log_prob(torch.tensor([2.0]))), 6)
        (torch.Size([3, 1]), -0.562264)
    """

    arg_constraints: dict = {}  # noqa: RUF012  (torch's own declaration)
    support = constraints.real_vector  # pyright: ignore[reportAssignmentType]  (torch declares a property)
    has_rsample = False

    def __init__(
        self,
        name: str,
        means: Tensor,
        sd: float | Tensor,
        weights: Tensor | None = None,
        labels: Tensor | None = None,
        twist: float = 0.0,
    ) -> None:
        means = torch.as_tensor(means, dtype=torch.float64)
        if means.dim() != 2 or means.shape[1] not in (1, 2) or (twist and means.shape[1] != 2):
            raise ShapeError(program=name, site="means", got=tuple(means.shape), expected="(K, 1) or (K, 2)")
        count, dims = means.shape
        factors = torch.as_tensor(sd, dtype=torch.float64)
        if not bool((factors.diagonal(dim1=-2, dim2=-1) if factors.dim() else factors).gt(0).all()):
            raise ArgumentError(program=name, site="sd", got=sd, expected="positive")
        self.name, self.means, self.twist = name, means, twist
        self.scale_tril = (
            factors * torch.eye(dims, dtype=torch.float64) if factors.dim() == 0 else factors
        ).expand(count, dims, dims)
        weights = torch.ones(count) if weights is None else weights
        self.weights = weights.double() / weights.double().sum()
        self.labels = torch.arange(count) if labels is None else labels
        super().__init__(torch.Size(), torch.Size([dims]), validate_args=False)

    def _rotate(self, v: Tensor, sign: float) -> Tensor:
        """Rotate v by sign · τ|v|; the radius, and with it the inverse, is untouched."""
        if not self.twist:
            return v
        angle = sign * self.twist * v.norm(dim=-1)
        c, s = angle.cos(), angle.sin()
        return torch.stack([c * v[..., 0] - s * v[..., 1], s * v[..., 0] + c * v[..., 1]], dim=-1)

    def _log_base(self, v: Tensor) -> Tensor:
        """Log-density of the untwisted mixture, in nats."""
        inverse = torch.linalg.inv(self.scale_tril).to(v)
        z = torch.einsum("kij,...kj->...ki", inverse, v.unsqueeze(-2) - self.means.to(v))
        log_det = self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1).to(v)
        exponent = -0.5 * z.square().sum(-1) - log_det + self.weights.to(v).log()
        return torch.logsumexp(exponent, dim=-1) - 0.5 * self.event_shape[0] * math.log(2 * math.pi)

    def log_prob(self, value: Tensor) -> Tensor:
        """Exact log-density.

        Args:
            value: x, shape (..., D).

        Returns:
            log p(x), shape (...), in nats.

        Raises:
            ShapeError: If x does not end in D.
        """
        if value.dim() == 0 or value.shape[-1] != self.event_shape[0]:
            raise ShapeError(
                program=self.name, site="x", got=tuple(value.shape), expected=f"(..., {self.event_shape[0]})"
            )
        return self._log_base(self._rotate(value, -1.0))

    def sample_labelled(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw examples with the labels of their components.

        Args:
            n: How many.
            generator: Where randomness comes from; the global one when None.

        Returns:
            x of shape (n, D) in the default dtype, and integer labels of shape (n,).
        """
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        eps = torch.randn(n, self.event_shape[0], 1, dtype=torch.float64, generator=generator)
        v = self.means[k] + (self.scale_tril[k] @ eps).squeeze(-1)
        return self._rotate(v, 1.0).to(torch.get_default_dtype()), self.labels[k]

    def sample(self, sample_shape: torch.Size | Sequence[int] = torch.Size()) -> Tensor:
        """Draw examples.

        Args:
            sample_shape: Shape of the sample.

        Returns:
            Shape (*sample_shape, D).
        """
        shape = torch.Size(sample_shape)
        return self.sample_labelled(shape.numel())[0].reshape(shape + self.event_shape)

    def entropy(self) -> Tensor:
        """Differential entropy −∫ p log p, by the trapezoidal rule in the untwisted coordinates.

        The rule converges exponentially for these integrands; a third of the smallest standard deviation as step
        gives at least eight figures.

        Returns:
            A scalar, in nats.
        """
        sd = torch.linalg.svdvals(self.scale_tril)
        step, reach = float(sd.min()) / 3, 9 * float(sd.max())
        axes = [
            torch.arange(float(m.min()) - reach, float(m.max()) + reach + step, step, dtype=torch.float64)
            for m in self.means.T
        ]
        total = torch.zeros((), dtype=torch.float64)
        for points in torch.cartesian_prod(*axes).reshape(-1, len(axes)).split(8192):
            log_p = self._log_base(points)
            total = total - (log_p.exp() * log_p).sum()
        return total * step ** len(axes)

    def dataset(self, train: int = 4000, validation: int = 1000, test: int = 1000, seed: int = 0) -> Dataset:
        """Draw a data set.

        Args:
            train: N, training examples.
            validation: M, validation examples.
            test: T, test examples.
            seed: Of the generator that draws all three, in this order.

        Returns:
            A labelled Dataset.
        """
        generator = torch.Generator().manual_seed(seed)
        x, y = zip(*(self.sample_labelled(n, generator) for n in (train, validation, test)), strict=True)
        return Dataset(
            self.name,
            *x,
            *y,
            source=f"{train + validation + test} draws of the toy '{self.name}', seed {seed}",
        )


def two_gaussians(mean: float = 2.0, sd: float = 0.35, features: int = 1) -> Toy:
    """½ N(−m e_1, s² I) + ½ N(m e_1, s² I).

    Args:
        mean: m.
        sd: s.
        features: D, 1 or 2.

    Returns:
        The distribution.
    """
    means = torch.zeros(2, features)
    means[:, 0] = torch.tensor([-mean, mean])
    return Toy("two Gaussians", means, sd)


def ring(modes: int = 8, radius: float = 2.0, sd: float = 0.1) -> Toy:
    """Gaussians of equal weight, evenly spaced on a circle.

    Args:
        modes: K, how many.
        radius: R of the circle.
        sd: s of each.

    Returns:
        The distribution.
    """
    angle = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
    return Toy("ring of Gaussians", radius * torch.stack([angle.cos(), angle.sin()], -1), sd)


def circle(radius: float = 2.0, sd: float = 0.08) -> Toy:
    """Blur a circle by a Gaussian: x = R (cos θ, sin θ) + s ε, with density in I_0(R|x|/s²).

    Args:
        radius: R.
        sd: s; its entropy at R = 2, s = .08 is 1.423833.

    Returns:
        The distribution, as a mixture with components at most 2s/3 apart along the circle.
    """
    toy = ring(max(64, math.ceil(3 * math.pi * radius / sd)), radius, sd)
    return Toy("circle", toy.means, sd, labels=torch.zeros(toy.means.shape[0], dtype=torch.long))


def grid(side: int = 3, spacing: float = 6.0, sd: float = 1.5) -> Toy:
    """Gaussians of equal weight on a square grid about the origin.

    Args:
        side: Modes along one edge.
        spacing: Distance between neighbours.
        sd: s of each; the entropy of the default is 5.684893.

    Returns:
        The distribution.
    """
    axis = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
    return Toy("grid of Gaussians", torch.cartesian_prod(axis, axis), sd)


def two_moons(sd: float = 0.1) -> Toy:
    """Two interleaved half circles blurred by a Gaussian, in scikit-learn's geometry.

    x = (cos θ, sin θ) + s ε or (1 − cos θ, ½ − sin θ) + s ε, θ uniform on [0, π].

    Args:
        sd: s.

    Returns:
        The distribution, as a mixture whose components are the nodes of a Gauss–Legendre rule in θ.
    """
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(max(64, math.ceil(8 / sd)))
    theta, w = torch.as_tensor(math.pi * (nodes + 1) / 2), torch.as_tensor(weights)
    upper = torch.stack([theta.cos(), theta.sin()], -1)
    means = torch.cat([upper, torch.tensor([1.0, 0.5]) - upper])
    labels = torch.arange(2).repeat_interleave(theta.shape[0])
    return Toy("two moons", means, sd, weights=torch.cat([w, w]), labels=labels)


def pinwheel(
    arms: int = 5, radius: float = 2.0, sd: tuple[float, float] = (0.6, 0.2), twist: float = 0.6
) -> Toy:
    """Gaussian blobs, long along the radius, twisted into spiral arms; its entropy is that of the blobs.

    Args:
        arms: K, how many.
        radius: Distance of the blobs' means from the origin.
        sd: Standard deviations along and across the radius.
        twist: τ, rotation in radians a unit of radius.

    Returns:
        The distribution.
    """
    angle = 2 * math.pi * torch.arange(arms, dtype=torch.float64) / arms
    c, s = angle.cos(), angle.sin()
    axes = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    covariance = axes @ torch.diag(torch.tensor(sd, dtype=torch.float64).square()) @ axes.mT
    means = radius * torch.stack([c, s], -1)
    return Toy("pinwheel", means, torch.linalg.cholesky(covariance), twist=twist)
