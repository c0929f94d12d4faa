"""What samplers that correct a program by a critic share: proposals, and the log ratio of data to program there."""

from __future__ import annotations

import torch
from torch import Tensor

from unigen.errors import ArgumentError, NonFiniteError
from unigen.nn.critic import Critic
from unigen.program import Program
from unigen.queries import ancestral


def check_critic(sampler: str, critic: object) -> Critic:
    """Return the critic, or refuse what is none, or one that determines no density ratio.

    Raises:
        ArgumentError: It is no ``Critic``.
        UnsupportedQueryError: It was trained in a game whose optimum is no function of the ratio.
    """
    if not isinstance(critic, Critic):
        raise ArgumentError(
            program=sampler, site="critic", got=type(critic).__name__, expected="a trained Critic",
            hint="keep the one given to Adversarial(critic=…)",
        )  # fmt: skip
    critic.need_ratio()
    return critic


def propose(program: Program, critic: Critic, n: int, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return n draws of the program, and log p/q there, shape (n,).

    Raises:
        NonFiniteError: The critic gives NaN or +∞.
    """
    with torch.no_grad():
        x = ancestral(program, n, context)
        log_ratio = critic.log_ratio(x, context)
    if bool(log_ratio.isnan().any()) or bool(log_ratio.isposinf().any()):
        raise NonFiniteError(
            program=program.name, site="log_ratio", got="NaN or infinity", expected="log p/q"
        )
    return x, log_ratio
