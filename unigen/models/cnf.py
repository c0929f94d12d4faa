"""Continuous normalizing flows (neural ODEs, FFJORD).

    z(0) = (x − loc) / scale,   dz/dt = f(z, t, c),   z(1) ~ N(0, I),   t from 0 (data) to 1 (noise)
    log p(x | c) = log N(z(1); 0, I) + ∫ ∇·f(z(t), t, c) dt − Σ log scale

Notation: x (N, D) data, z (N, D) state, c (N, C) context. The density is exact up to the tolerance of the solver, no
variable is latent, and f is any smooth network. loc and scale standardise the data; ``fit`` sets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import pyro
import torch
from torch import Tensor, nn

from unigen.densities.density import Density
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.distributions.diffusion import DiffusionDistribution
from unigen.dynamics.divergence import Divergence
from unigen.dynamics.evaluations import Evaluations
from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.neural_flow import NeuralFlow
from unigen.dynamics.ode_solver import ODESolver
from unigen.errors import ArgumentError
from unigen.nn.drift import DriftMLP
from unigen.objectives.flow_likelihood import RNODE, FlowLikelihood
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe
from unigen.samplers.noise_space import from_noise, to_noise
from unigen.samplers.probability_flow import ProbabilityFlowODE


class CNF(Program):
    """p(x | c) of a neural ODE that carries data to noise, trained by maximum likelihood.

    Training solves the ODE with ``solver`` and ``divergence``; ``log_prob``, ``sample``, ``to_noise`` and
    ``from_noise`` solve it adaptively to the tolerances of ``density`` and ``sampler``. The tolerance bounds the error
    of a step: at the default 1e-5 the log-density is off by some 1e-5 nats a dimension, and by 1e-9 or less at 1e-10
    in float64. With ``density=ProbabilityFlow(Hutchinson(probes))`` the log-density is an estimate with its standard
    error, at the cost of ``probes`` instead of D products with the Jacobian.

    Few fixed steps in training are cheap, and plain maximum likelihood learns to profit from their error: then
    ``surrogate`` stands above ``log_prob`` on the same data (two moons, 400 rounds: by .10 nats with the default
    solver, by 61 with eight midpoint steps on a pinwheel, 834 rounds). RNODE's small price on motion, the default,
    keeps the two equal (to .0002 nats there) and the fit is better for it; an adaptive solver needs none.

    Args:
        features: D.
        context: C.
        network: Drift f, called as net(z (N, D), t (N,)) or net(z, t, context); replaces the perceptron.
        hidden: Widths of the perceptron's hidden layers.
        solver: Solver of training: ``FixedSteps(...)``, whose step compiles, or ``Adaptive(..., adjoint=True)``.
        divergence: Divergence of training: exact up to 16 dimensions, one random probe above, if None.
        objective: What ``fit`` minimises; without RNODE's price on motion it is plain maximum likelihood.
        sampler: How draws are made.
        density: How ``log_prob`` is computed.

    Raises:
        ArgumentError: D is not positive.

    References:
        Chen et al., Neural ordinary differential equations, NeurIPS 2018; Grathwohl et al., FFJORD, ICLR 2019.

    Example:
        >>> model = CNF(features=2, hidden=(16,))
        >>> model.sample(3).shape, model.log_prob(torch.zeros(2, 2)).kind, model.evaluations.forward > 0
        (torch.Size([3, 2]), <Kind.EXACT: 'exact'>, True)
    """

    recipe: ClassVar[Recipe] = Recipe(
        steps=1000, batch_size=256, lr=5e-3, optimizer=partial(torch.optim.AdamW, weight_decay=1e-4),
        schedule=Cosine(warmup=20), clip=10.0,
    )  # fmt: skip

    def __init__(
        self,
        features: int,
        *,
        context: int = 0,
        network: nn.Module | None = None,
        hidden: Sequence[int] = (64, 64, 64),
        solver: ODESolver = FixedSteps(8),
        divergence: Divergence | None = None,
        objective: Objective = FlowLikelihood(RNODE()),
        sampler: ProbabilityFlowODE = ProbabilityFlowODE(1e-5, 1e-5, max_evaluations=10_000),
        density: Density = ProbabilityFlow(rtol=1e-5, atol=1e-5, max_evaluations=10_000),
    ) -> None:
        if features < 1:
            raise ArgumentError(program="CNF", site="features", got=features, expected="≥ 1")
        super().__init__((features,), context=context, objective=objective, sampler=sampler, density=density)
        self.ode = sampler
        network = DriftMLP(features, hidden, context) if network is None else network
        self.flow = NeuralFlow(network, (features,), solver, divergence)

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c)."""
        with self.plate(x, n):
            return pyro.sample("x", DiffusionDistribution.of(self, context), obs=x)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Standardise every feature."""
        self.flow.standardise(x)

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x | c) by the solver and divergence of training, (N,), in nats; unbiased over its probes."""
        return self.flow.carry(x, context).log_prob

    @property
    def evaluations(self) -> Evaluations:
        """Evaluations of the drift during the last solution, forward and backward."""
        return self.flow.evaluations

    def to_noise(self, x: object, context: object = None) -> Tensor:
        """Return z(1) of data, shape (N, D): standard normal if the program fits the data."""
        return to_noise(self, x, context, self.ode)

    def from_noise(self, z: object, context: object = None) -> Tensor:
        """Return x of noise z(1), shape (N, D), the inverse of ``to_noise`` up to the sampler's tolerance."""
        return from_noise(self, z, context, self.ode)
