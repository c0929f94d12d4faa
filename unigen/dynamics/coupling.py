"""Couplings: which noise is joined with which datum of a batch.

Any joint law of data and noise with the right marginals gives a flow from one to the other. Optimal transport within
a batch shortens and straightens the paths, and lowers the variance of the regression target.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import Any, final

import torch
from torch import Tensor

from unigen.errors import ArgumentError, UnsupportedQueryError


class Coupling(ABC):
    """Joins every datum of a batch with a noise."""

    independent: bool = False  # noise is independent of the datum, so that the velocity gives the score

    @abstractmethod
    def pair(self, u: Tensor, eps: Tensor) -> Tensor:
        """Rearrange noise.

        Args:
            u: Data, (N, *event).
            eps: Independent draws of the base, (N, *event).

        Returns:
            The noise of each datum, (N, *event).
        """

    def check_context(self, features: int) -> None:  # noqa: B027  (most couplings serve every model)
        """Refuse a conditional model with so many features of context, where the coupling does not serve it."""

    def __repr__(self) -> str:
        """The call that builds it."""
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self).items())
        return f"{type(self).__name__}({options})"


@final
class Independent(Coupling):
    """Noise as it was drawn."""

    independent = True

    def pair(self, u: Tensor, eps: Tensor) -> Tensor:
        """The noise itself."""
        return eps


@final
class MinibatchOT(Coupling):
    """The optimal transport, in squared distance, between the data and the noise of a batch, by POT.

    Without regularisation every datum gets its noise of the best one-to-one assignment. With it, the noise of each
    datum is drawn from its row of the entropic plan min_P ⟨P, C⟩ − reg · max(C) H(P), so that one noise may be used
    twice. Either way the noise of a random datum keeps the law of the base.

    The plan is computed on the CPU by one opaque operation, which a compiled training step calls like any other.

    Args:
        reg: Weight of the entropy relative to the largest cost of the batch, or None for the exact assignment.

    Raises:
        ArgumentError: The weight is not positive.

    References:
        Tong et al., Improving and generalizing flow-based generative models with minibatch optimal transport, 2024;
        Pooladian et al., Multisample flow matching, 2023.

    Example:
        >>> u, eps = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.9], [0.1], [0.8]])
        >>> MinibatchOT().pair(u, eps).flatten()
        tensor([0.1000, 0.8000, 1.9000])
    """

    def __init__(self, reg: float | None = None) -> None:
        if reg is not None and not 0.0 < reg < float("inf"):
            raise ArgumentError(
                program="MinibatchOT", site="reg", got=reg, expected="a positive number, or None"
            )
        self.reg = reg

    def check_context(self, features: int) -> None:
        """Refuse any context: a plan across contexts leaves each with noise of another law than the base.

        Raises:
            ArgumentError: There is one.
        """
        if features > 0:
            raise ArgumentError(
                "transport within a batch of different contexts makes the noise depend on the context",
                program="MinibatchOT", site="context", got=features, expected="0", hint="coupling=Independent()",
            )  # fmt: skip

    def pair(self, u: Tensor, eps: Tensor) -> Tensor:
        """The noise of the assignment, or draws from the rows of the entropic plan."""
        a, b = u.detach().flatten(1), eps.flatten(1)
        cost = (a.square().sum(1)[:, None] + b.square().sum(1) - 2.0 * a @ b.T).clamp_min(0.0)
        if self.reg is None:
            return eps[assignment(cost)]
        plan = entropic_plan(cost, self.reg)
        gumbel = -torch.log(-torch.log(torch.rand_like(plan).clamp_min(torch.finfo(plan.dtype).tiny)))
        return eps[(torch.log(plan) + gumbel).argmax(1)]


@final
class Rectified(Coupling):
    """Pairs of noise and draw of another flow, made once by ``reflow``; a batch of data has none."""

    def pair(self, u: Tensor, eps: Tensor) -> Tensor:
        """Refuse.

        Raises:
            UnsupportedQueryError: Always.
        """
        raise UnsupportedQueryError(
            "a rectified flow is trained on the pairs of another flow, not on data",
            hint="ug.reflow(program, n) once more, or coupling=Independent()",
        )


def _pot() -> Any:
    """POT, imported without a change to Python's random numbers, which its own imports draw from."""
    state = random.getstate()
    import ot

    random.setstate(state)
    return ot


@torch.library.custom_op("unigen::assignment", mutates_args=())
def assignment(cost: Tensor) -> Tensor:
    """Columns of the optimal one-to-one assignment of rows, (N,), for a cost (N, N)."""
    ot = _pot()
    uniform = torch.full((cost.shape[0],), 1.0 / cost.shape[0], dtype=torch.float64).numpy()
    plan = ot.emd(uniform, uniform, cost.detach().double().cpu().numpy())
    return torch.from_numpy(plan).argmax(1).to(cost.device)


@assignment.register_fake
def _(cost: Tensor) -> Tensor:
    return cost.new_empty(cost.shape[0], dtype=torch.int64)


@torch.library.custom_op("unigen::entropic_plan", mutates_args=())
def entropic_plan(cost: Tensor, reg: float) -> Tensor:
    """Entropic transport plan (N, N) between uniform rows and columns; reg is relative to the largest cost.

    Sinkhorn's method in the log domain, 1000 iterations or a marginal error of 1e-6; a row left empty cannot occur.
    """
    ot, n = _pot(), cost.shape[0]
    uniform = torch.full((n,), 1.0 / n, dtype=torch.float64).numpy()
    scaled = (cost.detach().double() / cost.max().clamp_min(torch.finfo(cost.dtype).tiny)).cpu().numpy()
    plan = ot.sinkhorn(
        uniform, uniform, scaled, reg, method="sinkhorn_log", numItermax=1000, stopThr=1e-6, warn=False
    )
    return torch.as_tensor(plan).to(cost)


@entropic_plan.register_fake
def _(cost: Tensor, reg: float) -> Tensor:
    return torch.empty_like(cost)
