"""Diffusion in continuous time.

    z_1 ~ N(0, I),   dz = [f z − g² score(t, z, c)] dt + g dW,   t from 1 down to start,
    x = loc + scale z_start / alpha_start

Notation: x (N, *event), c (N, C) context; schedule, f, g and score as in `unigen.dynamics`. loc and scale are the mean
and standard deviation of the data, set by ``fit``, or 0 and 1.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import pyro
import torch
from torch import Tensor, nn

from unigen.densities.density import Density
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.distributions.diffusion import DiffusionDistribution
from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.prediction import Prediction, V
from unigen.dynamics.schedule import LogLinearSNR, Schedule
from unigen.dynamics.times import LowDiscrepancyTimes
from unigen.nn.residual import denoising_network
from unigen.objectives.denoising import DenoisingScoreMatching
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe
from unigen.samplers.noise_space import from_noise, to_noise
from unigen.samplers.reverse_sde import ReverseSDE
from unigen.samplers.sampler import Sampler


class Diffusion(Program):
    """Score-based diffusion: one network, drawn by an SDE or an ODE, scored exactly by the ODE or by a bound.

    As the prior, decoder or posterior of another program it is trained jointly: its ``surrogate`` is an unbiased
    one-time estimate of its evidence lower bound.

    Args:
        features: D, length of x, or the shape of one example.
        network: Maps (z_t, t) or (z_t, t, context) to the prediction, shaped like z_t; replaces the residual MLP.
        schedule: Signal and noise levels.
        prediction: What the network predicts.
        hidden: Width of the residual MLP.
        blocks: Its number of blocks.
        context: C, features of the context.
        start: Smallest time; by default 0, or 1e-3 where the schedule has no noise at 0.
        each: Standardise every feature by its own scale, rather than all by one (images).
        objective: What ``fit`` minimises by default: −ELBO in nats.
        sampler: How draws are made by default.
        density: How ``log_prob`` is computed by default.

    Raises:
        ArgumentError: A size is not positive, or the schedule has no noise at the start.

    References:
        Song et al., Score-based generative modeling through SDEs, 2021; Kingma et al., Variational diffusion
        models, 2021.

    Example:
        >>> model = Diffusion(features=3, hidden=16, blocks=1)
        >>> model.sample(2).shape, model.log_prob(torch.zeros(2, 3)).kind
        (torch.Size([2, 3]), <Kind.EXACT: 'exact'>)
    """

    recipe: ClassVar[Recipe] = Recipe(
        steps=3000,
        batch_size=256,
        lr=2e-3,
        optimizer=partial(torch.optim.AdamW, weight_decay=1e-2),
        schedule=Cosine(warmup=100),
        clip=1.0,
        ema=0.999,
    )

    def __init__(
        self,
        features: int | tuple[int, ...],
        *,
        network: nn.Module | None = None,
        schedule: Schedule = LogLinearSNR(),
        prediction: Prediction = V(),
        hidden: int = 256,
        blocks: int = 3,
        context: int = 0,
        start: float | None = None,
        each: bool = False,
        objective: Objective = DenoisingScoreMatching(),
        sampler: Sampler = ReverseSDE(),
        density: Density = ProbabilityFlow(),
    ) -> None:
        event, network = denoising_network("Diffusion", features, network, hidden, blocks, context)
        super().__init__(event, context=context, objective=objective, sampler=sampler, density=density)
        self.denoiser = Denoiser(network, schedule, prediction, event, start)
        self.each = each

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c): one site whose draws are simulated and whose density is that of ``density``."""
        with self.plate(x, n):
            return pyro.sample("x", DiffusionDistribution.of(self, context), obs=x)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Take loc and scale from data."""
        self.denoiser.standardise(x, self.each)

    def bound(self, x: Tensor, t: Tensor, eps: Tensor, context: Tensor | None = None) -> Tensor:
        """Return estimates of the evidence lower bound from given times and noise, differentiable in x.

        Args:
            x: Data, (N, *event).
            t: Uniform on [0, 1), (N,).
            eps: Standard normal, (N, *event).
            context: Context, (N, C), or None.

        Returns:
            Unbiased estimates, (N,), in nats.
        """
        return self.denoiser.bound(x, t, eps, context)

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return an unbiased estimate of the bound on log p(x | c) from one time an example, (N,), in nats."""
        return self.bound(x, LowDiscrepancyTimes().draw(x), torch.randn_like(x), context)

    def to_noise(self, x: object, context: object = None) -> Tensor:
        """Return z_1 of data by the probability-flow ODE, shape (N, *event)."""
        return to_noise(self, x, context)

    def from_noise(self, z: object, context: object = None) -> Tensor:
        """Return x of noise z_1, shape (N, *event), the inverse of ``to_noise`` up to the tolerance."""
        return from_noise(self, z, context)
