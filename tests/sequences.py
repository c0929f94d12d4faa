"""Small autoregressive programs with strong dependences, in float64, for tests against enumeration."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

from unigen.distributions.likelihoods import Likelihood
from unigen.models.pixelcnn import PixelCNN
from unigen.models.transformer import Transformer
from unigen.program import Program

F64 = torch.float64
P = TypeVar("P", bound=Program)


@torch.no_grad()
def strong(program: P, scale: float = 0.4) -> P:
    """Return the program in float64 with noise added to every weight, so that no conditional is near uniform."""
    for p in program.double().parameters():
        p.add_(scale * torch.randn_like(p))
    return program.eval()


def transformer(length: int = 5, vocabulary: int | None = 4, **options: Any) -> Transformer:
    """Return a perturbed Transformer of two layers."""
    options = {"width": 16, "heads": 2, "layers": 2} | options
    return strong(Transformer(length, vocabulary, **options))


def pixelcnn(shape: tuple[int, int, int], likelihood: Likelihood, **options: Any) -> PixelCNN:
    """Return a perturbed PixelCNN whose pixels see all before them."""
    options = {"width": 6, "layers": 2, "kernel": 5} | options
    return strong(PixelCNN(shape, likelihood, **options), 0.3)


def states(length: int, levels: int) -> torch.Tensor:
    """Return all states, shape (levels ** length, length), the last feature fastest."""
    return torch.cartesian_prod(*[torch.arange(levels)] * length).to(F64).reshape(-1, length)


def codes(x: torch.Tensor, levels: int) -> torch.Tensor:
    """Return the row of each x (N, D) in ``states``."""
    return (
        x.reshape(x.shape[0], -1) @ (float(levels) ** torch.arange(x[0].numel() - 1, -1, -1, dtype=F64))
    ).long()
