"""Draws with weights: what a sequential Monte Carlo sampler returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.dynamics.particles import Particles, effective_size, systematic
from unigen.logprob import Kind, LogProb


@dataclass(frozen=True, repr=False)
class WeightedDraws:
    """A sample of p(x | y) in which draw k counts W_k.

    Args:
        draws: x, (K, *event).
        log_weights: log W, normalised, (K,).
        log_evidence: log p(y) in nats, one number of kind estimate, with its standard error.
        ess: Effective sample size after each weighing, (T,).
        resampled: Number of resamplings on the way.
    """

    draws: Tensor
    log_weights: Tensor
    log_evidence: LogProb
    ess: Tensor
    resampled: int

    @classmethod
    def of(cls, draws: Tensor, particles: Particles) -> WeightedDraws:
        """Collect what particles found."""
        value, stderr = particles.log_normaliser()
        evidence = LogProb(value, Kind.ESTIMATE, stderr)
        log_weights = torch.log_softmax(particles.log_weights, 0).to(draws.dtype)
        return cls(draws, log_weights, evidence, torch.tensor(particles.ess), particles.resampled)

    def resample(self, n: int) -> Tensor:
        """Return n draws of equal weight, in random order, (n, *event); some may be equal."""
        index = systematic(self.log_weights, n)
        return self.draws[index[torch.randperm(n, device=index.device)]]

    def expect(self, values: Tensor) -> Tensor:
        """Return Σ_k W_k values_k of values (K, …), e.g. of the draws themselves: an expectation under p(x | y)."""
        weights = self.log_weights.exp().to(values)
        return (weights.reshape(-1, *(1,) * (values.dim() - 1)) * values).sum(0)

    def __repr__(self) -> str:
        """Number, effective number, and the evidence."""
        size = effective_size(self.log_weights)
        return (
            f"WeightedDraws(n={self.draws.shape[0]}, ess={size:.4g}, lowest ess={float(self.ess.min()):.4g}, "
            f"log p(y) = {self.log_evidence.mean()})"
        )
