"""A masked network for several orders: shared weights, a mask and biases for each order.

    φ_i = g_i(x_{before i in order m}, c; θ, b_m),   m = 1 … M

Notation: D features, K inputs and P parameters a feature, C context features, M orders. The degree of a unit is the
number of features, in the order, that must be known before it may be computed: rank + 1 for an input, 0 for the
context, the rank for an output. A weight is alive where the degree does not fall along it. Kept are the degrees, M
integers a unit, not the masks.

Where one order is the reverse of another a hidden unit of degree d has degree D − d there: the two then use disjoint
weights, each the half that the other masks out.
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


def odd_slope(name: str) -> float:
    """Return s with f(x) − f(−x) = s x for the activation f: 1 for ReLU, SiLU, GELU and Softplus.

    Raises:
        ArgumentError: The odd part of the activation is not linear.
    """
    f = activation_of(name)
    one, three = (float(f(torch.tensor(x)) - f(torch.tensor(-x))) for x in (1.0, 3.0))
    if abs(three - 3 * one) > 1e-4:
        raise ArgumentError(
            "direct connections need an activation whose odd part is linear",
            site="activation", got=repr(name), expected="ReLU, LeakyReLU, SiLU, GELU or Softplus",
        )  # fmt: skip
    return round(one, 4)


def _deal(orders: Sequence[Order], hidden: Sequence[int], low: int) -> list[Tensor]:
    """Return the degrees (M, H) of each hidden layer, between ``low`` and D − 1."""
    generator, d, dealt = torch.Generator().manual_seed(0), len(orders[0]), []
    for width in hidden:
        even, of_order = low + torch.arange(width) * (d - low) // width, {}
        for order in orders:
            reverse = of_order.get(order[::-1])
            fresh = even[torch.randperm(width, generator=generator)]
            of_order[order] = fresh if reverse is None else d - 1 + low - reverse
        dealt.append(torch.stack([of_order[order] for order in orders]))
    return dealt


class OrderConditioner(nn.Module):
    """Parameters of every feature under any of M orders.

    Hidden units have degrees spread evenly over 1 … D−1, dealt to the units anew for every order, unless it is the
    reverse of an earlier one.

    Args:
        orders: M permutations of 0 … D−1.
        parameters: P.
        context: C.
        hidden: Widths of the hidden layers.
        inputs: K (for one-hot codes; the input is then (..., D · K)).
        activation: Name of the nonlinearity in ``torch.nn``.
        dropout: Probability that a hidden unit is left out of a training step.
        direct: Whether inputs are connected to outputs directly too, by a masked matrix that starts at zero.

    Raises:
        ArgumentError: A size below one, an unknown activation, or a direct connection beside one without
            f(x) − f(−x) ∝ x, which copies of one order need.

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
        direct: bool = False,
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
        for number, degrees in enumerate(_deal(self.orders, self.hidden, 0 if context or d == 1 else 1)):
            self.register_buffer(f"degrees_{number}", degrees)
        self.activation = activation_of(activation, dropout)
        sizes = [d * inputs + context, *self.hidden, d * parameters]
        self.weights = nn.ParameterList(nn.Linear(a, b, bias=False).weight for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(m, size)) for size in sizes[1:])
        self.direct = nn.Parameter(torch.zeros(sizes[-1], sizes[0])) if direct else None
        if direct:
            odd_slope(activation)

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
        given = h = join((x - self.centre) / self.spread, context, self.context)
        index = m if isinstance(m, Tensor) else torch.tensor([m], device=self.device)
        degrees = [each.index_select(0, index)[0] for each in self.degrees()]
        for number, weight in enumerate(self.weights):
            alive = degrees[number] <= degrees[number + 1][:, None]
            h = F.linear(h, weight * alive, self.biases[number].index_select(0, index)[0])
            h = h if number == len(self.hidden) else self.activation(h)
        if self.direct is not None:
            h = h + F.linear(given, self.direct * (degrees[0] <= degrees[-1][:, None]))
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
        layers = self._layers(m)
        net = MaskedConditioner(
            self.features, self.parameters_per_feature, context=self.context,
            hidden=[weight.shape[0] for weight, _, _ in layers[:-1]], order=self.orders[m],
            inputs=self.inputs_per_feature, activation=lambda: activation_of(self.activation_name),
        ).to(self.device, self.dtype)  # fmt: skip
        net.centre.copy_(self.centre)
        net.spread.copy_(self.spread)
        if net.net is None:
            net.constant.copy_(self(self.centre, m)[0])
            return net
        for number, (weight, bias, mask) in enumerate(layers):
            layer = net.net[2 * number]
            layer.get_parameter("weight").copy_(weight)
            layer.get_parameter("bias").copy_(bias)
            layer.get_buffer("mask").copy_(mask)
        masks = [mask.cpu() for _, _, mask in layers]
        net.ranks = Ranks(masks, self.orders[m], self.inputs_per_feature, self.parameters_per_feature)
        return net.to(self.device)

    def _layers(self, m: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return weight, bias and mask of every layer of one order.

        Direct connections pass through the hidden layers on pairs of units f(x), f(−x), whose difference is ∝ x.
        """
        degrees = [each[m] for each in self.degrees()]
        weights, biases = list(self.weights), [bias[m] for bias in self.biases]
        if self.direct is not None and not self.hidden:
            weights[0] = weights[0] + self.direct
        elif self.direct is not None:
            slope, last = odd_slope(self.activation_name), len(self.hidden)
            eye = torch.eye(self.direct.shape[1], dtype=self.dtype, device=self.device)
            pair = torch.cat((eye, -eye))
            weights[0] = torch.cat((weights[0], pair))
            for number in range(1, last):
                weights[number] = torch.block_diag(weights[number], pair @ pair.T / slope)
            weights[last] = torch.cat((weights[last], self.direct @ pair.T / slope), 1)
            for number in range(last):
                biases[number] = torch.cat((biases[number], biases[number].new_zeros(pair.shape[0])))
                degrees[number + 1] = torch.cat((degrees[number + 1], degrees[0], degrees[0]))
        masks = [before <= after[:, None] for before, after in pairwise(degrees)]
        return list(zip(weights, biases, masks, strict=True))
