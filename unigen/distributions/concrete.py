"""The Concrete (Gumbel-softmax) distribution: relaxed categorical variables whose draws carry a gradient.

    z = softmax((α + g) / τ),    g_k ~ Gumbel(0, 1),    α logits of K classes, τ > 0 the temperature,

a point of the simplex, near a vertex for small τ, and nearest to vertex k with probability softmax(α)_k at every τ.
A relaxed variable makes another program than a categorical one: bounds and gradients are those of the relaxed program,
unbiased for it, and biased for the discrete one at any τ > 0.

Notation: G independent variables of K classes each stand side by side in z, of length L = G·K.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from unigen.distributions.posteriors import Posterior
from unigen.errors import ArgumentError, ShapeError


class Simplices(Constraint):
    """Vectors of G points of a simplex, side by side.

    Args:
        classes: K, entries of each.
    """

    event_dim = 1

    def __init__(self, classes: int) -> None:
        self.classes = classes
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Return whether every block is a point of the simplex."""
        return constraints.simplex.check(value.unflatten(-1, (-1, self.classes))).all(-1)

    def __repr__(self) -> str:
        """Return the set in words."""
        return f"blocks of {self.classes} numbers ≥ 0 with sum 1"


def check_relaxation(name: str, classes: int, temperature: float) -> None:
    """Refuse fewer than two classes, and a temperature that is none.

    Raises:
        ArgumentError: K < 2, or not 0 < τ < ∞.
    """
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise ArgumentError(program=name, site="classes", got=classes, expected="an integer ≥ 2")
    if not 0 < temperature < math.inf:
        raise ArgumentError(program=name, site="temperature", got=temperature, expected="> 0 and finite")


class Concrete(TorchDistribution):
    """Relaxed categorical variables.

    log p(z) = Σ_g log (K−1)! + (K−1) log τ − K log Σ_k e^{α_k} z_k^{−τ} + Σ_k (α_k − (τ + 1) log z_k)

    Args:
        temperature: τ.
        logits: α, shape (*batch, G·K).
        classes: K; all of the last dimension if omitted, G = 1.

    Raises:
        ArgumentError: K < 2, or τ is not positive.
        ShapeError: The logits are no multiple of K.

    References:
        Maddison, Mnih & Teh, The Concrete distribution, 2017; Jang, Gu & Poole, Categorical reparameterization with
        Gumbel-softmax, 2017.

    Example:
        >>> z = Concrete(0.5, torch.zeros(4, 6), classes=3).rsample()
        >>> z.shape, torch.allclose(z.unflatten(-1, (2, 3)).sum(-1), torch.ones(4, 2))
        (torch.Size([4, 6]), True)
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    has_rsample = True

    def __init__(
        self,
        temperature: float,
        logits: Tensor,
        *,
        classes: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        width = logits.shape[-1]
        self.classes = width if classes is None else classes
        check_relaxation("Concrete", self.classes, temperature)
        if width % self.classes:
            raise ShapeError(
                program="Concrete",
                site="logits",
                got=tuple(logits.shape),
                expected=f"(..., G·{self.classes})",
            )
        self.temperature = float(temperature)
        self.logits = logits.unflatten(-1, (-1, self.classes)).log_softmax(-1)
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)

    @property
    def support(self) -> Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Points of the simplex."""
        return constraints.simplex if self.logits.shape[-2] == 1 else Simplices(self.classes)

    @property
    def mean(self) -> Tensor:
        """The class probabilities: the mean of the vertex nearest to z, and that of z as τ → 0."""
        return self.logits.exp().flatten(-2)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> Concrete:
        """Return the same distribution with a larger batch shape."""
        logits = self.logits.flatten(-2).expand(*batch_shape, *self.event_shape)
        return Concrete(self.temperature, logits, classes=self.classes, validate_args=False)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Return draws with a gradient, shape (*sample_shape, *batch, G·K); no entry falls to 0."""
        tiny = torch.finfo(self.logits.dtype).tiny
        shape = torch.Size(sample_shape) + self.logits.shape
        waiting = torch.empty(shape, dtype=self.logits.dtype, device=self.logits.device).exponential_()
        gumbel = -waiting.clamp_min(tiny).log()
        return ((self.logits + gumbel) / self.temperature).softmax(-1).clamp_min(tiny).flatten(-2)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:
        """Return draws without a gradient."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(z) in nats, shape (*batch,)."""
        if self._validate_args:
            self._validate_sample(value)
        z, k, tau = value.unflatten(-1, (-1, self.classes)), self.classes, self.temperature
        log_z = z.clamp_min(torch.finfo(z.dtype).tiny).log()
        tilted = self.logits - tau * log_z
        each = (tilted - log_z).sum(-1) - k * tilted.logsumexp(-1)
        return (each + math.lgamma(k) + (k - 1) * math.log(tau)).sum(-1)


class ConcretePrior(nn.Module):
    """G relaxed categorical variables as a prior, all classes alike, or with logits that are learned.

    Args:
        classes: K.
        variables: G.
        temperature: τ.
        learned: Whether the logits are parameters.

    Raises:
        ArgumentError: K < 2, G < 1, or τ is not positive.

    Example:
        >>> ConcretePrior(4, variables=3)().event_shape
        torch.Size([12])
    """

    logits: Tensor

    def __init__(
        self, classes: int, *, variables: int = 1, temperature: float = 0.5, learned: bool = False
    ) -> None:
        super().__init__()
        check_relaxation("ConcretePrior", classes, temperature)
        if isinstance(variables, bool) or not isinstance(variables, int) or variables < 1:
            raise ArgumentError(
                program="ConcretePrior", site="variables", got=variables, expected="an integer ≥ 1"
            )
        self.classes, self.variables, self.temperature, self.learned = (
            classes,
            variables,
            temperature,
            learned,
        )
        zeros = torch.zeros(variables * classes)
        if learned:
            self.logits = nn.Parameter(zeros)
        else:
            self.register_buffer("logits", zeros, persistent=False)

    def forward(self) -> Concrete:
        """Return the distribution, event shape (G·K,)."""
        return Concrete(self.temperature, self.logits, classes=self.classes)


class ConcretePosterior(Posterior):
    """q(z | x) of relaxed categorical variables: raw holds their logits.

    Beside ``ConcretePrior`` it makes the relaxed program of Maddison et al. 2017, whose bound is a bound of its own
    evidence. ``StraightThrough(K)`` in front of the decoder makes it see vertices.

    Args:
        classes: K.
        temperature: τ, that of the prior or another.

    Raises:
        ArgumentError: K < 2, or τ is not positive.

    Example:
        >>> import unigen as ug
        >>> vae = ug.VAE(8, 12, prior=ConcretePrior(4, variables=3), posterior=ConcretePosterior(4))
        >>> vae.posterior(torch.zeros(2, 8)).event_shape
        torch.Size([12])
    """

    def __init__(self, classes: int, temperature: float = 0.5) -> None:
        super().__init__()
        check_relaxation("ConcretePosterior", classes, temperature)
        self.classes, self.temperature = classes, temperature

    def width(self, latents: int) -> int:
        """Return L."""
        return latents

    def given(self, raw: Tensor, latents: int) -> Concrete:
        """Return the distribution with logits raw."""
        return Concrete(self.temperature, raw, classes=self.classes)

    def extra_repr(self) -> str:
        """Return classes and temperature."""
        return f"classes={self.classes}, temperature={self.temperature:g}"
