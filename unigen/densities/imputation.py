"""Missing entries filled in by importance sampling of the latents, self-normalised.

    E[x_mis | x_obs] ≈ Σ_k w̃_k E[x_mis | z_k],    z_k ~ q(z | x_obs),    w_k = p(x_obs, z_k) / q(z_k | x_obs),

w̃_k = w_k / Σ_l w_l; and draws of x_mis | x_obs by choosing k with probability w̃_k, then drawing from p(x_mis | z_k).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from pyro.distributions import TorchDistribution
from pyro.poutine.messenger import Messenger
from torch import Tensor

from unigen.errors import UnsupportedQueryError
from unigen.queries import _centre
from unigen.traces import Node, log_weights

if TYPE_CHECKING:
    from unigen.program import Program


class _Capture(Messenger):
    """Keeps the distribution of one site."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self.site, self.found = site, None

    def _pyro_post_sample(self, msg: Node) -> None:
        if msg["name"] == self.site:
            self.found = msg["fn"]


def _particles(
    program: Program, x: Tensor, context: Tensor | None, samples: int
) -> tuple[TorchDistribution, Tensor]:
    """Return p(x | z_k) of every particle, and w̃ of shape (K, N)."""
    n, latent = x.shape[0], bool(program.structure.latents)
    capture = _Capture(program.observed)

    def model() -> None:
        with capture:
            program.model(x, context, n)

    guide = functools.partial(program.guide, x, context, n) if latent else None
    weights = log_weights(model, guide, samples=samples if latent else 1, nesting=program.structure.nesting)
    if weights.shared_latents:
        raise UnsupportedQueryError(
            "a latent outside the plate couples all examples", program=program.name, hint="reconstruct(x)"
        )
    assert capture.found is not None
    return capture.found, weights.local.softmax(0)


def weighted_mean(program: Program, x: Tensor, context: Tensor | None, samples: int) -> Tensor:
    """Return x with its missing entries replaced by their importance-weighted expectation.

    Args:
        program: One whose data may have missing entries.
        x: Checked data, shape (N, *event_shape), NaN where missing.
        context: Shape (N, C), or None.
        samples: K.

    Returns:
        Shape (N, *event_shape), without NaN.

    Raises:
        UnsupportedQueryError: A latent outside the plate couples the examples.
    """
    fn, share = _particles(program, x, context, samples)
    k, ones = share.shape[0], (1,) * (x.dim() - 1)
    means = _centre(fn).expand(fn.batch_shape + fn.event_shape).reshape(-1, *x.shape)
    filled = (share.reshape(k, -1, *ones) * means.to(x.dtype)).sum(0)
    return torch.where(x.isnan(), filled, x)


def resampled(program: Program, x: Tensor, context: Tensor | None, samples: int, draws: int) -> Tensor:
    """Return complete copies of x, the missing entries drawn by sampling importance resampling.

    Args:
        program: As for ``weighted_mean``, and so are ``x`` and ``context``.
        x: Shape (N, *event_shape).
        context: Shape (N, C), or None.
        samples: K draws of z, among which each copy chooses.
        draws: How many copies.

    Returns:
        Shape (draws, N, *event_shape).

    Raises:
        UnsupportedQueryError: A latent outside the plate couples the examples.
    """
    fn, share = _particles(program, x, context, samples)
    copies = []
    for _ in range(draws):
        every = fn.sample().reshape(-1, *x.shape).to(x.dtype)
        chosen = torch.multinomial(share.T, 1)[:, 0]
        rows = torch.arange(x.shape[0], device=x.device)
        copies.append(torch.where(x.isnan(), every[chosen if share.shape[0] > 1 else 0 * chosen, rows], x))
    return torch.stack(copies)
