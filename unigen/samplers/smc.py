"""What the samplers of p(x | y) by sequential Monte Carlo share: one target, many particles, weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from unigen.checks import check_context
from unigen.dynamics.observation import Observation, as_observation
from unigen.dynamics.particles import check_particles
from unigen.errors import ContextError
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.samplers.sampler import Sampler
from unigen.samplers.weighted_draws import WeightedDraws


class PosteriorSMC(Sampler):
    """Draws from p(x | y) ∝ p(x) p(y | x), asymptotically exact in the number of particles.

    Args:
        observation: y: an observation, or a function x (N, *event) -> log p(y | x) (N,).
        particles: K.
        threshold: Resample when the effective sample size is below this fraction of K.

    Raises:
        ArgumentError: A setting is out of range.
    """

    def __init__(
        self, observation: Observation | Callable[[Tensor], Tensor], particles: int, threshold: float
    ) -> None:
        name = type(self).__name__
        check_particles(name, particles, threshold)
        self.observation = as_observation(observation, name)
        self.particles, self.threshold = particles, float(threshold)

    @abstractmethod
    def walk(self, program: Program, particles: int, context: Tensor | None) -> WeightedDraws:
        """Carry so many particles from the prior to the posterior, given a checked context (K, C) of equal rows."""

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n draws of p(x | y), (n, *event_shape), resampled from K particles, or from n if that is more.

        They share ancestors and are not independent of one another; independent ones are from separate calls.

        Raises:
            ContextError: The rows of the context differ: they would be different posteriors.
            UnigenError: The program cannot be conditioned in this way.
        """
        if context is not None and not bool((context == context[:1]).all()):
            raise ContextError(
                "all particles have one posterior in common", program=type(self).__name__, got="rows that differ",
                expected="one context, (1, C)", hint="one call for each context",
            )  # fmt: skip
        k = max(n, self.particles)
        return self.walk(program, k, None if context is None else context[:1].expand(k, -1)).resample(n)

    def posterior(
        self, program: Program, context: object = None, *, seed: int | None = None
    ) -> WeightedDraws:
        """Return K weighted draws of p(x | y), the effective sample sizes on the way, and log p(y).

        Args:
            program: p(x).
            context: Context, (1, C), for a conditional program.
            seed: Reproduces the draws without touching the global random state.

        Raises:
            ContextError: The context is missing, superfluous or of the wrong shape.
            UnigenError: The program cannot be conditioned in this way.
        """
        c = check_context(context, program.context_features, 1, program.dtype, program.name)
        c = None if c is None else c.to(program.device).expand(self.particles, -1)
        with evaluating(program), seeded(seed, program.device), torch.no_grad():
            return self.walk(program, self.particles, c)
