"""The restricted Boltzmann machine.

    p(x, h) ∝ exp(x·Wh + b·x + c·h),    x ∈ {0, 1}^D, h ∈ {0, 1}^H
    p(h_j = 1 | x) = σ(c_j + (Wᵀx)_j),    p(x_i = 1 | h) = σ(b_i + (Wh)_i)

or, with ``visible=GaussianUnits(D)``, x real: p(x | h) = N(b + σ W(h − ½), σ²). Notation: x (N, D), h (N, H), W (D, H),
held in centred coordinates, (x − μ)ᵀ W (h − ½); ``joint.standard()`` gives W, b, c of the form above.
"""

from __future__ import annotations

from typing import ClassVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.checks import check_data
from unigen.densities.density import Density
from unigen.densities.unnormalised import Unnormalised
from unigen.distributions.energy import EnergyDistribution
from unigen.distributions.finite_states import FiniteStates
from unigen.distributions.harmonium import Harmonium, HarmoniumPath
from unigen.distributions.pairwise_spins import PairwiseSpins
from unigen.distributions.visible_units import BernoulliUnits, VisibleUnits
from unigen.errors import ArgumentError
from unigen.nn.replay import ReplayBuffer
from unigen.objectives.gibbs_contrast import GibbsContrastiveDivergence, PersistentChains
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe
from unigen.samplers.gibbs import Gibbs
from unigen.samplers.sampler import Sampler


class RBM(PersistentChains, Program):
    """p(x, h) ∝ exp(x·Wh + b·x + c·h): both conditionals are exact and independent, the normaliser is not known.

    ``posterior`` is the exact p(h | x); ``log_prob`` is minus the free energy, log Σ_h exp(…), kind unnormalised.
    ``density=Normalised()`` makes it exact by visiting all states of the smaller layer, and
    ``density=Normalised(AnnealedNormaliser())`` an estimate. Draws start at the persistent chains of training.

    Args:
        features: D, length of x.
        hidden: H, length of h.
        visible: Visible units; Bernoulli if omitted.
        chains: Number of persistent chains.
        objective: What ``fit`` minimises by default.
        sampler: How draws are made.
        density: How ``log_prob`` is computed by default.

    Raises:
        ArgumentError: H < 1, or visible units of another number of features.

    References:
        Smolensky 1986; Hinton 2002; Tieleman 2008; Salakhutdinov & Murray 2008.

    Example:
        >>> rbm = RBM(features=4, hidden=3)
        >>> print(rbm.formula)
        p(x, h) = p(x | h) p(h);  q(h | x)
        >>> rbm.sample(2).shape, rbm.encode(torch.ones(2, 4)).shape
        (torch.Size([2, 4]), torch.Size([2, 3]))
    """

    recipe: ClassVar[Recipe] = Recipe(lr=2e-3, batch_size=100, schedule=Cosine(warmup=100, final=0.01))

    def __init__(
        self,
        features: int,
        hidden: int = 128,
        *,
        visible: VisibleUnits | None = None,
        chains: int = 100,
        objective: Objective = GibbsContrastiveDivergence(steps=5),
        sampler: Sampler = Gibbs(steps=500),
        density: Density = Unnormalised(),
    ) -> None:
        units = BernoulliUnits(features) if visible is None else visible
        if units.features != features:
            got = f"units of {units.features} features"
            raise ArgumentError(program="RBM", site="visible", got=got, expected=features)
        super().__init__((features,), objective=objective, sampler=sampler, density=density)
        self.joint = Harmonium(units, hidden)
        self.chains = ReplayBuffer(chains, (features,))
        self.chains.put(units.reference().sample((chains,)))  # pyright: ignore[reportArgumentType]
        self.hidden = hidden

    def potential(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the free energy −log Σ_h exp(…) in nats, shape (…) for x (…, D)."""
        return -self.joint.log_mass(x)

    def _energy_of_hidden(self, h: Tensor) -> Tensor:
        return -self.joint.log_mass_of_hidden(h)

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare h ~ p(h), unnormalised, and x ~ p(x | h)."""

        def draw(shape: torch.Size) -> Tensor:
            return self.joint.draw_hidden(self.draw(shape.numel())).reshape(*shape, self.hidden)

        with self.plate(x, n):
            p = EnergyDistribution(
                self._energy_of_hidden, (self.hidden,), draw, support=constraints.boolean, name="RBM"
            )
            h = pyro.sample("h", p)
            return pyro.sample("x", self.joint.visible.conditional(self.joint.sent(h)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare p(h | x), which is exact."""
        with self.plate(x):
            return pyro.sample("h", dist.Bernoulli(logits=self.joint.logits(x)).to_event(1))

    def decode(self, z: Tensor, context: object = None) -> Tensor:
        """Return E[x | h], shape (N, D), of h (N, H) or of means of h in [0, 1], as ``encode`` returns them."""
        h = check_data(z, torch.Size((self.hidden,)), constraints.unit_interval, self.dtype, "RBM", "h")
        with torch.no_grad():
            return self.joint.visible.conditional(self.joint.sent(h.to(self.device))).mean

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Take centre, biases and the starts of the chains from data."""
        self.joint.visible.initialise(x)
        self.chains.take(x[torch.randint(x.shape[0], self.chains.x.shape[:1], device=x.device)])

    def sweep(self, x: Tensor) -> Tensor:
        """Return x after one sweep of block Gibbs: h given x, then x given h."""
        return self.joint.sweep(x)

    def states(self) -> FiniteStates:
        """Return the states of the smaller layer with their masses, to be enumerated."""
        return self.joint.states("RBM")

    def path(self) -> HarmoniumPath:
        """Return the annealing path from independent features, for ``AnnealedNormaliser``."""
        return HarmoniumPath(self.joint)

    def spins(self) -> PairwiseSpins:
        """Return the model as spins with pairwise couplings, for mean field and belief propagation."""
        return self.joint.spins()
