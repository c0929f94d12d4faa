"""Paths of a stochastic differential equation on the grid of its Euler–Maruyama scheme, and the KL between two of them.

    p:  dz = f(z, t) dt + g(z, t) dW,                  z_0 ~ N(m, diag s²)
    q:  dz = (f + g u)(z, t) dt + g(z, t) dW,           the control u(z, t, c) may depend on data through c

Notation: L coordinates with noise of their own (g diagonal), K steps of lengths h_k between times τ_0 < … < τ_K. A
path is z (..., K + 1, L). Its density is that of the scheme, a product of Gaussian steps, so that log q − log p is

    Σ_k u_k ΔW_k + ½ Σ_k ‖u_k‖² h_k + log q(z_0) / p(z_0),

Girsanov's formula; its mean, the path KL, is E ½ ∫ ‖u‖² dt + KL(q(z_0) ‖ p(z_0)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints, kl_divergence, register_kl

from unigen.distributions.flow import check_value
from unigen.logprob import Kind

Field = Callable[[Tensor, Tensor], Tensor]  # (z (..., L), t expanding to (...)) -> (..., L)
Control = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class SDEPath(TorchDistribution):
    """The law of the Euler–Maruyama path z_{τ_0}, …, z_{τ_K} ∈ R^{(K+1)×L}, exact in density and draws.

        z_{k+1} ~ N(z_k + h_k (f + g u), diag h_k g²),     z_0 ~ N(loc, diag scale²)

    The KL between a path with a control and the path without, of the same f and g, is estimated on the last draw by
    ½ Σ ‖u_k‖² h_k (and in closed form at z_0): without the martingale term, whose mean is zero.

    Args:
        drift: f, called as f(z (..., L), t).
        diffusion: g > 0, called as g(z, t).
        loc: Mean of z_0, shape (*batch, L).
        scale: Standard deviations of z_0, likewise.
        times: τ, shape (K + 1,), increasing.
        control: u, called as u(z, t, c), or None.
        known: c at the beginning of each step, shape (*batch, K, H), or None.
        batch_shape: By default that of ``loc``.

    References:
        Li, Wong, Chen & Duvenaud, Scalable gradients for stochastic differential equations, 2020.

    Example:
        >>> one, times = torch.ones(1), torch.linspace(0, 2, 5)
        >>> p = SDEPath(lambda z, t: -z, lambda z, t: 0.5 + 0 * z, 0 * one, one, times)
        >>> q = SDEPath(p.drift, p.diffusion, 0 * one, one, times, control=lambda z, t, c: 0 * z + 1.0)
        >>> q.rsample((3,)).shape, torch.distributions.kl_divergence(q, p)  # ½ ∫ 1² dt over [0, 2]
        (torch.Size([3, 5, 1]), tensor([1., 1., 1.]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = Kind.EXACT
    has_rsample = True

    def __init__(
        self,
        drift: Field,
        diffusion: Field,
        loc: Tensor,
        scale: Tensor,
        times: Tensor,
        control: Control | None = None,
        known: Tensor | None = None,
        *,
        batch_shape: torch.Size | tuple[int, ...] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.drift, self.diffusion, self.control, self.known = drift, diffusion, control, known
        self.loc, self.scale, self.times = loc, scale, times
        self._energy: Tensor | None = None
        batch = loc.shape[:-1] if batch_shape is None else torch.Size(batch_shape)
        super().__init__(batch, torch.Size((times.shape[0], loc.shape[-1])), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """R^{(K+1)×L}."""
        return constraints.independent(constraints.real, 2)

    @property
    def start(self) -> TorchDistribution:
        """The law of z_0, batch shape of ``loc``."""
        return dist.Normal(self.loc, self.scale, validate_args=False).to_event(1)

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> SDEPath:
        """Return the same distribution with another batch shape."""
        return SDEPath(
            self.drift, self.diffusion, self.loc, self.scale, self.times, self.control, self.known,
            batch_shape=batch_shape, validate_args=self._validate_args,
        )  # fmt: skip

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats of paths (..., K + 1, L), all steps at once."""
        check_value(self, value, "SDEPath")
        z, t, h = value[..., :-1, :], self.times[:-1], torch.diff(self.times)[:, None]
        g = self.diffusion(z, t)
        f = self.drift(z, t)
        if self.control is not None:
            f = f + g * self.control(z, t, self.known)
        steps = dist.Normal(z + f * h, g * h.sqrt(), validate_args=False)
        return self.start.log_prob(value[..., 0, :]) + steps.log_prob(value[..., 1:, :]).sum((-1, -2))

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw with gradients, step after step, shape (*sample_shape, *batch, K + 1, L)."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        eps = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        z = self.loc + self.scale * eps[..., 0, :]
        path, energy = [z], torch.zeros(shape[:-2], dtype=z.dtype, device=z.device)
        h, control = torch.diff(self.times), self.control
        for k in range(self.event_shape[0] - 1):
            t, g = self.times[k], self.diffusion(z, self.times[k])
            f = self.drift(z, t)
            if control is not None:
                u = control(z, t, None if self.known is None else self.known[..., k, :])
                f, energy = f + g * u, energy + 0.5 * h[k] * u.square().sum(-1)
            z = z + f * h[k] + g * h[k].sqrt() * eps[..., k + 1, :]
            path.append(z)
        self._energy = energy
        return torch.stack(path, -2)

    def last_energy(self) -> Tensor:
        """Return ½ Σ ‖u_k‖² h_k along the last draw, once, or along a new one; shape of the draw's batch."""
        if self._energy is None:
            self.rsample()
        energy, self._energy = self._energy, None
        assert energy is not None
        return energy


@register_kl(SDEPath, SDEPath)
def _path_kl(q: SDEPath, p: SDEPath) -> Tensor:
    """Path KL, estimated on q's last draw.

    Raises:
        NotImplementedError: p has a control, or the two do not share drift and diffusion.
    """
    if p.control is not None or q.drift is not p.drift or q.diffusion is not p.diffusion:
        raise NotImplementedError
    return q.last_energy() + kl_divergence(q.start, p.start)
