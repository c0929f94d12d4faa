"""A causal Transformer: parameters of every conditional p(x_t | x_<t, c) in one pass, or one position at a time.

    h_t = embed(x_{t−1}) + C c,    h ← h + attention(norm(h)),    h ← h + mlp(norm(h)),    φ_t = head(norm(h_t))

Notation: T positions, W width, φ_t the P parameters of conditional t. The first position sees a learned start in place
of a token, so φ_0 depends on the context alone. Attention is pre-norm, with ``scaled_dot_product_attention``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.kv_cache import KeyValueCache

POSITIONS = ("rotary", "learned")


def rotations(length: int, size: int, base: float = 10_000.0) -> Tensor:
    """Return cos and sin of t · base^(−2i/size), shape (2, length, 1, size/2), for heads of even ``size``."""
    rate = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.outer(torch.arange(length, dtype=torch.float64), rate)[:, None]
    return torch.stack((angle.cos(), angle.sin())).to(torch.get_default_dtype())


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate the pairs (x_i, x_{i+d/2}) of every head, x (N, t, heads, d), by the angles of its positions.

    References:
        Su et al., RoFormer: enhanced transformer with rotary position embedding, 2021.
    """
    a, b = x.chunk(2, dim=-1)
    cos, sin = rotation[0], rotation[1]
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Block(nn.Module):
    """One pre-norm layer: h + attention(norm(h)), then h + mlp(norm(h)).

    Args:
        width: W.
        heads: Number of heads, a divisor of W.
        hidden: Width of the inner layer of the MLP.
        dropout: Probability of dropping a number of either branch.
        gain: Factor on the initial weights of the layers that write into the residual stream.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, gain: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(
            width, elementwise_affine=False
        )  # without parameters, so one serves both branches
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            for layer in (self.mix, self.down):
                layer.weight.mul_(gain)

    def project(self, h: Tensor, rotation: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of h (N, t, W), each (N, heads, t, W/heads)."""
        q, k, v = self.qkv(self.norm(h)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def forward(
        self, h: Tensor, rotation: Tensor | None, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Tensor:
        """Return the next h (N, t, W); with a cache the t positions follow those already in it."""
        q, k, v = self.project(h, rotation)
        if cache is not None:
            k, v = cache.append(layer, k, v)
        # one new position sees everything; several see themselves and what is before, from an empty cache
        read = F.scaled_dot_product_attention(q, k, v, is_causal=h.shape[1] > 1)
        h = h + self.dropout(self.mix(read.transpose(1, 2).flatten(-2)))
        return h + self.dropout(self.down(F.relu(self.up(self.norm(h))).square()))


class CausalTransformer(nn.Module):
    """φ_t as a function of x_0 … x_{t−1} and of the context, for all t.

    Args:
        length: T.
        parameters: P, parameters of one conditional.
        classes: Number of classes of a token, which are then embedded; None for numbers.
        inputs: Numbers that encode one x_t, where it is no token.
        context: C.
        width: W.
        layers: Number of layers.
        heads: Heads of each attention.
        positions: ``"rotary"`` or ``"learned"``.
        dropout: Probability of dropping numbers of each branch while training.

    Raises:
        ArgumentError: A size below one, a width that the heads do not divide into even parts, or another word.

    References:
        Vaswani et al., Attention is all you need, NeurIPS 2017; Radford et al., GPT-2, 2019.

    Example:
        >>> CausalTransformer(5, 3, classes=3, width=8, heads=2)(torch.zeros(7, 5, dtype=torch.long)).shape
        torch.Size([7, 5, 3])
    """

    rotation: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        length: int,
        parameters: int,
        *,
        classes: int | None = None,
        inputs: int = 1,
        context: int = 0,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        positions: str = "rotary",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(length, parameters, width, layers, heads, positions, dropout)
        self.length, self.parameters_per_feature, self.classes = length, parameters, classes
        self.order = tuple(range(length))
        self.inputs_per_feature = inputs
        self.start = nn.Parameter(torch.zeros(width))
        self.embedding = nn.Linear(inputs, width) if classes is None else nn.Embedding(classes, width)
        self.context = nn.Linear(context, width, bias=False) if context else None
        self.place = nn.Parameter(0.02 * torch.randn(length, width)) if positions == "learned" else None
        self.blocks = nn.ModuleList(
            Block(width, heads, 4 * width, dropout, (2 * layers) ** -0.5) for _ in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.norm, self.head = nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, parameters)
        self.register_buffer("rotation", rotations(length, width // heads), persistent=False)
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()

    @torch.no_grad()
    def start_at(self, phi: Tensor, x: Tensor | None = None) -> None:
        """Let the outputs start near φ (P), and optionally standardise the inputs as those of x (M, inputs)."""
        self.head.bias.copy_(phi)
        if x is not None:
            sd = x.std(0)
            self.centre.copy_(x.mean(0))
            self.spread.copy_(torch.where(sd > 0, sd, torch.ones_like(sd)))

    def _embed(self, x: Tensor, context: Tensor | None, first: int) -> Tensor:
        """Return h (N, t, W) of positions first … first + t − 1, where x[:, i] is what stands before each."""
        h = self.embedding(x if self.classes is not None else (x - self.centre) / self.spread)
        if first == 0:
            h = torch.cat((self.start.expand(h.shape[0], 1, -1), h), 1)
        if context is not None and self.context is not None:
            h = h + self.context(context)[:, None]
        if self.place is not None:
            h = h + self.place[first : first + h.shape[1]]
        return self.dropout(h)

    def _run(self, h: Tensor, first: int, cache: KeyValueCache | None) -> Tensor:
        rotation = self.rotation[:, first : first + h.shape[1]] if self.place is None else None
        for layer, block in enumerate(self.blocks):
            h = block(h, rotation, cache, layer)
        return h

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return φ (N, T, P) given x (N, T) of tokens or (N, T, inputs) of numbers, and c (N, C)."""
        h = self._run(self._embed(x[:, :-1], context, 0), 0, None)
        return self.head(self.norm(h))

    def steps(self, context: Tensor | None = None, *, cache: bool = True) -> TransformerSteps:
        """Return the conditionals one position at a time, with or without a cache of keys and values."""
        return TransformerSteps(self, context, cache)


class TransformerSteps:
    """φ_t from x_0 … x_{t−1}, position after position: the positions of the first call in one pass, then one each.

    Without a cache every call repeats all of it, pass for pass, so that both ways give the same bits.

    Args:
        net: The network.
        context: c (N, C), or None.
        cache: Keep keys and values between calls: a call then costs one position, O(W² + t W), else t of them.
    """

    def __init__(self, net: CausalTransformer, context: Tensor | None, cache: bool) -> None:
        self.net, self.context, self.cached = net, context, cache
        self.known: int | None = None
        self._cache = KeyValueCache(len(net.blocks), net.length)

    def __call__(self, x: Tensor, t: int) -> Tensor:
        """Return φ_t (N, P) given x (N, T) of tokens or (N, T, inputs) of numbers, of which the first t are read."""
        first = self.known if self.known is not None else t
        if not self.cached:
            self.known, self._cache = first, KeyValueCache(len(self.net.blocks), self.net.length)
        elif self.known is None:
            self.known = first
        phi = None
        for end in range(max(self._cache.length, first), t + 1):
            phi = self._extend(x[:, :end])
        if phi is None:
            raise ArgumentError(site="t", got=t, expected=f"≥ {self._cache.length}, positions in their order")
        return phi

    def _extend(self, x: Tensor) -> Tensor:
        """Return φ_t, t = x.shape[1], and store keys and values: of all t + 1 positions if there are none yet."""
        net, cache, t = self.net, self._cache, x.shape[1]
        new = x if cache.length == 0 else x[:, -1:]
        h = net._run(net._embed(new, self.context, cache.length), cache.length, cache)
        cache.length = t + 1
        return net.head(net.norm(h[:, -1]))

    def select(self, rows: Tensor) -> None:
        """Keep the given rows of the batch, in the given order."""
        self._cache.select(rows)
        self.context = None if self.context is None else self.context[rows]


def _check(
    length: int, parameters: int, width: int, layers: int, heads: int, positions: str, dropout: float
) -> None:
    if min(length, parameters, width, layers, heads) < 1 or not 0 <= dropout < 1:
        raise ArgumentError(
            site="length, parameters, width, layers, heads, dropout",
            got=(length, parameters, width, layers, heads, dropout),
            expected="sizes ≥ 1 and 0 ≤ dropout < 1",
        )
    if width % (2 * heads):
        raise ArgumentError(
            site="width", got=width, expected=f"a multiple of {2 * heads}, an even part for each head"
        )
    if positions not in POSITIONS:
        raise ArgumentError(site="positions", got=repr(positions), expected=f"one of {POSITIONS}")
