"""The latent ODE: irregular time series whose hidden state follows a differential equation from a random start.

    p(x, z):   z ~ N(0, I),   dz(t)/dt = f(z(t), t),  z(t_1) = z,   x_i | z ~ likelihood(decoder(z(t_i)))
    q(z | x):  z ~ N(m(h), diag s(h)²),   h a summary of x, read backwards

Notation: x (N, T, D) observed at t_1 < … < t_T, NaN where missing; z (N, L) the state at t_1, which decides all that
follows.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.distributions.missing import WithMissing
from unigen.distributions.scales import positive
from unigen.distributions.standard import Part, StandardNormal, as_distribution
from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.neural_ode import NeuralODE
from unigen.dynamics.ode_solver import ODESolver
from unigen.dynamics.solver_grid import check_observation_times
from unigen.errors import ArgumentError
from unigen.nn.autonomous import Autonomous
from unigen.nn.mlp import MLP
from unigen.nn.series_reader import SeriesReader
from unigen.objectives.elbo import ELBO
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe


class LatentODE(Program):
    """p(x_{1:T}, z), x a noisy view of the solution of an ODE that starts at z.

    Args:
        features: D, length of one observation.
        times: t_1 < … < t_T, of all series together; entries that a series has not are NaN (``unigen.data.series``).
        latents: L, length of the state.
        solver: ``FixedSteps(...)``, or ``Adaptive(...)``; with ``adjoint=True`` memory does not grow with the steps.
        likelihood: p(x_i | z(t_i)) given the decoder's output; ``Gaussian()`` by default.
        hidden: Widths of the hidden layers of the drift, whose units are tanh: a draw of the prior that no example was
            encoded to does not run away. The decoder is affine.
        summary: H, width of the recurrent network.
        drift: Module f(z (N, L), t (N,)), replacing the perceptron.
        decoder: Module z (..., L) ↦ parameters of the likelihood.
        prior: p(z): a distribution or a program; N(0, I) if omitted.
        missing: NaN marks an entry that was not observed.
        objective: The bound that ``fit`` maximises.

    Raises:
        ArgumentError: A size below one, times that do not increase, or fewer than two of them.
        DivergedError: From any query: the solver's evaluations run out on a stiff drift, or its solution is not finite.

    References:
        Chen, Rubanova, Bettencourt & Duvenaud, Neural ordinary differential equations, 2018; Rubanova, Chen & Duvenaud,
        Latent ordinary differential equations for irregularly-sampled time series, 2019.

    Example:
        >>> model = LatentODE(features=2, times=(0.0, 0.3, 1.0), latents=3)
        >>> print(model.formula, model.log_prob(torch.zeros(1, 3, 2)).kind, sep=" | ")
        p(x, z) = p(x | z) p(z);  q(z | x) | lower bound
    """

    recipe = Recipe(steps=2000, batch_size=64, lr=5e-3, schedule=Cosine(warmup=20), clip=10.0)

    def __init__(
        self,
        features: int,
        times: Sequence[float],
        latents: int = 4,
        *,
        solver: ODESolver = FixedSteps(20),
        likelihood: Likelihood | None = None,
        hidden: Sequence[int] = (64,),
        summary: int = 64,
        drift: nn.Module | None = None,
        decoder: nn.Module | None = None,
        prior: Part | None = None,
        missing: bool = False,
        objective: Objective = ELBO(),
    ) -> None:
        if min(features, latents, summary) < 1:
            got = f"features={features}, latents={latents}, summary={summary}"
            raise ArgumentError(program="LatentODE", got=got, expected="sizes ≥ 1")
        stops = check_observation_times(times, "LatentODE")
        super().__init__((len(stops), features), objective=objective)
        self.stops, self.latents, self.missing = stops, latents, missing
        self.likelihood = Gaussian() if likelihood is None else likelihood
        self.prior = StandardNormal(latents) if prior is None else prior
        drift = Autonomous(latents, hidden, bounded=True) if drift is None else drift
        self.ode = NeuralODE(drift, solver, stops[0], stops[-1])
        width = self.likelihood.width(features)
        self.decoder = MLP(latents, width, hidden=()) if decoder is None else decoder
        self.reader = SeriesReader(features, summary, stops, missing)
        self.first = nn.Linear(summary, 2 * latents)

    def solve(self, z: Tensor, at: Sequence[float] | None = None) -> Tensor:
        """Return the path from z (..., L) at given times, those of the observations if omitted: (..., T, L)."""
        path = self.ode(z.reshape(-1, self.latents), at=self.stops if at is None else at)
        return path.movedim(0, -2).reshape(*z.shape[:-1], -1, self.latents)

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z)."""
        with self.plate(x, n):
            z = pyro.sample("z", as_distribution(self.prior, owner=self.name))
            raw = self.decoder(self.solve(z)).unflatten(-1, (self.event_shape[1], -1))
            each = self.likelihood.elementwise(raw, self.event_shape[1:]).to_event(2)
            return pyro.sample("x", WithMissing(each) if self.missing else each, obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare q(z | x)."""
        with self.plate(x):
            loc, raw_scale = self.first(self.reader(x)[:, 0]).chunk(2, -1)
            return pyro.sample("z", dist.Normal(loc, positive(raw_scale)).to_event(1))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start learned numbers of the likelihood, such as a noise scale, from the data."""
        self.likelihood.initialise(x.flatten(0, 1))
