"""Exact densities of sequences and images over a causal network: one pass to score, one feature at a time to draw.

    log p(x | c) = Σ_i log p(x_i | x_{<i}, c)

Notation: D features (the product of the event shape) in the order of the network; N rows; K levels of a finite
feature; P parameters a feature. The conditionals are those of a likelihood head.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.finite import finite_levels, log_table
from unigen.distributions.flow import check_value
from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.errors import ArgumentError
from unigen.logprob import Kind

Warp = Callable[[Tensor], Tensor]  # log-probabilities (N, K) of the next feature -> unnormalised ones


class Steps(Protocol):
    """The conditionals one feature at a time."""

    def __call__(self, x: Tensor, t: int) -> Tensor:
        """Return φ (N, P) of the t-th feature in order, given codes (N, D[, inputs]) of which the first t count."""
        ...

    def select(self, rows: Tensor) -> None:
        """Keep the given rows of the batch, in the given order."""
        ...


class CausalNet(Protocol):
    """A network whose outputs for a feature depend on the features before it alone."""

    classes: int | None  # tokens are given as integers (N, D); None: as numbers (N, D, inputs_per_feature)
    order: tuple[int, ...]
    inputs_per_feature: int
    parameters_per_feature: int

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return φ of all features (N, D, P)."""
        ...

    def steps(self, context: Tensor | None = None, *, cache: bool = True) -> Steps:
        """Return φ one feature at a time."""
        ...

    def parameters(self) -> Any:
        """Return what is trained."""
        ...


