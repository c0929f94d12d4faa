"""Flow matching: a continuous flow trained by regression along the paths of an interpolant.

    z_t = alpha_t u + sigma_t eps,   u = (x − loc) / scale,   eps ~ base,      t from 0 (data) to 1 (noise)
    minimise E ‖v(t, z_t, c) − (alpha' u + sigma' eps)‖²;      then  dz/dt = v(t, z, c)  carries the base to the data

Notation: x (N, *event) data, c (N, C) context. log p(x | c) is that of the ODE, as for a CNF. loc and scale standardise
the data; ``fit`` sets them, unless a base of one's own fixes the coordinates.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import pyro
import torch
from torch import Tensor, nn

from unigen.densities.density import Density
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.distributions.diffusion import DiffusionDistribution
from unigen.dynamics.change_of_variables import carry
from unigen.dynamics.coupling import Coupling, Independent
from unigen.dynamics.divergence import ExactDivergence
from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.interpolant import Interpolant, Linear
from unigen.dynamics.interpolant_flow import InterpolantFlow, check_base
from unigen.dynamics.prediction import Prediction, Velocity
from unigen.nn.residual import denoising_network
from unigen.objectives.flow_matching import ConditionalFlowMatching
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe
from unigen.samplers.noise_space import from_noise, to_noise
from unigen.samplers.probability_flow import ProbabilityFlowODE
from unigen.samplers.sampler import Sampler


class FlowMatching(Program):
    """p(x | c) of an ODE that carries data to noise, trained without solving it.

    Args:
        features: D, length of x, or the shape of one example.
        interpolant: The paths: ``Linear()``, ``Trigonometric()`` or ``VP(schedule)``.
        coupling: Which noise goes with which datum: ``Independent()`` or ``MinibatchOT()``.
        base: Law of the noise in the data's coordinates, a program or distribution with an exact density, held fixed;
            N(0, I) in standardised coordinates if None.
        network: Called as net(z (N, *event), t (N,)) or net(z, t, context); replaces the residual MLP.
        prediction: What the network predicts; anything affine in the velocity.
        hidden: Width of the residual MLP.
        blocks: Its number of blocks.
        context: C, features of the context.
        start: Smallest time; by default 0, or 1e-3 where the velocity has no limit at 0.
        each: Standardise every feature by its own scale, rather than all by one (images).
        objective: What ``fit`` minimises.
        sampler: How draws are made; ``InterpolantSDE(noise=…)`` is the SDE of the same marginals.
        density: How ``log_prob`` is computed.

    Raises:
        ArgumentError: A size is not positive, or transport plans are asked of a conditional model.
        ShapeError: The base has another dimension than the data.
        NoDensityError: The base has no exact density.

    References:
        Lipman et al., Flow matching for generative modeling, 2023; Albergo & Vanden-Eijnden, 2023; Liu et al., 2023.

    Example:
        >>> model = FlowMatching(features=3, hidden=16, blocks=1)
        >>> model.sample(2).shape, model.log_prob(torch.zeros(2, 3)).kind
        (torch.Size([2, 3]), <Kind.EXACT: 'exact'>)
    """

    recipe: ClassVar[Recipe] = Recipe(
        steps=3000, batch_size=256, lr=2e-3, optimizer=partial(torch.optim.AdamW, weight_decay=1e-2),
        schedule=Cosine(warmup=100), clip=10.0, ema=0.999,
    )  # fmt: skip

    def __init__(
        self,
        features: int | tuple[int, ...],
        *,
        interpolant: Interpolant = Linear(),
        coupling: Coupling = Independent(),
        base: Any = None,
        network: nn.Module | None = None,
        prediction: Prediction = Velocity(),
        hidden: int = 256,
        blocks: int = 3,
        context: int = 0,
        start: float | None = None,
        each: bool = False,
        objective: Objective = ConditionalFlowMatching(),
        sampler: Sampler = ProbabilityFlowODE(1e-5, 1e-5, max_evaluations=10_000),
        density: Density = ProbabilityFlow(rtol=1e-5, atol=1e-5, max_evaluations=10_000),
    ) -> None:
        event, network = denoising_network("FlowMatching", features, network, hidden, blocks, context)
        coupling.check_context(context)
        check_base(base, event)
        super().__init__(event, context=context, objective=objective, sampler=sampler, density=density)
        self.flow = InterpolantFlow(network, interpolant, coupling, prediction, event, start, base)
        self.each = each
        self.ode = sampler if isinstance(sampler, ProbabilityFlowODE) else ProbabilityFlowODE(1e-5, 1e-5)

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c)."""
        with self.plate(x, n):
            return pyro.sample("x", DiffusionDistribution.of(self, context), obs=x)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Standardise, unless the base fixes the coordinates."""
        if self.flow.base is None:
            self.flow.standardise(x, self.each)

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x | c), (N,), in nats, by eight steps of the ODE with exact divergence, to train a whole."""
        return carry(self.flow, x, context, ExactDivergence(chunk=None), FixedSteps(8)).log_prob

    def to_noise(self, x: object, context: object = None) -> Tensor:
        """Return z(1) of data, shape (N, *event), by the flow."""
        return to_noise(self, x, context, self.ode)

    def from_noise(self, z: object, context: object = None) -> Tensor:
        """Return x of noise z(1), shape (N, *event), the inverse of ``to_noise`` up to the tolerance."""
        return from_noise(self, z, context, self.ode)
