"""Discriminator rejection sampling: accept a program's draws with a probability proportional to the density ratio.

    accept x ~ q with probability  sigmoid(F̂(x)),   F̂ = l − M − log(1 − exp(l − M − eps)) − gamma,   l = log p(x)/q(x)

M is the largest l met so far. With gamma = 0 and eps → 0 the probability is exp(l − M): draws then are draws of
p as far as the critic's ratio is right and M bounds it.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.nn.critic import Critic
from unigen.program import Program
from unigen.samplers.critic_weights import check_critic, propose
from unigen.samplers.sampler import Sampler

EPS = 1e-6
BATCH = 1024  # proposals at a time, at least


@final
class Rejection(Sampler):
    """Draw from a program until a trained critic accepts.

    Args:
        critic: A ``Critic`` after a game that determines p/q (logistic, least squares, most f-divergences).
        burn_in: Draws from which M is taken first; it rises when a larger ratio is met later.
        gamma: Shift of the acceptance's logit: negative accepts more and corrects less.
        tries: Proposals for each draw asked for, at most.

    Raises:
        ArgumentError: A setting out of its range, or no critic.
        UnsupportedQueryError: The critic determines no ratio.

    References:
        Azadi et al., Discriminator rejection sampling, 2019.

    Example:
        >>> from unigen.models.gan import GAN
        >>> critic = Critic(2).read_as("log ratio")
        >>> GAN(2, 2).sample(5, sampler=Rejection(critic)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, critic: Critic, burn_in: int = 10_000, *, gamma: float = 0.0, tries: int = 1000
    ) -> None:
        for name, value in (("burn_in", burn_in), ("tries", tries)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(program="Rejection", site=name, got=value, expected="a positive integer")
        if not abs(gamma) < float("inf"):
            raise ArgumentError(program="Rejection", site="gamma", got=gamma, expected="a finite number")
        self.critic = check_critic("Rejection", critic)
        self.burn_in, self.gamma, self.tries = burn_in, gamma, tries

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n accepted draws, shape (n, *event_shape).

        Raises:
            UnsupportedQueryError: Too few proposals are accepted.
        """
        rows = torch.arange(self.burn_in, device=program.device) % n
        _, log_ratio = propose(program, self.critic, self.burn_in, None if context is None else context[rows])
        largest = log_ratio.max()
        kept: Tensor | None = None
        pending = torch.arange(n, device=program.device)
        for _ in range(self.tries):
            repeats = -(-BATCH // pending.shape[0])
            rows = pending.repeat(repeats)
            x, log_ratio = propose(
                program, self.critic, rows.shape[0], None if context is None else context[rows]
            )
            largest = torch.maximum(largest, log_ratio.max())
            accepted = torch.rand_like(log_ratio) < self.probability(log_ratio, largest)
            first = accepted.reshape(repeats, -1).to(torch.int8).argmax(0)  # of the proposals for each row
            kept = x.new_empty(n, *program.event_shape) if kept is None else kept
            done = accepted.reshape(repeats, -1).any(0)
            kept[pending[done]] = x.reshape(repeats, -1, *program.event_shape)[
                first[done], done.nonzero().squeeze(1)
            ]
            pending = pending[~done]
            if pending.shape[0] == 0:
                return kept
        raise UnsupportedQueryError(
            f"after {self.tries} rounds {pending.shape[0]} of {n} draws are still rejected",
            program=program.name,
            hint="gamma=-2 accepts more, or LatentLangevin(critic)",
        )

    def probability(self, log_ratio: Tensor, largest: Tensor) -> Tensor:
        """Return the probability of acceptance, shape (N,), from l and M."""
        d = (log_ratio - largest).clamp_max(0.0)
        logit = d - torch.log1p(-torch.exp(d - EPS)) - self.gamma
        return torch.sigmoid(logit)
