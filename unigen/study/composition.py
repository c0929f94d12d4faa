"""The composition matrix: what may stand as prior, posterior and decoder of a VAE, as tiny instances.

    p(x, z) = p(x | z) p(z),        q(z | x)

Notation: x (N, D) of D = 3 numbers, z (N, L) of L = 2. A test walks through every cell; the guide shows a table of the
same parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

import unigen as ug
from unigen.models.vae import VAE

FEATURES, LATENTS, CODE, CLASSES = 3, 2, 4, 3
TINY: dict[str, Any] = {"transforms": 1, "hidden": (8,)}

PRIORS: dict[str, Callable[[], Any]] = {
    "Gaussian": lambda: None,
    "mixture": lambda: ug.GaussianMixture(LATENTS, components=3),
    "Vamp": lambda: ug.VampPrior(components=4),
    "flow": lambda: ug.NSF(LATENTS, bins=4, **TINY),
    "autoregressive": lambda: ug.MADE(LATENTS, hidden=(8,)),
    "energy": lambda: ug.EnergyModel(
        LATENTS, energy=ug.Tilt(LATENTS, hidden=(8,)), chains=8, sampler=ug.Langevin(steps=5, step_size=0.04),
        negatives=ug.ContrastiveDivergence(steps=2, step_size=0.04, adjusted=True),
    ),
    "diffusion": lambda: ug.Diffusion(
        LATENTS, hidden=8, blocks=1, sampler=ug.ReverseSDE(steps=5),
        density=ug.DiffusionBound(times=2, replicates=2),
    ),
    "VAE": lambda: ug.VAE(LATENTS, 1, hidden=(8,)),
}  # fmt: skip
POSTERIORS: dict[str, Callable[[], Any]] = {
    "mean-field": lambda: ug.MeanField(),
    "full covariance": lambda: ug.FullCovariance(),
    "flow": lambda: ug.IAF(LATENTS, context=CODE, **TINY),
    "mixture": lambda: ug.MixturePosterior(components=2),
}
DECODERS: dict[str, Callable[[], dict[str, Any]]] = {
    "Gaussian": lambda: {"likelihood": ug.Gaussian()},
    "Bernoulli": lambda: {"likelihood": ug.Bernoulli()},
    "categorical": lambda: {"likelihood": ug.Categorical(CLASSES)},
    "autoregressive": lambda: {
        "decoder": ug.MADE(FEATURES, context=LATENTS, hidden=(8,), likelihood=ug.Bernoulli())
    },
    "flow": lambda: {"decoder": ug.NSF(FEATURES, context=LATENTS, bins=4, **TINY)},
}


def cells() -> Iterator[tuple[str, str, str]]:
    """Yield (prior, posterior, decoder) of every cell by name, 8 × 4 × 5."""
    for prior in PRIORS:
        for posterior in POSTERIORS:
            for decoder in DECODERS:
                yield prior, posterior, decoder


def cell(prior: str, posterior: str, decoder: str) -> VAE:
    """Return the VAE of one cell, freshly initialised.

    Args:
        prior: Name in ``PRIORS``.
        posterior: Name in ``POSTERIORS``.
        decoder: Name in ``DECODERS``.

    Example:
        >>> print(cell("energy", "flow", "autoregressive").formula)
        p(x, z) = p_MADE(x | z) p_EnergyModel(z);  q_IAF(z | x)
    """
    parts = {"prior": PRIORS[prior](), "posterior": POSTERIORS[posterior](), **DECODERS[decoder]()}
    return VAE(FEATURES, LATENTS, hidden=(8,), **parts)


def data(decoder: str, n: int) -> Tensor:
    """Return examples in the support of a decoder, far from where a fresh one puts its mass, shape (n, D)."""
    if decoder in ("Bernoulli", "autoregressive"):
        return torch.bernoulli(torch.full((n, FEATURES), 0.9))
    if decoder == "categorical":
        return torch.full((n, FEATURES), CLASSES - 1.0) - torch.bernoulli(torch.full((n, FEATURES), 0.1))
    return 3.0 + torch.randn(n, FEATURES)
