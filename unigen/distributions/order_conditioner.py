"""A masked network for several orders: shared weights, a mask and biases for each order.

    φ_i = g_i(x_{before i in order m}, c; θ, b_m),   m = 1 … M

Notation: D features, K inputs and P parameters a feature, C context features, M orders. The degree of a unit is the
number of features, in the order, that must be known before it may be computed: rank + 1 for an input, 0 for the
context, the rank for an output. A weight is alive where the degree does not fall along it. Kept are the degrees, M
integers a unit, not the masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unigen.distributions.conditioners import MaskedConditioner, join
from unigen.distributions.masked_ranks import Ranks
from unigen.distributions.orders import Order, ranks_of
from unigen.errors import ArgumentError

ACTIVATIONS = ("ReLU", "LeakyReLU", "ELU", "SiLU", "GELU", "Tanh", "Softplus")


def activation_of(name: str, dropout: float = 0.0) -> nn.Module:
    """Return the activation with this name in ``torch.nn``, followed by dropout where that is positive.

    Raises:
        ArgumentError: Another name, or a probability outside [0, 1).
    """
    if name not in ACTIVATIONS:
        raise ArgumentError(site="activation", got=repr(name), expected=f"one of {', '.join(ACTIVATIONS)}")
    if not 0 <= dropout < 1:
        raise ArgumentError(site="dropout", got=dropout, expected="a probability in [0, 1)")
    activation = getattr(nn, name)()
    return nn.Sequential(activation, nn.Dropout(dropout)) if dropout else activation


class OrderConditioner(nn.Module):
    """Parameters of every feature under any of M orders.

    Hidden units have degrees spread evenly over 1 … D−1, dealt to the units anew for every order.

    Args:
        orders: M permutations of 0 … D−1.
        parameters: P.
        context: C.
        hidden: Widths of the hidden layers.
        inputs: K (for one-hot codes; the input is then (..., D · K)).
        activation: Name of the nonlinearity in ``torch.nn``.
        dropout: Probability that a hidden unit is left out of a training step.

    References:
        Germain et al., MADE, ICML 2015; Uria, Murray & Larochelle, A deep and tractable density estimator, ICML 2014.

    Example:
        >>> net = OrderConditioner(((0, 1, 2), (2, 1, 0)), 1, hidden=(8,))
        >>> net(torch.zeros(5, 3), 1).shape
        torch.Size([5, 3, 1])
    """

    centre: Tensor
    spread: Tensor
    input_degrees: Tensor
    output_degrees: Tensor

    def __init__(
        self,
        orders: Sequence[Order],
        parameters: int,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64, 64),
        inputs: int = 1,
        activation: str = "ReLU",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(parameters, inputs, *hidden) < 1:
            raise ArgumentError(
                site="parameters, hidden", got=(parameters, tuple(hidden)), expected="sizes ≥ 1"
            )
        self.orders, self.hidden, self.context = tuple(orders), tuple(hidden), context
        self.features, self.parameters_per_feature = len(self.orders[0]), parameters
        self.inputs_per_feature, self.activation_name = inputs, activation
        d, m = self.features, len(self.orders)
        self.register_buffer("centre", torch.zeros(d * inputs))
        self.register_buffer("spread", torch.ones(d * inputs))
        ranks = ranks_of(self.orders)
        of_inputs = torch.cat(((ranks + 1).repeat_interleave(inputs, 1), ranks.new_zeros(m, context)), dim=1)
        self.register_buffer("input_degrees", of_inputs, persistent=False)
        self.register_buffer("output_degrees", ranks.repeat_interleave(parameters, 1), persistent=False)
        generator = torch.Generator().manual_seed(0)
        low = 0 if context or d == 1 else 1
        for number, width in enumerate(self.hidden):
            even = low + torch.arange(width) * (d - low) // width
            dealt = [even[torch.randperm(width, generator=generator)] for _ in range(m)]
            self.register_buffer(f"degrees_{number}", torch.stack(dealt))
        self.activation = activation_of(activation, dropout)
        sizes = [d * inputs + context, *self.hidden, d * parameters]
        self.weights = nn.ParameterList(nn.Linear(a, b, bias=False).weight for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(m, size)) for size in sizes[1:])

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters."""
        return self.centre.dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.centre.device

    def degrees(self) -> list[Tensor]:
        """Return the degrees (M, units) of the inputs, of each hidden layer, and of the outputs."""
        hidden = [self.get_buffer(f"degrees_{number}") for number in range(len(self.hidden))]
        return [self.input_degrees, *hidden, self.output_degrees]

    def forward(self, x: Tensor, m: Tensor | int, context: Tensor | None = None) -> Tensor:
        """Return the parameters of all features under one order.

        Args:
            x: Shape (..., D · K).
            m: Number of the order; a tensor of shape (1,) where it is random.
            context: Shape (..., C), or None.

        Returns:
            Shape (..., D, P).
        """
        h = join((x - self.centre) / self.spread, context, self.context)
        index = m if isinstance(m, Tensor) else torch.tensor([m], device=self.device)
        degrees = [each.index_select(0, index)[0] for each in self.degrees()]
        for number, weight in enumerate(self.weights):
            alive = degrees[number] <= degrees[number + 1][:, None]
            h = F.linear(h, weight * alive, self.biases[number].index_select(0, index)[0])
            h = h if number == len(self.hidden) else self.activation(h)
        return h.unflatten(-1, (self.features, self.parameters_per_feature))

    @torch.no_grad()
    def start_at(self, raw: Tensor, x: Tensor | None = None) -> None:
        """Let the outputs start near constants, and optionally standardise the inputs.

        Args:
            raw: Parameters of every feature, shape (D, P).
            x: Inputs (N, D · K) whose mean and standard deviation the network shall see as 0 and 1.
        """
        self.weights[-1].mul_(0.1)
        self.biases[-1].copy_(raw.flatten().expand_as(self.biases[-1]))
        if x is not None:
            sd = x.std(0)
            self.centre.copy_(x.mean(0))
            self.spread.copy_(torch.where(sd > 0, sd, torch.ones_like(sd)))

    @torch.no_grad()
    def at(self, m: int) -> MaskedConditioner:
        """Return a copy of the network of one order, without dropout, as a masked network of its own."""
        net = MaskedConditioner(
            self.features, self.parameters_per_feature, context=self.context, hidden=self.hidden,
            order=self.orders[m], inputs=self.inputs_per_feature,
            activation=lambda: activation_of(self.activation_name),
        ).to(self.device, self.dtype)  # fmt: skip
        net.centre.copy_(self.centre)
        net.spread.copy_(self.spread)
        if net.net is None:
            net.constant.copy_(self(self.centre, m)[0])
            return net
        degrees, masks = [each[m] for each in self.degrees()], []
        for number, weight in enumerate(self.weights):
            layer = net.net[2 * number]
            masks.append(degrees[number] <= degrees[number + 1][:, None])
            layer.get_buffer("mask").copy_(masks[-1])
            layer.get_parameter("weight").copy_(weight)
            layer.get_parameter("bias").copy_(self.biases[number][m])
        net.ranks = Ranks(masks, self.orders[m], self.inputs_per_feature, self.parameters_per_feature)
        return net.to(self.device)
