"""Importance resampling: of several draws of a program keep one, chosen with a probability proportional to p/q.

    x_1 … x_K ~ q,    x = x_k with probability  w_k / Σ_j w_j,    w = p/q = exp(critic.log_ratio)

The draws tend to p as K grows; for a bounded ratio the bias is of order 1/K.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.nn.critic import Critic
from unigen.program import Program
from unigen.samplers.critic_weights import check_critic, propose
from unigen.samplers.sampler import Sampler


@final
class ImportanceResampling(Sampler):
    """Reweight a program by a trained critic, each draw chosen among proposals of its own.

    Args:
        critic: A ``Critic`` after a game that determines p/q.
        proposals: K, proposals for each draw.

    Raises:
        ArgumentError: K < 1, or no critic.
        UnsupportedQueryError: The critic determines no ratio.

    References:
        Rubin 1988; Turner et al., Metropolis-Hastings generative adversarial networks, 2019.

    Example:
        >>> from unigen.models.gan import GAN
        >>> critic = Critic(2).read_as("log ratio")
        >>> GAN(2, 2).sample(5, sampler=ImportanceResampling(critic)).shape
        torch.Size([5, 2])
    """

    def __init__(self, critic: Critic, proposals: int = 64) -> None:
        if isinstance(proposals, bool) or not isinstance(proposals, int) or proposals < 1:
            raise ArgumentError(
                program="ImportanceResampling", site="proposals", got=proposals, expected="a positive integer"
            )
        self.critic, self.proposals = check_critic("ImportanceResampling", critic), proposals

    def draw(self, program: Program, n: int, context: Tensor | None = None) -> Tensor:
        """Return n resampled draws, shape (n, *event_shape); they are independent of one another."""
        k = self.proposals
        c = None if context is None else context.repeat_interleave(k, 0)
        x, log_ratio = propose(program, self.critic, n * k, c)
        chosen = torch.distributions.Categorical(logits=log_ratio.reshape(n, k)).sample()
        return x.reshape(n, k, *program.event_shape)[torch.arange(n, device=x.device), chosen]
