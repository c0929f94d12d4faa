"""The energy-based model.

    p(x | c) = exp(−E(x, c)) / Z(c),      u = (x − μ) / s,
    E(x, c) = ½ Σ_d w_d (u_d − r_d(u, c))²      or, with a network f of your own,      f(u, c) + ½ ‖u‖²

Notation: x (N, D), c (N, C) context. r is a perceptron into the range of the data; the quadratic keeps Z finite where f
grows less than it. μ and s are the mean and the root mean square spread of the data, set by ``fit``, or 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pyro
import torch
from torch import Tensor, nn

from unigen.densities.unnormalised import Unnormalised
from unigen.distributions.energy import EnergyDistribution
from unigen.errors import ArgumentError, ShapeError
from unigen.nn.reconstruction import Reconstruction
from unigen.nn.replay import ReplayBuffer
from unigen.objectives.contrastive import ContrastiveDivergence
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe
from unigen.samplers.langevin import Langevin
from unigen.samplers.sampler import Sampler

NOISE = 0.45  # of the data's spread: smooth enough for a few hundred steps to move between shapes


class EnergyModel(Program):
    """p(x) ∝ exp(−E(x)): any network is a model, at the price of an unknown normaliser.

    ``log_prob`` is −E(x), kind unnormalised; ``score`` is exact. By default the model is one of data under Gaussian
    noise, which ``fit`` adds and the last step of ``sample`` takes off; ``objective=ContrastiveDivergence(noise=0.0)``
    and ``sampler=Langevin(denoise=False)`` do without. As the prior of another program it is trained jointly: its
    ``surrogate`` is −E(x) + mean E(y), y the ends of its own persistent chains. For a long joint training give it a
    bounded energy, ``energy=Tilt(D)``: the default's wells can grow so steep that chains run away.

    Args:
        features: D, length of x.
        energy: Network f, (N, D) → (N,) or (N, 1), given the context as a second argument if there is one;
            replaces the reconstruction.
        hidden: Widths of the perceptron's hidden layers.
        context: C, features of the context.
        chains: Number of persistent chains, from which draws start too.
        negatives: How the chains move when the model is trained as a part of another program.
        objective: What ``fit`` minimises by default.
        sampler: How draws are made.

    References:
        LeCun et al. 2006; Du & Mordatch 2019; Pang et al., Learning latent space energy-based prior model, 2020.

    Example:
        >>> model = EnergyModel(features=3)
        >>> model.sample(2).shape, model.log_prob(torch.zeros(2, 3)).kind
        (torch.Size([2, 3]), <Kind.UNNORMALISED: 'unnormalised'>)
    """

    recipe: ClassVar[Recipe] = Recipe(steps=3000, lr=1e-3, schedule=Cosine(warmup=100, final=0.05), ema=0.995)
    loc: Tensor
    length: Tensor
    noise: Tensor

    def __init__(
        self,
        features: int,
        *,
        energy: nn.Module | None = None,
        hidden: Sequence[int] = (256, 256),
        context: int = 0,
        chains: int = 128,
        negatives: ContrastiveDivergence = ContrastiveDivergence(steps=5, step_size=0.04, adjusted=True),
        objective: Objective = ContrastiveDivergence(
            steps=5, step_size=0.04, adjusted=True, noise=NOISE, weight_decay=0.0
        ),
        sampler: Sampler = Langevin(steps=300, step_size=0.04, adjusted=True),
    ) -> None:
        if features < 1:
            raise ArgumentError(program="EnergyModel", site="features", got=features, expected="≥ 1")
        super().__init__(
            (features,), context=context, objective=objective, sampler=sampler, density=Unnormalised()
        )
        spread = getattr(objective, "noise", 0.0) or 1.0
        self.f = Reconstruction(features, hidden, context, spread) if energy is None else energy
        self.negatives = negatives
        self.chains = ReplayBuffer(chains, (features,), context)
        self.register_buffer("loc", torch.zeros(features))
        self.register_buffer("length", torch.ones(1))
        self.register_buffer("noise", torch.zeros(1))

    def potential(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return E(x, c) in nats, shape (...) for x (..., D).

        Raises:
            ShapeError: The network does not return one number an example.
        """
        u = (x - self.loc) / self.length
        f = self.f(u) if context is None else self.f(u, context)
        if f.dim() == u.dim() and f.shape[-1] == 1:
            f = f.squeeze(-1)
        if f.shape != u.shape[:-1]:
            raise ShapeError(
                "the energy must be one number an example",
                program="EnergyModel",
                got=tuple(f.shape),
                expected=tuple(u.shape[:-1]),
                hint="a network that ends in one output",
            )
        return f if isinstance(self.f, Reconstruction) else f + 0.5 * u.square().sum(-1)

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c), unnormalised."""

        def draw(shape: torch.Size) -> Tensor:
            rows = None if context is None else context.expand(*shape, context.shape[-1]).flatten(0, -2)
            return self.draw(shape.numel(), rows).reshape(*shape, *self.event_shape)

        with self.plate(x, n):
            p = EnergyDistribution(
                lambda at: self.potential(at, context), self.event_shape, draw, name="EnergyModel"
            )
            return pyro.sample("x", p, obs=x)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Take μ, s and the starts of the chains from data."""
        self.loc.copy_(x.mean(0))
        self.length.copy_((x - self.loc).square().mean().sqrt().clamp_min(1e-6))
        if isinstance(self.f, Reconstruction):
            self.f.r.set_range((x - self.loc) / self.length)
        rows = torch.randint(x.shape[0], (self.chains.x.shape[0],), device=x.device)
        self.chains.take(x[rows], None if context is None else context[rows])

    def start(self, n: int, context: Tensor | None = None) -> Tensor:
        """Return n of the persistent chains' states, shape (n, D): where draws start."""
        return self.chains.pick(n, context)

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return −E(x) + mean E(y), shape (N,), whose gradient in the weights is contrastive divergence's.

        y are the ends of the persistent chains, moved on by a few Langevin steps; for a conditional model, whose
        context the other program chooses, of chains that start at x.
        """
        if context is None:
            start, _ = self.chains.take(torch.randn_like(self.chains.x) * self.length + self.loc)
        else:
            start = x.detach()
        y = self.negatives.run(self, start, context)
        if context is None and self.training:
            self.chains.put(y)
        return -self.potential(x, context) + self.potential(y, context).mean()
