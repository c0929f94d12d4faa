"""A mixture of autoregressive densities over orders: the order is a latent variable that is summed out.

    p(x | c) = 1/M Σ_m p(x | c, o = m),    p(x | c, o = m) = Π_i p(x_i | features before i in order m, c)

With the uniform distribution as the guide of o, the evidence lower bound is the objective of order-agnostic training,

    ELBO(x) = 1/M Σ_m log p(x | o = m)  ≤  log p(x),

and one order drawn for a batch estimates it without bias.
"""

from __future__ import annotations

import math
from typing import ClassVar, cast

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.autoregressive import AutoregressiveDistribution
from unigen.distributions.conditioners import MaskedConditioner
from unigen.distributions.flow import check_value
from unigen.distributions.likelihoods import Likelihood
from unigen.distributions.order_conditioner import OrderConditioner
from unigen.logprob import Kind


class MixtureOfOrders(TorchDistribution):
    """p(x | c) under M equally likely orders; exact, in M passes of the network.

    Args:
        net: The masked network of all orders.
        likelihood: The conditional of one feature.
        context: Shape (..., C), or None.
        batch_shape: By default that of the context.
        validate_args: Check the values given to ``log_prob``; torch's global setting if None.

    Raises:
        ArgumentError: Network and likelihood do not fit.

    References:
        Uria, Murray & Larochelle, A deep and tractable density estimator, ICML 2014; Germain et al., MADE, 2015.

    Example:
        >>> from unigen.distributions.likelihoods import Bernoulli
        >>> p = MixtureOfOrders(OrderConditioner(((0, 1, 2), (1, 2, 0)), 1), Bernoulli())
        >>> x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
        >>> print(f"{p.log_prob(x).exp().sum().item():.4f}")
        1.0000
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = Kind.EXACT
    has_rsample = False
    costly = True  # a draw builds the network of an order; structure is found without drawing

    def __init__(
        self,
        net: OrderConditioner,
        likelihood: Likelihood,
        context: Tensor | None = None,
        *,
        batch_shape: torch.Size | tuple[int, ...] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        AutoregressiveDistribution(cast(MaskedConditioner, net), likelihood)  # refuses parts that do not fit
        self.net, self.likelihood, self.context = net, likelihood, context
        batch = torch.Size() if context is None else context.shape[:-1]
        batch = batch if batch_shape is None else torch.Size(batch_shape)
        super().__init__(batch, torch.Size((net.features,)), validate_args=validate_args)

    @property
    def orders(self) -> int:
        """M."""
        return len(self.net.orders)

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The set on which the density lives."""
        return constraints.independent(self.likelihood.support, 1)

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> MixtureOfOrders:
        """Return the same density with another batch shape."""
        shape = torch.Size(batch_shape)
        context = None if self.context is None else self.context.expand(*shape, self.context.shape[-1])
        return MixtureOfOrders(
            self.net, self.likelihood, context, batch_shape=shape, validate_args=self._validate_args
        )

    def log_prob_given(self, value: Tensor, m: Tensor | int) -> Tensor:
        """Return log p(x | c, o = m) in nats.

        Args:
            value: x, shape (..., D).
            m: Number of the order; a tensor of shape (1,) where it is random.
        """
        inputs = self.likelihood.encode(value.to(self.net.dtype))
        raw = self.net(inputs, m, self.context)
        return self.likelihood.elementwise(raw, self.event_shape).log_prob(value).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log 1/M Σ_m p(x | c, o = m) in nats.

        Raises:
            ShapeError, DTypeError, SupportError: A value that cannot be scored.
        """
        check_value(self, value, "MixtureOfOrders", real=not self.likelihood.discrete)
        each = torch.stack([self.log_prob_given(value, m) for m in range(self.orders)])
        return torch.logsumexp(each, 0) - math.log(self.orders)

    def surrogate(self, value: Tensor) -> Tensor:
        """Return log p(x | c, o) for one order drawn for all examples: unbiased for the ELBO, which is a bound."""
        return self.log_prob_given(value, torch.randint(self.orders, (1,), device=value.device))

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw an order for every example, then the features in that order; shape (*sample_shape, *batch, D)."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            n = shape.numel()
            context = None
            if self.context is not None:
                context = self.context.expand(*shape, self.net.context).reshape(n, self.net.context)
            order = torch.randint(self.orders, (n,), device=self.net.device)
            x = torch.empty(n, self.net.features, dtype=self.net.dtype, device=self.net.device)
            for m in order.unique().tolist():
                rows = (order == m).nonzero()[:, 0]
                given = None if context is None else context[rows]
                p = AutoregressiveDistribution(
                    self.net.at(m), self.likelihood, given, batch_shape=(rows.shape[0],), validate_args=False
                )
                x[rows] = p.sample()
            return x.reshape(*shape, self.net.features)
