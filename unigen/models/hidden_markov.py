"""The hidden Markov model: a finite Markov chain that is seen through a likelihood.

    p(x, z) = π(z_1) Π_{t>1} A(z_{t−1}, z_t) Π_t p(x_t | z_t)

Notation: x (N, T, D) observed sequences, z (N, T) hidden paths over K states. The path sums out exactly (the forward
algorithm), and the guide is the exact posterior over paths, so the ELBO is the evidence. With ``missing=True`` NaN
marks what was not observed: single entries, or the padding of shorter sequences.
"""

from __future__ import annotations

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from unigen.distributions.clusters import k_means
from unigen.distributions.discrete_chain import DiscreteChain
from unigen.distributions.emitted import Emitted
from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.distributions.missing import WithMissing
from unigen.errors import ArgumentError
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe

STAY = 2.0  # initial logit of staying in a state


class HiddenMarkov(Program):
    """p(x_{1:T}, z_{1:T}) with K hidden states; log p(x) is exact, the posterior over paths too.

    ``posterior(x)`` is a distribution over paths with ``marginals`` (N, T, K) and ``mode``, the Viterbi path, which
    ``encode`` returns.

    Args:
        features: D, length of one observation.
        length: T, steps of a sequence; pad shorter ones with NaN.
        states: K.
        likelihood: p(x_t | z_t): one set of parameters a state; ``Gaussian("network")`` by default.
        missing: NaN marks an entry that was not observed.
        objective: What ``fit`` minimises.

    Raises:
        ArgumentError: A size below one.

    References:
        Baum et al. 1970; Rabiner, A tutorial on hidden Markov models, 1989.

    Example:
        >>> hmm = HiddenMarkov(features=1, length=4, states=2)
        >>> print(hmm.formula, hmm.log_prob(torch.zeros(1, 4, 1)).kind, sep=" | ")
        p(x, z) = p(x | z) p(z);  q(z | x) | exact
    """

    recipe = Recipe(steps=500, batch_size=256, lr=2e-2, schedule=Cosine(warmup=10))

    def __init__(
        self,
        features: int,
        length: int,
        states: int = 2,
        *,
        likelihood: Likelihood | None = None,
        missing: bool = False,
        objective: Objective = MaximumLikelihood(),
    ) -> None:
        if min(features, length, states) < 1:
            got = f"features={features}, length={length}, states={states}"
            raise ArgumentError(program="HiddenMarkov", got=got, expected="sizes ≥ 1")
        super().__init__((length, features), objective=objective)
        self.states, self.missing = states, missing
        self.likelihood = Gaussian("network") if likelihood is None else likelihood
        self.initial = nn.Parameter(torch.zeros(states))
        self.transition = nn.Parameter(STAY * torch.eye(states))
        self.emission = nn.Parameter(torch.randn(states, features, self.likelihood.parameters_per_feature))

    def _emit(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z) for paths z (..., T)."""
        each = self.likelihood.elementwise(self.emission[z.long()], self.event_shape[1:])
        return WithMissing(each.to_event(2)) if self.missing else each.to_event(2)

    def _chain(self, x: Tensor | None = None) -> DiscreteChain:
        """Return p(z), or p(z | x) for x (..., T, D)."""
        if x is None:
            return DiscreteChain(self.initial, self.transition, self.event_shape[0])
        each = self.likelihood.elementwise(self.emission, self.event_shape[1:])
        each = WithMissing(each) if self.missing else each
        return DiscreteChain(self.initial, self.transition, evidence=each.log_prob(x[..., None, :]).sum(-1))

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z)."""
        with self.plate(x, n):
            return pyro.sample("x", self._emit(pyro.sample("z", self._chain())), obs=x)

    def guide(self, x: Tensor) -> Tensor:
        """Declare p(z | x), which is exact."""
        with self.plate(x):
            return pyro.sample("z", self._chain(x))

    def marginal(self, context: Tensor | None = None) -> TorchDistribution:
        """Return p(x), the path summed out."""
        return Emitted(self._chain, self._emit, self.event_shape, self.likelihood.support)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let each state start at a cluster of the complete observations."""
        rows = x.flatten(0, 1)
        rows = rows[~rows.isnan().any(-1)]
        if rows.shape[0] < 2 * self.states:
            return
        cluster = k_means(rows.double(), self.states)
        for k in range(self.states):
            member = rows[cluster == k]
            self.emission[k].copy_(self.likelihood.marginals(member if member.shape[0] > 1 else rows))
        if isinstance(self.likelihood, Gaussian) and hasattr(self.likelihood, "raw_scale"):
            spread = rows.var(0)
            spread = spread.mean() if self.likelihood.raw_scale.numel() == 1 else spread
            self.likelihood.set_sigma(spread.sqrt().clamp_min(2 * self.likelihood.floor))
