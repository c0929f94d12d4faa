"""The latent SDE: irregular time series whose hidden state moves by a stochastic differential equation.

    p(x, z):   z_0 ~ N(m, diag s²),  dz = f(z, t) dt + g(z, t) dW,   x_i | z ~ likelihood(decoder(z at t_i))
    q(z | x):  z_0 ~ N(m(x), diag s(x)²),  dz = (f + g u)(z, t) dt + g(z, t) dW,   u = u(z, t, h)

Notation: x (N, T, D) observed at t_1 < … < t_T, NaN where missing; z (N, K + 1, L) the path on the solver's grid; h
a summary of the observations still to come. The posterior shares g, so that the path KL is finite:

    ELBO = E_q Σ_i log p(x_i | z(t_i)) − E_q ½ ∫ ‖u‖² dt − KL(q(z_0) ‖ p(z_0)).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.distributions.missing import WithMissing
from unigen.distributions.scales import positive
from unigen.distributions.sde_path import SDEPath
from unigen.dynamics.solver_grid import solver_grid
from unigen.errors import ArgumentError
from unigen.nn.autonomous import Autonomous
from unigen.nn.mlp import MLP
from unigen.nn.noise import ConstantNoise
from unigen.nn.series_reader import SeriesReader
from unigen.objectives.elbo import ELBO
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe


class LatentSDE(Program):
    """p(x_{1:T}, z), z a diffusion with learned drift and noise; the posterior is the diffusion under a control.

    The path is that of the Euler–Maruyama scheme on a grid that contains the times: an ordinary latent with a
    density, so that ``log_prob`` is an importance-weighted bound on path space. ``PathELBO`` trains by torchsde's
    solvers and adjoint.

    Args:
        features: D, length of one observation.
        times: t_1 < … < t_T, of all series together; entries that a series has not are NaN (``unigen.data.series``).
        latents: L, length of the state.
        dt: Longest step of the solver; a fiftieth of t_T − t_1 if omitted.
        likelihood: p(x_i | z) given the decoder's output; ``Gaussian()`` by default.
        hidden: Widths of the hidden layers of drift and control; the decoder is affine.
        summary: H, width of the recurrent network.
        drift: Module f(z (..., L), t), replacing the perceptron.
        diffusion: Module g(z, t) > 0, the shape of z, replacing ``ConstantNoise(L)``.
        control: Module u(z, t, c), c = [h, time until the next observation in mean gaps] of length H + 1.
        decoder: Module z (..., L) ↦ parameters of the likelihood.
        missing: NaN marks an entry that was not observed.
        objective: The bound that ``fit`` maximises.

    Raises:
        ArgumentError: A size below one, times that do not increase, or fewer than two of them.

    References:
        Li, Wong, Chen & Duvenaud, Scalable gradients for stochastic differential equations, AISTATS 2020.

    Example:
        >>> model = LatentSDE(features=2, times=(0.0, 0.3, 1.0), latents=3, dt=0.25)
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
        dt: float | None = None,
        likelihood: Likelihood | None = None,
        hidden: Sequence[int] = (64,),
        summary: int = 64,
        drift: nn.Module | None = None,
        diffusion: nn.Module | None = None,
        control: nn.Module | None = None,
        decoder: nn.Module | None = None,
        missing: bool = False,
        objective: Objective = ELBO(),
    ) -> None:
        if min(features, latents, summary) < 1:
            got = f"features={features}, latents={latents}, summary={summary}"
            raise ArgumentError(program="LatentSDE", got=got, expected="sizes ≥ 1")
        grid = solver_grid(times, dt, "LatentSDE")
        super().__init__((len(grid.times), features), objective=objective)
        self.grid, self.latents, self.missing = grid, latents, missing
        self.likelihood = Gaussian() if likelihood is None else likelihood
        self.start = nn.Parameter(torch.zeros(latents))
        self.start_scale = nn.Parameter(torch.zeros(latents))
        self.drift = Autonomous(latents, hidden) if drift is None else drift
        self.diffusion = ConstantNoise(latents) if diffusion is None else diffusion
        self.control = Autonomous(latents, hidden, context=summary + 1) if control is None else control
        width = self.likelihood.width(features)
        self.decoder = MLP(latents, width, hidden=()) if decoder is None else decoder
        self.reader = SeriesReader(features, summary, self.grid.times, missing)
        self.first = nn.Linear(summary, 2 * latents)

    def prior(self) -> SDEPath:
        """Return p(z), the law of the path."""
        loc, scale = self.start, positive(self.start_scale)
        return SDEPath(self.drift, self.diffusion, loc, scale, self.grid.tensor(loc))

    def controlled(self, x: Tensor) -> tuple[SDEPath, Tensor]:
        """Return q(z | x), batch shape (N,), and the summaries h of the data, (N, T, H)."""
        h = self.reader(x)
        loc, raw_scale = self.first(h[:, 0]).chunk(2, -1)
        times = self.grid.tensor(loc)
        known = self.context(h, times[:-1])
        return SDEPath(self.drift, self.diffusion, loc, positive(raw_scale), times, self.control, known), h

    def context(self, h: Tensor, t: Tensor) -> Tensor:
        """Return what the control knows at times t (K,) or (), from h (N, T, H): shape (N, K, H + 1) or (N, H + 1)."""
        index, following = self.grid.ahead(t)
        wait = ((following - t) / self.grid.gap)[..., None]
        return torch.cat((h[:, index], wait.expand(h.shape[0], *t.shape, 1)), -1)

    def emit(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z) for states z (..., T, L) at the times of observation."""
        raw = self.decoder(z).unflatten(-1, (self.event_shape[1], -1))
        each = self.likelihood.elementwise(raw, self.event_shape[1:]).to_event(2)
        return WithMissing(each) if self.missing else each

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z)."""
        with self.plate(x, n):
            z = pyro.sample("z", self.prior())
            return pyro.sample("x", self.emit(z[..., list(self.grid.stops), :]), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare q(z | x)."""
        with self.plate(x):
            return pyro.sample("z", self.controlled(x)[0])

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start learned numbers of the likelihood, such as a noise scale, from the data."""
        self.likelihood.initialise(x.flatten(0, 1))
