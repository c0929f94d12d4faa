"""Networks that hand each feature the parameters of its conditional: masked (autoregressive) and plain.

Notation: D features, C context features, P parameters a feature; ``order`` lists the features in the order in
which they are drawn, so feature order[k] may see order[0], …, order[k−1] and the context, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unigen.distributions.masked_ranks import Ranks
from unigen.distributions.zuko_adapter import MLP, MaskedMLP
from unigen.errors import ArgumentError, ContextError


def check_width(context: Tensor | None, features: int) -> None:
    """Refuse a context of another width than ``features``, zero for none.

    Raises:
        ContextError: A context is missing, unwanted, or of another width.
    """
    if (0 if context is None else context.shape[-1]) != features or (context is not None and not features):
        raise ContextError(
            site="context",
            got="no context" if context is None else tuple(context.shape),
            expected=f"(..., {features})" if features else "none",
        )


def check_sizes(
    features: int, parameters: int, hidden: Sequence[int], inputs: int = 1, context: int = 0
) -> None:
    """Refuse sizes below one, and a context below zero.

    Raises:
        ArgumentError: There is one.
    """
    if min(features, parameters, inputs, *hidden) < 1 or context < 0:
        raise ArgumentError(
            site="features, parameters, hidden",
            got=(features, parameters, tuple(hidden)),
            expected="sizes ≥ 1",
        )


def join(x: Tensor, context: Tensor | None, features: int, limit: float | None = None) -> Tensor:
    """Clip x to ±limit and append the context to x along the last dimension, leading dimensions broadcast.

    Args:
        x: Tensor (..., D).
        context: Tensor (..., C) or None.
        features: C, zero for an unconditional network.
        limit: Largest |x| that is passed on, or None.

    Returns:
        Tensor (..., D + C).

    Raises:
        ContextError: A context is missing, unwanted, or of another width than C.
    """
    x = x if limit is None else F.hardtanh(x, -limit, limit)  # a clamp with a cheaper gradient
    check_width(context, features)
    if context is None:
        return x
    batch = torch.broadcast_shapes(x.shape[:-1], context.shape[:-1])
    return torch.cat((x.expand(*batch, x.shape[-1]), context.expand(*batch, features)), dim=-1)


@torch.no_grad()
def _shrink(layer: nn.Module, gain: float) -> None:
    for parameter in layer.parameters():
        parameter.mul_(gain)


class MaskedConditioner(nn.Module):
    """Parameters of feature i as a function of the features before it and of the context.

        φ_i = g_i(x_{order < i}, c),   ∂φ_i/∂x_j = 0 unless j comes before i

    Args:
        features: D.
        parameters: P, parameters a feature.
        context: C.
        hidden: Widths of the hidden layers.
        order: Permutation of 0 … D−1, first drawn first; ascending by default.
        inputs: Numbers that encode one feature (K for one-hot codes); the input is then (..., D · inputs).
        activation: Constructor of the nonlinearity.
        gain: Factor on the initial weights of the last layer; small values start near the identity.
        limit: The network sees x clipped to ±limit, so that a bijection stays well conditioned far out; None
            leaves x as it is.
        standardise: Whether ``start_at`` may let the network see standardised inputs.

    Raises:
        ArgumentError: A size below one, or an order that is no permutation.

    References:
        Germain et al., MADE: masked autoencoder for distribution estimation, ICML 2015.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        features: int,
        parameters: int,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64, 64),
        order: Sequence[int] | None = None,
        inputs: int = 1,
        activation: Callable[[], nn.Module] = nn.ReLU,
        gain: float = 1.0,
        limit: float | None = None,
        standardise: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(features, parameters, hidden, inputs, context)
        self.features, self.parameters_per_feature, self.context = features, parameters, context
        self.limit = limit
        self.inputs_per_feature = inputs
        self.standardise = standardise
        if standardise:
            self.register_buffer("centre", torch.zeros(features * inputs))
            self.register_buffer("spread", torch.ones(features * inputs))
        self.order = tuple(range(features)) if order is None else tuple(int(i) for i in order)
        if sorted(self.order) != list(range(features)):
            raise ArgumentError(site="order", got=self.order, expected=f"a permutation of 0 … {features - 1}")
        rank = torch.empty(features, dtype=torch.long)
        rank[torch.tensor(self.order)] = torch.arange(features)
        sees = (rank[:, None] > rank).repeat_interleave(inputs, dim=1)
        sees = torch.cat((sees, torch.ones(features, context, dtype=torch.bool)), dim=1)
        sees = sees.repeat_interleave(parameters, dim=0)
        self.net: nn.Sequential | None = None
        if features == 1 and context == 0:
            self.constant = nn.Parameter(torch.zeros(parameters))
        else:
            self.net = MaskedMLP(sees, hidden, activation=activation)  # pyright: ignore[reportArgumentType]
            _shrink(self.net[-1], gain)
            masks = [layer.get_buffer("mask") for layer in list(self.net)[::2]]
            self.ranks = Ranks(masks, self.order, inputs, parameters)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    @torch.no_grad()
    def start_at(self, raw: Tensor, x: Tensor | None = None) -> None:
        """Let the outputs start near constants, and optionally standardise the inputs.

        Args:
            raw: Parameters of every feature, shape (D, P).
            x: Inputs (N, D · inputs) whose mean and standard deviation the network shall see as 0 and 1.
        """
        if self.net is None:
            self.constant.copy_(raw[0])
            return
        last = self.net[-1]
        _shrink(last, 0.1)
        last.get_parameter("bias").copy_(raw.flatten())
        if x is not None:
            sd = x.std(0)
            self.centre.copy_(x.mean(0))
            self.spread.copy_(torch.where(sd > 0, sd, torch.ones_like(sd)))

    def standardised(self, x: Tensor, i: int | None = None) -> Tensor:
        """Return (x − centre) / spread of all inputs, or of those that encode feature i."""
        if not self.standardise:
            return x
        k = self.inputs_per_feature
        at = slice(None) if i is None else slice(i * k, (i + 1) * k)
        return (x - self.centre[at]) / self.spread[at]

    def _join(self, x: Tensor, context: Tensor | None) -> Tensor:
        return join(self.standardised(x), context, self.context, self.limit)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters of all features, shape (..., D, P), given x (..., D · inputs)."""
        joined = self._join(x, context)
        if self.net is None:
            return self.constant.expand(*joined.shape[:-1], 1, self.parameters_per_feature)
        return self.net(joined).unflatten(-1, (self.features, self.parameters_per_feature))


class PlainConditioner(nn.Module):
    """Parameters of D features as a function of other features and of the context, a plain network.

    Args:
        inputs: Number of features that are seen.
        features: D, number of features whose parameters are returned.
        parameters: P, parameters a feature.
        context: C.
        hidden: Widths of the hidden layers.
        activation: Constructor of the nonlinearity.
        gain: Factor on the initial weights of the last layer.
        limit: The network sees x clipped to ±limit; None leaves x as it is.
    """

    def __init__(
        self,
        inputs: int,
        features: int,
        parameters: int,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64, 64),
        activation: Callable[[], nn.Module] = nn.ReLU,
        gain: float = 1.0,
        limit: float | None = None,
    ) -> None:
        super().__init__()
        check_sizes(features, parameters, hidden, max(inputs, 1), context)
        self.features, self.parameters_per_feature, self.context = features, parameters, context
        self.limit = limit
        self.net = MLP(inputs + context, features * parameters, hidden, activation=activation)
        _shrink(self.net[-1], gain)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters, shape (..., D, P), given x (..., inputs)."""
        return self.net(join(x, context, self.context, self.limit)).unflatten(
            -1, (self.features, self.parameters_per_feature)
        )
