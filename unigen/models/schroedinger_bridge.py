"""The Schrödinger bridge between a data set and a prior, which may be another data set.

    z ~ prior at t = 1,     x | z by the backward process to t = 0;     z | x by the forward process

    min KL(process | reference)  under  X_0 ~ data, X_1 ~ prior:   the ends solve the entropic transport of cost
    ½‖x − z‖² with eps = sigma² (Brownian reference), and given the ends the path is the reference's bridge.

Notation: x, z (N, D). What is drawn is a diffusion without a density in closed form: ``log_prob`` is refused.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import pyro
import torch
from torch import Tensor, nn

from unigen.checks import check_data
from unigen.distributions.empirical import Empirical
from unigen.distributions.implicit import Implicit
from unigen.distributions.standard import Part, StandardNormal, as_distribution
from unigen.dynamics.markov_bridge import MarkovBridge
from unigen.dynamics.reference import BrownianMotion, Reference
from unigen.errors import ArgumentError, ShapeError
from unigen.nn.drift import DriftMLP
from unigen.objectives.bridge_matching import MarkovianFitting
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.recipe import Cosine, Recipe

COUPLINGS = (
    "untrained",
    "independent bridge: right ends, not coupled as by the Schrödinger bridge",
    "Schrödinger bridge, by iterative Markovian fitting",
)


class SchroedingerBridge(Program):
    """Two diffusions between data and prior that are each other's time reversal, closest to a reference process.

    Args:
        features: D, length of x and of z.
        prior: p(z): the other data set as a tensor (M, D), or a program, a distribution or a module with draws;
            N(0, I) if omitted.
        reference: ``BrownianMotion(sigma)`` or ``OrnsteinUhlenbeck(rate, sigma)``.
        network_1: Predicts the end z of the path through (x_t, t); replaces the perceptron. ``AffineInTime(features)``
            is exact between Gaussians and solved instead of trained.
        network_0: Predicts its start x, likewise.
        hidden: Widths of the perceptrons' hidden layers.
        steps: Euler–Maruyama steps of a draw.
        objective: ``MarkovianFitting()`` for the Schrödinger bridge, ``IndependentBridge()`` for one bridge matching
            on independent pairs; ``coupling`` says which of the two was fitted last.

    Raises:
        ArgumentError: A size is not positive.
        ShapeError: The prior has another dimension than the data.

    References:
        De Bortoli et al., Diffusion Schrödinger bridge, 2021; Shi et al., Diffusion Schrödinger bridge matching, 2023;
        Peluchetti, Diffusion bridge mixture transports, 2023.

    Example:
        >>> bridge = SchroedingerBridge(2, prior=torch.randn(100, 2), hidden=(8,), steps=5)
        >>> bridge.transport(torch.zeros(3, 2)).shape, bridge.sample(4).shape, bridge.coupling
        (torch.Size([3, 2]), torch.Size([4, 2]), 'untrained')
    """

    recipe: ClassVar[Recipe] = Recipe(
        steps=4000, batch_size=256, lr=2e-3, optimizer=partial(torch.optim.AdamW, weight_decay=1e-4),
        schedule=Cosine(warmup=20), clip=10.0, ema=0.999,
    )  # fmt: skip
    matching: Tensor

    def __init__(
        self,
        features: int,
        *,
        prior: Part | None = None,
        reference: Reference = BrownianMotion(1.0),
        network_1: nn.Module | None = None,
        network_0: nn.Module | None = None,
        hidden: tuple[int, ...] = (64, 64),
        steps: int = 50,
        objective: Objective = MarkovianFitting(),
    ) -> None:
        if features < 1 or steps < 1:
            got = f"features={features}, steps={steps}"
            raise ArgumentError(program="SchroedingerBridge", got=got, expected="both ≥ 1")
        super().__init__((features,), objective=objective)
        self.steps = steps
        prior = StandardNormal(features) if prior is None else prior
        self.prior = Empirical(prior) if isinstance(prior, Tensor) else prior
        event = tuple(as_distribution(self.prior, owner=self.name).event_shape)
        if event != (features,):
            message = "the two ends have different dimensions"
            raise ShapeError(message, program=self.name, site="prior", got=event, expected=(features,))
        networks = [DriftMLP(features, hidden) if net is None else net for net in (network_1, network_0)]
        self.bridge = MarkovBridge(features, reference, *networks)
        self.register_buffer("matching", torch.zeros(1, dtype=torch.int64))

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare z ~ p(z), and x | z by the backward process."""
        with self.plate(x, n):
            z = pyro.sample("z", as_distribution(self.prior, owner=self.name))
            return pyro.sample("x", self._carried(z, 0), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare z | x by the forward process."""
        with self.plate(x):
            return pyro.sample("z", self._carried(x, 1))

    def _carried(self, start: Tensor, end: int) -> Implicit:
        """The law of the other end of the process, given one."""
        shape = self.event_shape

        def push(batch: torch.Size) -> Tensor:
            rows = start.expand(*batch, *shape).reshape(-1, *shape)
            return self.bridge.simulate(rows, end, self.steps).reshape(*batch, *shape)

        return Implicit(shape, push, batch_shape=start.shape[:-1], name=self.name)

    def draw_prior(self, n: int) -> Tensor:
        """Return n draws of z, (n, D), without gradient."""
        with torch.no_grad():
            prior = as_distribution(self.prior, owner=self.name)
            return prior.expand([n]).sample().to(self.bridge.loc)  # pyright: ignore[reportArgumentType]

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Take the units of both ends from the data and from draws of the prior."""
        self.bridge.standardise(x, self.draw_prior(4096))

    def transport(self, x: object, *, backward: bool = False, seed: int | None = None) -> Tensor:
        """Carry points of one set to the other by the diffusion, at random, (N, D): data to prior, or ``backward``."""
        site = "z" if backward else "x"
        rows = check_data(x, self.event_shape, self.support, self.dtype, self.name, site).to(self.device)
        with evaluating(self), seeded(seed, self.device), torch.no_grad():
            return self.bridge.simulate(rows, 0 if backward else 1, self.steps)

    @property
    def coupling(self) -> str:
        """What the two ends are coupled by: which objective was fitted last."""
        return COUPLINGS[int(self.matching)]
