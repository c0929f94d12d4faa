"""Paths of a finite Markov chain, before and after evidence: the prior and the exact posterior of a hidden path.

    p(z_{1:T}) = exp{ log π(z_1) + Σ_{t>1} log A(z_{t−1}, z_t) + Σ_t ℓ_t(z_t) } / Z

Notation: T steps, K states, π initial and A transition probabilities, ℓ_t(k) the log-evidence of state k at step t.
Without evidence Z = 1; with ℓ_t(k) = log p(x_t | z_t = k) this is p(z | x), and Z = p(x), the forward algorithm's.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.flow import check_value
from unigen.errors import ArgumentError
from unigen.logprob import Kind


class DiscreteChain(TorchDistribution):
    """The distribution of a path z_{1:T} in {0 … K−1}^T, exact in density, draws, marginals and mode.

    Args:
        initial: Logits of π, shape (..., K).
        transition: Logits of the rows of A, shape (..., K, K).
        length: T; taken from the evidence if omitted.
        evidence: ℓ, shape (..., T, K); none for the chain itself.
        validate_args: Check the values given to ``log_prob``; torch's global setting if None.

    Raises:
        ArgumentError: The shapes do not fit one another, or there is neither length nor evidence.

    References:
        Rabiner, A tutorial on hidden Markov models, 1989; Scott, Bayesian methods for hidden Markov models, 2002.

    Example:
        >>> chain = DiscreteChain(torch.zeros(2), torch.zeros(2, 2), length=3)
        >>> round(float(chain.log_prob(torch.tensor([0, 1, 1])).exp()), 4)
        0.125
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    kind = Kind.EXACT

    def __init__(
        self,
        initial: Tensor,
        transition: Tensor,
        length: int | None = None,
        evidence: Tensor | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        k = initial.shape[-1]
        if evidence is not None:
            length = evidence.shape[-2] if length is None else length
        fits = transition.shape[-2:] == (k, k) and (evidence is None or evidence.shape[-2:] == (length, k))
        if length is None or length < 1 or not fits:
            raise ArgumentError(
                program="DiscreteChain",
                got=f"initial {tuple(initial.shape)}, transition {tuple(transition.shape)}, length {length}"
                + ("" if evidence is None else f", evidence {tuple(evidence.shape)}"),
                expected="(..., K), (..., K, K), T ≥ 1 and (..., T, K)",
            )
        self.initial, self.transition = initial.log_softmax(-1), transition.log_softmax(-1)
        self.evidence = evidence
        self.states = k
        batch = torch.broadcast_shapes(
            initial.shape[:-1], transition.shape[:-2], () if evidence is None else evidence.shape[:-2]
        )
        super().__init__(batch, torch.Size((length,)), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """{0 … K−1}^T."""
        return constraints.independent(constraints.integer_interval(0, self.states - 1), 1)

    @property
    def mean(self) -> Tensor:
        """NaN: states are labels; ``mode`` and ``marginals`` say what is likely."""
        return torch.full(self.batch_shape + self.event_shape, torch.nan, device=self.initial.device)

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> DiscreteChain:
        """Return the same chain with another batch shape."""
        shape = torch.Size(batch_shape)
        return DiscreteChain(
            self.initial.expand(*shape, self.states),
            self.transition,
            self.event_shape[0],
            self.evidence,
            validate_args=self._validate_args,
        )

    def _at(self, t: int) -> Tensor | float:
        return 0.0 if self.evidence is None else self.evidence[..., t, :]

    def filtered(self) -> Tensor:
        """Return log of Σ over z_{1:t−1} of the unnormalised weight with z_t = k, shape (*batch, T, K)."""
        shape = (*self.batch_shape, self.states)
        alpha = [(self.initial + self._at(0)).expand(shape)]
        for t in range(1, self.event_shape[0]):
            ahead = torch.logsumexp(alpha[-1][..., :, None] + self.transition, -2)
            alpha.append(ahead + self._at(t))
        return torch.stack(alpha, -2)

    @property
    def log_normaliser(self) -> Tensor:
        """log Z in nats, shape (*batch): log p(x_{1:T}) where the evidence is log p(x_t | z_t)."""
        return torch.logsumexp(self.filtered()[..., -1, :], -1)

    @property
    def marginals(self) -> Tensor:
        """P(z_t = k), shape (*batch, T, K), by the forward–backward algorithm."""
        beta = [
            torch.zeros(*self.batch_shape, self.states, dtype=self.initial.dtype, device=self.initial.device)
        ]
        for t in range(self.event_shape[0] - 1, 0, -1):
            beta.append(torch.logsumexp(self.transition + (beta[-1] + self._at(t))[..., None, :], -1))
        return (self.filtered() + torch.stack(beta[::-1], -2)).softmax(-1)

    @property
    def mode(self) -> Tensor:
        """The most probable path, shape (*batch, T), by the Viterbi algorithm."""
        best = (self.initial + self._at(0)).expand(*self.batch_shape, self.states)
        back = []
        for t in range(1, self.event_shape[0]):
            value, index = (best[..., :, None] + self.transition).max(-2)
            best = value + self._at(t)
            back.append(index)
        path = [best.argmax(-1)]
        for index in back[::-1]:
            path.append(index.gather(-1, path[-1][..., None])[..., 0])
        return torch.stack(path[::-1], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(z) in nats, shape of the broadcast of batch_shape with the batch of z (..., T)."""
        check_value(self, value, "DiscreteChain", real=False)
        hot = torch.nn.functional.one_hot(value.long(), self.states).to(self.initial.dtype)
        start = (hot[..., 0, :] * self.initial).sum(-1)
        moves = ((hot[..., :-1, :] @ self.transition) * hot[..., 1:, :]).sum((-1, -2))
        total = start + moves
        if self.evidence is not None:
            total = total + (hot * self.evidence).sum((-1, -2)) - self.log_normaliser
        return total

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> Tensor:
        """Draw paths by forward filtering and backward sampling, shape (*sample_shape, *batch, T), integers."""
        shape = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            alpha = self.filtered()
            path = [_draw(alpha[..., -1, :].expand(*shape, self.states))]
            for t in range(self.event_shape[0] - 2, -1, -1):
                into = self.transition.mT.expand(*shape, self.states, self.states)
                index = path[-1][..., None, None].expand(*shape, 1, self.states)
                path.append(_draw(alpha[..., t, :] + into.gather(-2, index)[..., 0, :]))
            return torch.stack(path[::-1], -1)


def _draw(logits: Tensor) -> Tensor:
    return torch.distributions.Categorical(logits=logits, validate_args=False).sample()
