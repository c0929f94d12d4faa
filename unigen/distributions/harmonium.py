"""The harmonium, two layers of units joined by weights: its sums over one layer, its conditionals, its annealing path.

    p(x, h) ∝ f(x) exp(t(x)ᵀ W (h − ½) + c·h),    h ∈ {0, 1}^H
    p(h_j = 1 | x) = σ(c_j + g_j),  g = Wᵀ t(x);      p(x | h) = p(x | a),  a = W (h − ½)

Notation: x (N, D) visible, h (N, H) hidden, W (D, H), c (H,); t, f and p(x | a) are those of the visible units.
Centring h at ½ and x at its mean changes coordinates only: ``standard`` gives W, b, c of exp(x·Wh + b·x + c·h).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from unigen.distributions.finite_states import FiniteStates
from unigen.distributions.pairwise_spins import PairwiseSpins
from unigen.distributions.visible_units import BernoulliUnits, VisibleUnits
from unigen.errors import ArgumentError, UnsupportedQueryError

INITIAL = 0.01  # standard deviation of the first weights


class Harmonium(nn.Module):
    """W, c and the visible units of a restricted Boltzmann machine.

    Args:
        visible: The visible units.
        hidden: H.

    Raises:
        ArgumentError: H < 1.

    References:
        Smolensky 1986; Hinton 2002; Welling, Rosen-Zvi & Hinton, Exponential family harmoniums, 2005.
    """

    def __init__(self, visible: VisibleUnits, hidden: int) -> None:
        super().__init__()
        if isinstance(hidden, bool) or not isinstance(hidden, int) or hidden < 1:
            raise ArgumentError(program="RBM", site="hidden", got=hidden, expected="a positive integer")
        self.visible = visible
        self.weight = nn.Parameter(INITIAL * torch.randn(visible.features, hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))

    def gain(self, x: Tensor) -> Tensor:
        """Return g = Wᵀ t(x), shape (…, H)."""
        return self.visible.statistic(x) @ self.weight

    def sent(self, h: Tensor) -> Tensor:
        """Return a = W (h − ½), shape (…, D)."""
        return (h - 0.5) @ self.weight.mT

    def logits(self, x: Tensor) -> Tensor:
        """Return the log odds of h given x, shape (…, H)."""
        return self.bias + self.gain(x)

    def log_mass(self, x: Tensor) -> Tensor:
        """Return log Σ_h of the joint, minus the free energy of x, in nats, shape (…)."""
        g = self.gain(x)
        return self.visible.log_base(x) + (softplus(self.bias + g) - 0.5 * g).sum(-1)

    def log_mass_of_hidden(self, h: Tensor) -> Tensor:
        """Return log Σ_x (or ∫ dx) of the joint in nats, shape (…)."""
        return h @ self.bias + self.visible.log_partition(self.sent(h))

    @torch.no_grad()
    def draw_hidden(self, x: Tensor) -> Tensor:
        """Return one draw of h given x, shape (…, H)."""
        p = self.logits(x).sigmoid()
        return (torch.rand_like(p) < p).to(p.dtype)

    @torch.no_grad()
    def sweep(self, x: Tensor) -> Tensor:
        """Return x after one sweep of block Gibbs, h given x and x given h."""
        return self.visible.draw(self.sent(self.draw_hidden(x)))

    def states(self, program: str = "Harmonium") -> FiniteStates:
        """Return the states of the smaller layer (of h, where x is continuous), the other summed out.

        Raises:
            UnsupportedQueryError: More than 2²⁰.
        """
        d, h = self.weight.shape
        like = self.weight.detach()
        if self.visible.finite and d < h:
            return FiniteStates(d, self.log_mass, lambda x: x, like, program=program)

        def complete(hidden: Tensor) -> Tensor:
            return self.visible.draw(self.sent(hidden))

        return FiniteStates(h, self.log_mass_of_hidden, complete, like, program=program)

    def standard(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return W (D, H), b (D,), c (H,) of p(x, h) ∝ exp(x·Wh + b·x + c·h).

        Raises:
            UnsupportedQueryError: The visible units are not Bernoulli.
        """
        if not isinstance(self.visible, BernoulliUnits):
            raise UnsupportedQueryError(
                "the form exp(x·Wh + b·x + c·h) is that of Bernoulli units",
                program="RBM",
                got=type(self.visible).__name__,
                expected="BernoulliUnits",
                hint="W, b, σ and c are attributes of the program's joint and of its visible units",
            )
        bias = self.visible.bias - 0.5 * self.weight.sum(1)
        return self.weight, bias, self.bias - self.visible.mean @ self.weight

    @torch.no_grad()
    def spins(self) -> PairwiseSpins:
        """Return the same model as D + H spins ±1, x and h = (1 + s)/2, visible first.

        Raises:
            UnsupportedQueryError: The visible units are not Bernoulli.
        """
        w, b, c = (p.detach() for p in self.standard())
        d, h = w.shape
        couplings = w.new_zeros(d + h, d + h)
        couplings[:d, d:] = w / 4
        field = torch.cat([b / 2 + w.sum(1) / 4, c / 2 + w.sum(0) / 4])
        constant = (b.sum() + c.sum()) / 2 + w.sum() / 4 + 0.5 * (self.visible.mean @ w).sum()
        return PairwiseSpins(couplings + couplings.mT, field, constant)


class PathState(NamedTuple):
    """Where chains stand: x (n, D), and g = Wᵀ t(x) (n, H), computed once a transition."""

    x: Tensor
    g: Tensor


class HarmoniumPath:
    """The path from independent features to a harmonium, h summed out.

        log f_β(x) = (1 − β) log r(x) + β (log f(x) − ½ Σ_j g_j) + Σ_j log(1 + exp(β (c_j + g_j)))

    At β = 0 x has the reference density r and Z = 2^H; at β = 1 it is the harmonium. A transition is a sweep of block
    Gibbs at β.

    Args:
        joint: The harmonium.

    References:
        Salakhutdinov & Murray, On the quantitative analysis of deep belief networks, 2008.
    """

    def __init__(self, joint: Harmonium) -> None:
        self.joint = joint
        self.log_z_base = joint.weight.shape[1] * math.log(2.0)

    def start(self, n: int) -> PathState:
        """Return n independent draws at β = 0."""
        return self.state(self.joint.visible.reference().sample((n,)))  # pyright: ignore[reportArgumentType]

    def state(self, x: Tensor) -> PathState:
        """Return the state of chains that stand at x, shape (n, D)."""
        return PathState(x, self.joint.gain(x))

    def log_density(self, state: PathState, beta: float) -> Tensor:
        """Return log f_β in nats, shape (n,)."""
        visible, g = self.joint.visible, state.g
        hidden = softplus(beta * (self.joint.bias + g)).sum(-1)
        base = visible.log_base(state.x) - 0.5 * g.sum(-1)
        return (1.0 - beta) * visible.log_reference(state.x) + beta * base + hidden

    def transition(self, state: PathState, beta: float) -> PathState:
        """Return the chains after a sweep that leaves f_β invariant."""
        p = (beta * (self.joint.bias + state.g)).sigmoid()
        h = (torch.rand_like(p) < p).to(p.dtype)
        return self.state(self.joint.visible.draw(self.joint.sent(h), beta))