class SequentialDistribution(TorchDistribution):
    """p(x | c) = Π_i p(x_i | x_{<i}, c), exact, over a causal network.

    Args:
        net: Causal network with ``likelihood.parameters_per_feature`` outputs a feature.
        likelihood: The conditional of one feature.
        event_shape: Shape of one example.
        context: Shape (..., C), or None.
        batch_shape: By default that of the context.
        validate_args: Check the values given to ``log_prob``; torch's global setting if None.

    Raises:
        ArgumentError: Network and likelihood do not fit, or the scale is one parameter a feature.

    Example:
        >>> from unigen.distributions.likelihoods import Categorical
        >>> from unigen.nn.transformer import CausalTransformer
        >>> net = CausalTransformer(3, 2, classes=2, width=8, heads=2, layers=1)
        >>> p = SequentialDistribution(net, Categorical(2), (3,))
        >>> x = torch.cartesian_prod(*[torch.arange(2.0)] * 3)
        >>> print(f"{p.log_prob(x).exp().sum().item():.4f}")
        1.0000
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = Kind.EXACT
    has_rsample = False

    def __init__(
        self,
        net: CausalNet,
        likelihood: Likelihood,
        event_shape: torch.Size | tuple[int, ...],
        context: Tensor | None = None,
        *,
        batch_shape: torch.Size | tuple[int, ...] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if isinstance(likelihood, Gaussian) and likelihood.mode == "per_feature":
            raise ArgumentError(
                "one scale a feature is a constant output of the network",
                program="SequentialDistribution",
                hint="Gaussian('network')",
            )
        got = (len(net.order), net.parameters_per_feature)
        want = (math.prod(event_shape), likelihood.parameters_per_feature)
        if got != want:
            raise ArgumentError(
                "the network does not fit the likelihood",
                program="SequentialDistribution",
                got=f"(features, parameters) = {got}",
                expected=want,
            )
        self.net, self.likelihood, self.context = net, likelihood, context
        batch = torch.Size() if context is None else context.shape[:-1]
        batch = batch if batch_shape is None else torch.Size(batch_shape)
        super().__init__(batch, torch.Size(event_shape), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The set on which the density lives."""
        return constraints.independent(self.likelihood.support, len(self.event_shape))

    def expand(
        self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None
    ) -> SequentialDistribution:
        """Return the same density with another batch shape."""
        shape = torch.Size(batch_shape)
        context = None if self.context is None else self.context.expand(*shape, self.context.shape[-1])
        return SequentialDistribution(
            self.net, self.likelihood, self.event_shape, context, batch_shape=shape,
            validate_args=self._validate_args,
        )  # fmt: skip

    def _like(self) -> Tensor:
        return next(iter(self.net.parameters()))

    def _context_rows(self, leading: torch.Size | tuple[int, ...]) -> Tensor | None:
        if self.context is None:
            return None
        c = self.context.shape[-1]
        return self.context.expand(*leading, c).reshape(-1, c)

    def code(self, x: Tensor) -> Tensor:
        """Return what the network is fed for x (N, D): tokens (N, D), or numbers (N, D, inputs)."""
        if self.net.classes is not None:
            return x.long()
        return self.likelihood.encode(x).unflatten(-1, (x.shape[-1], self.net.inputs_per_feature))

    def conditionals(self, x: Tensor) -> TorchDistribution:
        """Return p(x_i | x_{<i}, c) of every feature as independent scalars, the shape of flattened x (..., D)."""
        phi = self.net(self.code(x.reshape(-1, x.shape[-1])), self._context_rows(x.shape[:-1]))
        return self.likelihood.elementwise(phi.reshape(*x.shape, -1), x.shape[-1:])

    def conditional_log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x_i | x_{<i}, c) of every feature, the shape of ``value``, in nats.

        Raises:
            ShapeError, DTypeError, SupportError: A value that cannot be scored.
        """
        check_value(self, value, "SequentialDistribution", real=not self.likelihood.discrete)
        leading = value.shape[: value.dim() - len(self.event_shape)]
        leading = torch.broadcast_shapes(leading, self.batch_shape)
        x = value.expand(*leading, *self.event_shape).reshape(*leading, len(self.net.order))
        x = x.to(self._like().dtype)
        return self.conditionals(x).log_prob(x).reshape(*leading, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x | c) in nats, from one pass.

        Raises:
            ShapeError, DTypeError, SupportError: A value that cannot be scored.
        """
        each = self.conditional_log_prob(value)
        return each.flatten(each.dim() - len(self.event_shape)).sum(-1)

    @torch.no_grad()
    def complete(self, x: Tensor, known: int, *, warp: Warp | None = None, cache: bool = True) -> Tensor:
        """Return x (N, D) with all but the first ``known`` features in order drawn anew, one after the other.

        Args:
            x: Rows of flattened examples, as many as the distribution's batch (any number if that is ()).
            known: Number of features that are given; the rest is not read.
            warp: Changes the log-probabilities (N, K) of every finite feature before it is drawn.
            cache: Keep what the network has computed for the features before; the draws are the same bits.

        Returns:
            Shape (N, D), reals, also for classes.
        """
        x, steps = x.clone(), self.net.steps(self._context_rows((x.shape[0],)), cache=cache)
        for t in range(known, len(self.net.order)):
            phi = steps(self.code(x), t)
            x[:, self.net.order[t]] = self._draw(phi, warp).to(x.dtype)
        return x

    def _draw(self, phi: Tensor, warp: Warp | None) -> Tensor:
        levels = finite_levels(self.likelihood)
        if levels is None and warp is None:
            return self.likelihood.elementwise(phi, torch.Size()).sample()
        table = log_table(self.likelihood, phi)
        table = table if warp is None else warp(table)
        return torch.multinomial(table.softmax(-1), 1)[:, 0] + (0 if levels is None else levels[0])

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw feature after feature, shape (*sample_shape, *batch_shape, *event_shape)."""
        shape = torch.Size(sample_shape) + self.batch_shape
        x = self._like().new_zeros(shape.numel(), len(self.net.order))
        rows = SequentialDistribution(
            self.net, self.likelihood, self.event_shape, self._context_rows(shape), validate_args=False
        )
        return rows.complete(x, 0).reshape(*shape, *self.event_shape)
