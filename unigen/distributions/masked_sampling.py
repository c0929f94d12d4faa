"""Drawing through a masked network: every hidden unit is computed once, when the features it sees are known.

    x_i = g_i(φ_i(x_{<i}, c)),   i in the order of the network

Notation: D features, H hidden units a layer, M examples; the rank of a unit is the number of features, in the order
in which they are drawn, that must be known before it can be computed. Sorted by rank, every masked weight is block
lower triangular: step k computes the units of rank k from those of lower or equal rank, so that the D steps
together multiply what one full pass multiplies, O(M H²), where D full passes take O(D M H²).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from unigen.distributions.conditioners import MaskedConditioner, check_width

Draw = Callable[[int, Tensor], Tensor]


class Rows:
    """Rows of a matrix (R, M) that become known one block after another.

    With gradients each block is appended to a copy; without, it is written in place.
    """

    def __init__(self, rows: int, columns: int, like: Tensor) -> None:
        self.gradients, self.count = torch.is_grad_enabled(), 0
        self.matrix = like.new_empty(0 if self.gradients else rows, columns)

    def append(self, block: Tensor) -> None:
        """Add a block (B, M) below."""
        if self.gradients:
            self.matrix = torch.cat((self.matrix, block)) if self.count else block
        else:
            self.matrix[self.count : self.count + block.shape[0]] = block
        self.count += block.shape[0]

    @property
    def known(self) -> Tensor:
        """The rows known so far."""
        return self.matrix if self.gradients else self.matrix[: self.count]


def draw_in_order(
    net: MaskedConditioner,
    batch: torch.Size,
    context: Tensor | None,
    draw: Draw,
    encode: Callable[[Tensor], Tensor] = lambda x: x,
) -> Tensor:
    """Return x with x_i = draw(i, φ_i(x_{<i}, c)), the D features in turn, at the price of one pass of the network.

    Args:
        net: The masked network of φ.
        batch: Shape of the examples.
        context: Shape (..., C), its leading dimensions broadcast to ``batch``; None for C = 0.
        draw: Gives x_i, shape ``batch``, from i and φ_i, shape (*batch, P). It is called once for each feature, in
            the order of the network.
        encode: Gives what the network sees of one feature, (..., K), from (..., 1).

    Returns:
        x, shape (*batch, D), with gradients where they are enabled.

    Raises:
        ContextError: The context is missing, unwanted, or of another width than C.

    References:
        The triangular order of computation is that of Germain et al., MADE, ICML 2015.
    """
    check_width(context, net.context)
    if net.net is None:
        only = draw(0, net.constant.expand(*batch, net.parameters_per_feature))
        return only[..., None].to(net.dtype)
    return _Sweep(net, batch, context, encode).run(draw)


class _Sweep:
    """The state of one draw: the units known so far, feature-major, (rows, M)."""

    def __init__(
        self,
        net: MaskedConditioner,
        batch: torch.Size,
        context: Tensor | None,
        encode: Callable[[Tensor], Tensor],
    ) -> None:
        assert net.net is not None
        self.net, self.batch, self.encode, self.columns = net, batch, encode, math.prod(batch)
        layers, self.activations = list(net.net)[::2], list(net.net)[1::2]
        self.weights = net.ranks.triangular(layers)
        assert isinstance(layers[0], nn.Linear)
        first = layers[0].weight  # under functional_call no nn.Parameter
        if context is not None:  # its part of the first layer is the same for all steps
            given = context.expand(*batch, net.context).reshape(-1, net.context)
            part = torch.nn.functional.linear(given, first[:, -net.context :])
            index = torch.tensor(net.ranks.indices[1], device=first.device)
            weight, bias = self.weights[0]
            self.weights[0] = (weight, bias + part.T.index_select(0, index))
        self.units = [Rows(weight.shape[1], self.columns, first) for weight, _ in self.weights]

    def run(self, draw: Draw) -> Tensor:
        """Draw all features and return them in their natural order."""
        net, p = self.net, self.net.parameters_per_feature
        x: dict[int, Tensor] = {}
        for k, i in enumerate(net.order):
            raw = self._advance(k, p).T.reshape(*self.batch, p)
            x[i] = draw(i, raw).to(net.dtype)
            if k + 1 < net.features:
                self.units[0].append(self._seen(i, x[i]))
        return torch.stack([x[i] for i in range(net.features)], dim=-1)

    def _advance(self, k: int, p: int) -> Tensor:
        """Compute the hidden units of rank k and return the parameters of the feature drawn next, (P, M)."""
        for number, activation in enumerate(self.activations):
            done, known = self.units[number + 1].count, self.net.ranks.known[number][k]
            if known > done:
                block = self._affine(number, done, known)
                self.units[number + 1].append(activation(block))
        return self._affine(len(self.activations), k * p, (k + 1) * p)

    def _affine(self, number: int, start: int, stop: int) -> Tensor:
        weight, bias = self.weights[number]
        known = self.units[number].known
        if not self.units[number].count:
            return bias[start:stop].expand(stop - start, self.columns)
        return torch.addmm(bias[start:stop], weight[start:stop, : self.units[number].count], known)

    def _seen(self, i: int, x_i: Tensor) -> Tensor:
        """Return what the network sees of feature i, standardised and clipped, (K, M)."""
        seen = self.encode(x_i[..., None]).reshape(-1, self.net.inputs_per_feature)
        seen = self.net.standardised(seen, i)
        return (seen if self.net.limit is None else seen.clamp(-self.net.limit, self.net.limit)).T
