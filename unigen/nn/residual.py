"""A residual MLP with time and context: net(x_t, t, c) of diffusions, scores and velocities on vectors."""

from __future__ import annotations

from torch import Tensor, nn

from unigen.errors import ArgumentError, ShapeError
from unigen.nn.mlp import check_context, check_features
from unigen.nn.time_embedding import TimeEmbedding


def broadcast_time(t: Tensor, x: Tensor) -> Tensor:
    """Expand times to one for each vector of x.

    Args:
        t: Times, shape () or (N,), or anything that expands to the leading dimensions of x.
        x: Shape (..., D).

    Returns:
        Shape (...).

    Raises:
        ShapeError: If t does not expand to x.shape[:-1]; (N, 1) beside (N, D) is refused.
    """
    try:
        return t.expand(x.shape[:-1])
    except RuntimeError as error:
        raise ShapeError(
            site="t",
            got=f"t {tuple(t.shape)} beside x {tuple(x.shape)}",
            expected="t of shape () or x.shape[:-1]",
            hint="t.squeeze(-1) if t has a trailing dimension of length one",
        ) from error


class ResidualBlock(nn.Module):
    """One residual step, modulated by an embedding e of time and context.

    h + W_2 a(W_1 (LN(h)(1 + γ(e)) + β(e)))

    Args:
        hidden: H, width of h.
        embedding: Length of e; 0 for none.
    """

    def __init__(self, hidden: int, embedding: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.modulation = nn.Linear(embedding, 2 * hidden) if embedding else None
        self.body = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, h: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Apply the step.

        Args:
            h: Shape (..., H).
            embedding: e, shape (..., E), or None.

        Returns:
            Shape (..., H).
        """
        inner = self.norm(h)
        if self.modulation is not None and embedding is not None:
            scale, shift = self.modulation(embedding).chunk(2, dim=-1)
            inner = inner * (1 + scale) + shift
        return h + self.body(inner)


class ResidualMLP(nn.Module):
    """Residual MLP net(x_t, t, c) from vectors to vectors, zero at initialisation.

    h_0 = W_in x_t,  h_l = block_l(h_{l-1}, e(t, c)),  net = W_out h_L  with W_out = 0 at first,

    so the linear map W_out W_in x_t is always within reach and scales of x_t are not normalised away.

    Args:
        features: D, length of x_t and of the output.
        hidden: H, width of the residual stream.
        blocks: Number of residual blocks.
        time: Whether the network is given a time t in [0, 1].
        context: C, length of the context; 0 for none.

    References:
        He et al., Deep residual learning, 2016; Perez et al., FiLM, 2018; Peebles & Xie, DiT, 2023.

    Example:
        >>> import torch
        >>> net = ResidualMLP(2, hidden=16, context=3)
        >>> net(torch.randn(5, 2), torch.rand(5), torch.randn(5, 3)).abs().max()
        tensor(0., grad_fn=<MaxBackward1>)
    """

    def __init__(
        self, features: int, hidden: int = 256, blocks: int = 3, *, time: bool = True, context: int = 0
    ) -> None:
        super().__init__()
        if features < 1 or hidden < 1 or blocks < 0 or context < 0:
            raise ArgumentError(
                program="ResidualMLP",
                got=f"features={features}, hidden={hidden}, blocks={blocks}, context={context}",
                expected="features ≥ 1, hidden ≥ 1, blocks ≥ 0, context ≥ 0",
            )
        self.features, self.context, self.time = features, context, time
        embedding = 64 if time or context else 0
        self.embed_time = nn.Sequential(TimeEmbedding(64), nn.Linear(64, 64)) if time else None
        self.embed_context = nn.Linear(context, embedding) if context else None
        self.input = nn.Linear(features, hidden)
        self.blocks = nn.ModuleList(ResidualBlock(hidden, embedding) for _ in range(blocks))
        self.output = nn.Linear(hidden, features)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def embedding(self, x: Tensor, t: Tensor | None, context: Tensor | None) -> Tensor | None:
        """Embed time and context together.

        Args:
            x: Shape (..., D), for its leading dimensions.
            t: Times in [0, 1], shape () or (...), or None.
            context: Shape (..., C), or None.

        Returns:
            e = a(W_t e(t) + W_c c) of shape (..., E), or None without time and context.
        """
        e = None if self.embed_time is None or t is None else self.embed_time(broadcast_time(t, x))
        if self.embed_context is not None and context is not None:
            e = self.embed_context(context) if e is None else e + self.embed_context(context)
        return None if e is None else nn.functional.silu(e)

    def forward(self, x: Tensor, t: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """Apply the network.

        Args:
            x: x_t, shape (..., D).
            t: Times in [0, 1], shape () or (...); None when ``time=False``.
            context: Shape (..., C), broadcast over the leading dimensions of x; None when C = 0.

        Returns:
            Shape (..., D).

        Raises:
            ArgumentError: If t is missing or not wanted.
            ShapeError: If x does not end in D, or t does not meet x.
            ContextError: If the context is missing, unexpected or of the wrong length.
        """
        check_features("ResidualMLP", "x", x, self.features)
        check_context("ResidualMLP", context, self.context)
        if self.time != (t is not None):
            raise ArgumentError(
                program="ResidualMLP",
                site="t",
                got="no t" if t is None else "a t",
                expected="a time for each vector" if self.time else "none (constructed with time=False)",
            )
        h, e = self.input(x), self.embedding(x, t, context)
        for block in self.blocks:
            h = block(h, e)
        return self.output(h)


def denoising_network(
    program: str,
    features: int | tuple[int, ...],
    network: nn.Module | None,
    hidden: int,
    blocks: int,
    context: int,
) -> tuple[tuple[int, ...], nn.Module]:
    """Return the shape of one example and its network: the one given, or a residual perceptron for vectors.

    Args:
        program: Name used in messages.
        features: D, or the shape of one example.
        network: A network of one's own, or None.
        hidden: Width of the residual perceptron.
        blocks: Its number of blocks.
        context: C, features of the context.

    Raises:
        ArgumentError: A size is not positive, or examples that are no vectors come without a network.
    """
    event = (features,) if isinstance(features, int) else tuple(features)
    if any(size < 1 for size in event) or (network is None and len(event) != 1):
        raise ArgumentError(
            program=program, site="features", got=features,
            expected="a positive length, or with a network a shape of positive lengths",
        )  # fmt: skip
    if network is None:
        network = ResidualMLP(event[0], hidden=hidden, blocks=blocks, context=context)
    return event, network
