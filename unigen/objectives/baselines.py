"""Baselines of the score function: what is taken off the reward, so that its gradient varies less.

Notation: f the reward, shape (K, N); b the baseline of draw k of example i, which must not depend on that draw. A
baseline is stateless; what it trains or remembers is a module, its ``part``, that the loss holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.mlp import MLP
from unigen.objectives.score_function import leave_one_out, leave_one_out_bound
from unigen.program import Program

MEMORY = 0.1  # weight of the newest batch in the running moments of the reward


class BaselinePart(nn.Module, ABC):
    """What a loss holds of a baseline."""

    @abstractmethod
    def forward(
        self, reward: Tensor, log_w: Tensor | None, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return b, broadcast to (K, N), and a term of value zero whose gradient trains the part, shape ().

        Args:
            reward: f without a gradient, (K, N); (1, N) for a bound of several samples.
            log_w: For such a bound, the log weights, shape (K, N).
            x: Batch, shape (N, *event_shape).
            context: Shape (N, C), or None.
        """


class Baseline(ABC):
    """How the reward of the score function is centred."""

    @abstractmethod
    def part(self, program: Program) -> BaselinePart:
        """Return a fresh module for the loss of one program."""

    def __repr__(self) -> str:
        """Return the class and its options."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class _Others(BaselinePart):
    def forward(
        self, reward: Tensor, log_w: Tensor | None, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean of the others, or the bound without each."""
        several = log_w is not None and log_w.shape[0] > 1
        b = leave_one_out_bound(log_w) if several and log_w is not None else leave_one_out(reward)
        return b, reward.new_zeros(())


class LeaveOneOut(Baseline):
    """The other draws of the same example; with one draw, the other examples of the batch.

    For the ELBO b_k is the mean reward of the others (RLOO); for the importance-weighted bound it is the bound with
    weight k replaced by the geometric mean of the others (VIMCO). Nothing is trained, and the gradient is unbiased.

    References:
        Mnih & Rezende 2016; Kool, van Hoof & Welling 2019.
    """

    def part(self, program: Program) -> BaselinePart:
        """Return a module without state."""
        return _Others()


class _Network(BaselinePart):
    mean: Tensor
    spread: Tensor
    batches: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("spread", torch.ones(1))
        self.register_buffer("batches", torch.zeros(1, dtype=torch.int64))

    def forward(
        self, reward: Tensor, log_w: Tensor | None, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return b(x), and the squared error whose gradient trains it."""
        rows = torch.where(x.isnan(), torch.zeros_like(x), x).flatten(1)
        raw = self.network(rows) if context is None else self.network(rows, context)
        mean, spread = self.mean.clone(), self.spread.clone()
        raw = raw[..., 0][None] if reward.shape[-1] == x.shape[0] else raw.mean().reshape(1, 1)
        error = (raw - (reward - mean) / spread).square().mean()
        if self.training:
            self._remember(reward)
        return (mean + spread * raw).detach(), error - error.detach()

    @torch.no_grad()
    def _remember(self, reward: Tensor) -> None:
        """Move the moments towards those of this batch, after they have served for it."""
        weight = (1.0 / (self.batches + 1.0)).clamp(min=MEMORY).to(self.mean.dtype)
        variance = (reward - reward.mean()).square().mean()
        self.mean.add_(weight * (reward.mean() - self.mean))
        self.spread.copy_(
            (self.spread.square() + weight * (variance - self.spread.square())).sqrt().clamp(min=1e-6)
        )
        self.batches.add_(1)


class LearnedBaseline(Baseline):
    """A network b(x) fitted to the reward by least squares, beside model and guide: neural variational inference.

    b(x) = m + s·h(x), with running moments m, s² of the reward and a perceptron h. Its weights are trained by the same
    optimiser; the squared error does not count in the value of the loss, but its gradient in the norm that ``clip``
    looks at.

    Args:
        hidden: Widths of the hidden layers.

    Raises:
        ArgumentError: A width is no positive integer.

    References:
        Mnih & Gregor, Neural variational inference and learning in belief networks, 2014 (without their scaling of
        the reward by its deviation, which would change the length of the gradient).
    """

    def __init__(self, hidden: Sequence[int] = (64,)) -> None:
        if any(isinstance(w, bool) or not isinstance(w, int) or w < 1 for w in hidden):
            raise ArgumentError(site="hidden", got=hidden, expected="positive integers")
        self.hidden = tuple(hidden)

    def part(self, program: Program) -> BaselinePart:
        """Return the network and its moments."""
        features = program.event_shape.numel()
        network = MLP(features, 1, hidden=self.hidden, context=program.context_features)
        with torch.no_grad():
            last = list(network.parameters())[-2:]
            for p in last:
                p.zero_()  # the running mean alone, at first
        return _Network(network)


def check_baseline(baseline: Baseline | None) -> None:
    """Refuse what is no baseline.

    Raises:
        ArgumentError: It is neither a ``Baseline`` nor None.
    """
    if baseline is not None and not isinstance(baseline, Baseline):
        raise ArgumentError(
            site="baseline",
            got=repr(baseline),
            expected="LeaveOneOut(), LearnedBaseline() or None",
        )
