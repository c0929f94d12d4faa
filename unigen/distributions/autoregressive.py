"""Autoregressive densities over a masked network: one pass to score, D small steps to draw.

    log p(x | c) = Σ_i log p(x_i | x_{<i}, c)

Notation: D features; the conditionals are those of a likelihood head (Gaussian, Bernoulli, categorical or a
mixture of Gaussians), whose P parameters come from a masked network.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.conditioners import MaskedConditioner
from unigen.distributions.flow import check_value
from unigen.distributions.likelihoods import Gaussian, Likelihood
from unigen.distributions.masked_sampling import draw_in_order
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import Kind


class AutoregressiveDistribution(TorchDistribution):
    """p(x | c) = Π_i p(x_i | x_{<i}, c), exact; draws are sequential.

    Args:
        net: Masked network with ``net.inputs == likelihood.inputs_per_feature`` numbers in and
            ``likelihood.parameters_per_feature`` out for each feature.
        likelihood: The conditional of one feature.
        context: Shape (..., C), or None.
        batch_shape: By default that of the context.
        validate_args: Check the values given to ``log_prob``; torch's global setting if None.

    Raises:
        ArgumentError: Network and likelihood do not fit, or the scale is one parameter a feature.

    References:
        Germain et al., MADE, ICML 2015; Uria et al., Neural autoregressive distribution estimation, JMLR 2016.

    Example:
        >>> from unigen.distributions.likelihoods import Bernoulli
        >>> p = AutoregressiveDistribution(MaskedConditioner(3, 1), Bernoulli())
        >>> x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
        >>> print(f"{p.log_prob(x).exp().sum().item():.4f}")
        1.0000
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = Kind.EXACT

    def __init__(
        self,
        net: MaskedConditioner,
        likelihood: Likelihood,
        context: Tensor | None = None,
        *,
        batch_shape: torch.Size | tuple[int, ...] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if isinstance(likelihood, Gaussian) and likelihood.mode == "per_feature":
            raise ArgumentError(
                "one scale a feature is a constant output of the network",
                program="AutoregressiveDistribution",
                hint="Gaussian('network')",
            )
        got = (net.inputs_per_feature, net.parameters_per_feature)
        want = (likelihood.inputs_per_feature, likelihood.parameters_per_feature)
        if got != want:
            raise ArgumentError(
                "the network does not fit the likelihood",
                program="AutoregressiveDistribution",
                got=f"(inputs, parameters) = {got}",
                expected=want,
            )
        self.net, self.likelihood, self.context = net, likelihood, context
        batch = torch.Size() if context is None else context.shape[:-1]
        batch = batch if batch_shape is None else torch.Size(batch_shape)
        super().__init__(batch, torch.Size((net.features,)), validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether draws carry gradients: they do for Gaussian conditionals."""
        return self.likelihood.reparameterised

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The set on which the density lives."""
        return constraints.independent(self.likelihood.support, 1)

    def expand(
        self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None
    ) -> AutoregressiveDistribution:
        """Return the same density with another batch shape."""
        shape = torch.Size(batch_shape)
        context = None if self.context is None else self.context.expand(*shape, self.context.shape[-1])
        return AutoregressiveDistribution(
            self.net, self.likelihood, context, batch_shape=shape, validate_args=self._validate_args
        )

    def conditionals(self, x: Tensor) -> TorchDistribution:
        """Return p(x_i | x_{<i}, c) of every feature as independent scalars, the shape of x (..., D)."""
        inputs = self.likelihood.encode(x.to(self.net.dtype))
        return self.likelihood.elementwise(self.net(inputs, self.context), self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x | c) in nats.

        Raises:
            ShapeError, DTypeError, SupportError: A value that cannot be scored.
        """
        check_value(self, value, "AutoregressiveDistribution", real=not self.likelihood.discrete)
        return self.conditionals(value).log_prob(value).sum(-1)

    def _draw(self, sample_shape: torch.Size | tuple[int, ...], gradients: bool) -> Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape

        def draw(i: int, raw: Tensor) -> Tensor:
            conditional = self.likelihood.elementwise(raw, torch.Size())
            return conditional.rsample() if gradients else conditional.sample()

        return draw_in_order(self.net, shape, self.context, draw, self.likelihood.encode)

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw feature after feature, shape (*sample_shape, *batch_shape, D); reals, also for classes."""
        with torch.no_grad():
            return self._draw(sample_shape, gradients=False)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw with gradients, shape (*sample_shape, *batch_shape, D).

        Raises:
            UnsupportedQueryError: The conditionals are discrete or mixtures.
        """
        if not self.has_rsample:
            raise UnsupportedQueryError(
                "these draws carry no gradient", program="AutoregressiveDistribution", hint="sample"
            )
        return self._draw(sample_shape, gradients=True)
