"""A store of persistent Markov chains, each with the context it belongs to, moved with the module that holds it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError


class ReplayBuffer(nn.Module):
    """M chains x (M, *event) with their contexts (M, C), and whether they have started from data.

    The chains are buffers: saved with the module, moved to its device, and written in place, so that a compiled step
    carries them on.

    Args:
        chains: M.
        event_shape: Shape of one state.
        context: C, features of the context; 0 for none.

    Example:
        >>> buffer = ReplayBuffer(8, (2,))
        >>> buffer.take(torch.ones(3, 2))[0].shape
        torch.Size([8, 2])
    """

    x: Tensor
    context: Tensor
    started: Tensor

    def __init__(self, chains: int, event_shape: torch.Size | tuple[int, ...], context: int = 0) -> None:
        super().__init__()
        if isinstance(chains, bool) or not isinstance(chains, int) or chains < 1:
            raise ArgumentError(
                program="ReplayBuffer", site="chains", got=chains, expected="a positive integer"
            )
        self.register_buffer("x", torch.randn(chains, *event_shape))
        self.register_buffer("context", torch.zeros(chains, context))
        self.register_buffer("started", torch.zeros(1))

    @torch.no_grad()
    def take(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the chains and their contexts; at the first call they start from the rows of x, repeated.

        Args:
            x: Data, shape (N, *event).
            context: Their contexts, shape (N, C), or None.
        """
        rows = torch.arange(self.x.shape[0], device=x.device) % x.shape[0]
        on = self.started > 0
        chains = torch.where(on.reshape(-1, *(1,) * (x.dim() - 1)), self.x, x[rows])
        if context is not None:
            self.context.copy_(torch.where(on.unsqueeze(1), self.context, context[rows]))
        self.x.copy_(chains)
        self.started.fill_(1.0)
        return chains, self.context if self.context.shape[1] else None

    @torch.no_grad()
    def put(self, x: Tensor) -> None:
        """Write the new states of all chains, shape (M, *event)."""
        self.x.copy_(x)

    @torch.no_grad()
    def pick(self, n: int, context: Tensor | None = None) -> Tensor:
        """Return n states: random chains, or for a context (n, C) those whose context is nearest.

        Returns:
            Shape (n, *event); without repetition within each run of M draws.
        """
        m, device = self.x.shape[0], self.x.device
        if context is None:
            rounds = [torch.randperm(m, device=device) for _ in range(-(-n // m))]
            return self.x[torch.cat(rounds)[:n]]
        distance = torch.cdist(context, self.context) + 1e-6 * torch.rand(
            n, m, device=device
        )  # ties at random
        return self.x[distance.argmin(1)]
