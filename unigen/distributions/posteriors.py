"""Posterior heads: what an encoder's output means, q(z | raw).

Notation: L latents; the encoder ends in ``width(L)`` numbers ``raw``. Scales never fall below ``FLOOR``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import register_kl
from torch.nn.functional import softplus

from unigen.distributions.dense_normal import DenseNormal
from unigen.distributions.normal_mixture import NormalMixture
from unigen.errors import ArgumentError, ShapeError

FLOOR = 1e-4  # smallest posterior scale


class Posterior(nn.Module, ABC):
    """The head of an encoder; subclasses define ``width`` and ``given``."""

    @abstractmethod
    def width(self, latents: int) -> int:
        """Return how many numbers the encoder must give for L latents."""

    @abstractmethod
    def given(self, raw: Tensor, latents: int) -> TorchDistribution:
        """Return q(z | raw) of L latents, batch shape (...), from raw (..., width)."""

    def forward(self, raw: Tensor, event_shape: torch.Size | tuple[int, ...]) -> TorchDistribution:
        """Return q(z | raw).

        Args:
            raw: Output of the encoder, shape (..., width(L)).
            event_shape: (L,).

        Returns:
            Distribution with batch shape (...) and event shape (L,).

        Raises:
            ShapeError: The last dimension of ``raw`` is not width(L).
        """
        latents = torch.Size(event_shape).numel()
        if raw.dim() == 0 or raw.shape[-1] != self.width(latents):
            raise ShapeError(
                "the encoder does not fit the posterior",
                program=type(self).__name__,
                site="raw",
                got=tuple(raw.shape),
                expected=f"(..., {self.width(latents)}) for {latents} latents",
            )
        return self.given(raw, latents)


class MeanField(Posterior):
    """q(z | x) = N(m(x), diag s(x)²): raw holds m and ρ, s = FLOOR + log(1 + exp ρ).

    References:
        Kingma & Welling, Auto-encoding variational Bayes, 2014.

    Example:
        >>> MeanField()(torch.zeros(5, 6), (3,)).event_shape
        torch.Size([3])
    """

    def __init__(self) -> None:  # an explicit signature: checkpoints write constructor arguments down
        super().__init__()

    def width(self, latents: int) -> int:
        """Return 2L."""
        return 2 * latents

    def given(self, raw: Tensor, latents: int) -> TorchDistribution:
        """Return N(m, diag s²)."""
        loc, rho = raw.chunk(2, -1)
        return dist.Normal(loc, softplus(rho) + FLOOR).to_event(1)


class CholeskyNormal(DenseNormal):
    """N(m, CCᵀ) whose divergence from a product of normals is known in closed form.

    That of ``DenseNormal`` itself is not: an exact posterior gives log p(x) with every draw, by its density alone.
    """


class FullCovariance(Posterior):
    """q(z | x) = N(m(x), C(x) C(x)ᵀ), C lower triangular: raw holds m, the ρ of its diagonal, and what is below.

    References:
        Kingma & Welling, An introduction to variational autoencoders, section 2.5, 2019.

    Example:
        >>> FullCovariance()(torch.zeros(5, 9), (3,)).covariance_matrix.shape
        torch.Size([5, 3, 3])
    """

    def __init__(self) -> None:
        super().__init__()

    def width(self, latents: int) -> int:
        """Return 2L + L (L − 1) / 2."""
        return 2 * latents + latents * (latents - 1) // 2

    def given(self, raw: Tensor, latents: int) -> TorchDistribution:
        """Return N(m, CCᵀ)."""
        loc, rho, below = raw[..., :latents], raw[..., latents : 2 * latents], raw[..., 2 * latents :]
        rows, zero = [], torch.zeros_like(rho)
        for i in range(latents):  # row i: i numbers of ``below``, the diagonal, zeros
            start = i * (i - 1) // 2
            diagonal = softplus(rho[..., i : i + 1]) + FLOOR
            rows.append(torch.cat((below[..., start : start + i], diagonal, zero[..., i + 1 :]), -1))
        return CholeskyNormal(loc, scale_tril=torch.stack(rows, -2))


class MixturePosterior(Posterior):
    """q(z | x) = Σ_k π_k(x) N(m_k(x), diag s_k(x)²), its draws reparameterised.

    Args:
        components: K.

    Raises:
        ArgumentError: K < 1.

    References:
        Jaakkola & Jordan, Improving the mean field approximation via mixtures, 1998; Figurnov, Mohamed & Mnih 2018.

    Example:
        >>> MixturePosterior(4)(torch.randn(5, 28), (3,)).rsample().shape
        torch.Size([5, 3])
    """

    def __init__(self, components: int = 4) -> None:
        super().__init__()
        if components < 1:
            raise ArgumentError(program="MixturePosterior", site="components", got=components, expected="≥ 1")
        self.components = components

    def width(self, latents: int) -> int:
        """Return K (1 + 2L)."""
        return self.components * (1 + 2 * latents)

    def given(self, raw: Tensor, latents: int) -> TorchDistribution:
        """Return the mixture."""
        k = self.components
        loc, rho = raw[..., k:].unflatten(-1, (k, 2 * latents)).chunk(2, -1)
        return NormalMixture(raw[..., :k], loc, softplus(rho) + FLOOR)

    def extra_repr(self) -> str:
        """Return the number of components."""
        return f"components={self.components}"


@register_kl(CholeskyNormal, dist.Independent)
def _kl_dense_diagonal(q: CholeskyNormal, p: dist.Independent) -> Tensor:
    """Return KL(N(m, CCᵀ) ‖ N(μ, diag σ²)) in nats.

    Raises:
        NotImplementedError: p is no product of normal distributions over vectors.
    """
    each = p.base_dist
    if not isinstance(each, dist.Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    factor = q.scale_tril
    trace = (factor / each.scale[..., None]).square().sum((-2, -1))
    shift = ((q.loc - each.loc) / each.scale).square().sum(-1)
    log_det = 2 * (each.scale.log() - factor.diagonal(dim1=-2, dim2=-1).log()).sum(-1)
    return 0.5 * (trace + shift - q.event_shape[0] + log_det)
