"""Kernels between samples, and the squared distance of mean embeddings that each gives.

    MMD²(p, q) = E k(x, x') + E k(y, y') − 2 E k(x, y),     x, x' ~ p and y, y' ~ q, all independent

    GaussianKernel      mean over bandwidths h of exp(−‖a − b‖² / 2h²)
    DistanceKernel      −‖a − b‖^power, which gives the energy distance (power 1)

Notation: x (N, D) data, y (M, D) draws. All values are squared distances: there is no root.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError


class Kernel(ABC):
    """k(a, b), a characteristic kernel or one that is conditionally positive definite. Stateless."""

    @abstractmethod
    def of_distance(self, distance: Tensor, scale: Tensor) -> Tensor:
        """Return k from distances ‖a − b‖.

        Args:
            distance: Shape (N, M).
            scale: The typical distance of the points, shape ().
        """

    def __repr__(self) -> str:
        """Return the class and its options."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


@final
class GaussianKernel(Kernel):
    """The mean of Gaussian kernels of several bandwidths.

    Args:
        bandwidths: h, in units of x, or of the typical distance of the data if ``relative``.
        relative: Take the bandwidths relative to the root mean squared distance within each batch of data.

    Raises:
        ArgumentError: No bandwidth, or one that is not positive.

    References:
        Gretton et al., A kernel two-sample test, 2012; Li, Swersky & Zemel, Generative moment matching networks, 2015.
    """

    def __init__(
        self, bandwidths: Sequence[float] = (0.05, 0.15, 0.5, 1.0), *, relative: bool = True
    ) -> None:
        if len(bandwidths) == 0 or not all(h > 0 for h in bandwidths):
            raise ArgumentError(
                program="GaussianKernel",
                site="bandwidths",
                got=tuple(bandwidths),
                expected="positive numbers",
            )
        self.bandwidths, self.relative = tuple(float(h) for h in bandwidths), relative

    def of_distance(self, distance: Tensor, scale: Tensor) -> Tensor:
        """Mean of exp(−d² / 2h²) over h."""
        squared = distance.square() / scale.square() if self.relative else distance.square()
        total = torch.zeros_like(squared)
        for h in self.bandwidths:
            total = total + torch.exp(squared * (-0.5 / h**2))
        return total / len(self.bandwidths)


@final
class DistanceKernel(Kernel):
    """−‖a − b‖^power: its MMD² is the energy distance 2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖ where the power is 1.

    Args:
        power: Between 0 and 2, both excluded.

    Raises:
        ArgumentError: A power outside (0, 2), for which distances are no kernel or see only means.

    References:
        Székely & Rizzo, Energy statistics, 2013; Sejdinovic et al., Equivalence of distance-based and RKHS-based
        statistics, 2013.
    """

    def __init__(self, power: float = 1.0) -> None:
        if not 0.0 < power < 2.0:
            raise ArgumentError(program="DistanceKernel", site="power", got=power, expected="in (0, 2)")
        self.power = power

    def of_distance(self, distance: Tensor, scale: Tensor) -> Tensor:
        """−d^power."""
        return -distance if self.power == 1.0 else -distance.pow(self.power)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def squared_mmd(kernel: Kernel, x: Tensor, y: Tensor) -> Tensor:
    """Return the unbiased estimate of MMD², which may be negative; differentiable in y.

    Args:
        kernel: k.
        x: Data, shape (N, *event), N ≥ 2.
        y: Draws, shape (M, *event), M ≥ 2.

    Returns:
        A scalar, in units of the kernel.

    References:
        Gretton et al. 2012, equation 3.

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
        >>> float(squared_mmd(DistanceKernel(), x, y))
        2.0
    """
    x, y = x.flatten(1), y.flatten(1)
    scale = (2 * x.detach().var(0).sum()).clamp_min(torch.finfo(x.dtype).tiny).sqrt()
    return (
        _within(kernel, x, scale)
        + _within(kernel, y, scale)
        - 2 * kernel.of_distance(_distances(x, y), scale).mean()
    )


def _within(kernel: Kernel, x: Tensor, scale: Tensor) -> Tensor:
    """Return the mean of k over pairs of different rows; coinciding rows have no gradient."""
    n = x.shape[0]
    eye = torch.eye(n, dtype=torch.bool, device=x.device)
    values = kernel.of_distance(_distances(x, x).masked_fill(eye, 1.0), scale)
    return values.masked_fill(eye, 0.0).sum() / (n * (n - 1))
