"""Muon for the matrices of a network and AdamW for everything else, as one optimiser.

    m ← μ m + (1 − μ) g,   u = (1 − μ) g + μ m,   W ← (1 − η λ) W − η √max(1, rows/columns) orthogonal(u)

orthogonal(u) is near U Vᵀ for u = U S Vᵀ. Matrices are those inside the layers; embeddings, the last layer and vectors
belong to AdamW.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError, ShapeError

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the Newton–Schulz iteration; singular values end in 0.7 … 1.2


def orthogonalised(u: Tensor, steps: int = 5) -> Tensor:
    """Return a matrix with the singular vectors of u and singular values near 1 (those far below the largest less).

    Args:
        u: Matrix, or a batch of them (..., rows, columns).
        steps: Newton–Schulz iterations.
    """
    a, b, c = COEFFICIENTS
    wide = u.shape[-2] <= u.shape[-1]
    x = u if wide else u.mT
    x = x / (x.square().sum((-2, -1), keepdim=True).sqrt() + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Muon for ``matrices``, AdamW for ``others``; learning rates of both follow one schedule.

    Args:
        matrices: Parameters with two dimensions.
        others: All other parameters.
        lr: Learning rate η of the matrices; they move by about η in spectral norm a step.
        lr_others: Learning rate of AdamW.
        momentum: μ.
        weight_decay: λ, of the matrices alone.
        betas: Decay rates of AdamW's averages.
        eps: Added to AdamW's denominator.

    Raises:
        ShapeError: One of ``matrices`` is no matrix.
        ArgumentError: A setting out of range.

    References:
        Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> optimizer = Muon([layer.weight], [layer.bias], lr=0.02)
        >>> layer(torch.ones(1, 3)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        lr: float = 0.02,
        lr_others: float = 3e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
    ) -> None:
        if min(lr, lr_others, weight_decay) < 0 or not all(0 <= v < 1 for v in (momentum, *betas)):
            raise ArgumentError(
                program="Muon",
                got=(lr, lr_others, weight_decay, momentum, betas),
                expected="rates ≥ 0, momentum and betas in [0, 1)",
            )
        matrices = list(matrices)
        for p in matrices:
            if p.dim() != 2:
                raise ShapeError(
                    program="Muon", site="matrices", got=tuple(p.shape), expected="(rows, columns)"
                )
        groups: list[dict[str, Any]] = [
            {"params": matrices, "lr": lr, "orthogonal": True},
            {"params": list(others), "lr": lr_others, "orthogonal": False},
        ]
        defaults = {"momentum": momentum, "weight_decay": weight_decay, "betas": betas, "eps": eps}
        super().__init__([g for g in groups if g["params"]], {"lr": lr, "orthogonal": True, **defaults})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            move = self._matrix if group["orthogonal"] else self._adam
            for p in group["params"]:
                if p.grad is not None:
                    move(p, p.grad, group)
        return loss

    def _matrix(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        state, mu, lr = self.state[p], group["momentum"], group["lr"]
        if not state:
            state["average"] = torch.zeros_like(p)
        m = state["average"]
        m.mul_(mu).add_(g * (1 - mu))
        u = orthogonalised(g * (1 - mu) + m * mu)
        p.mul_(1 - lr * group["weight_decay"])
        p.sub_(u * (lr * max(1.0, p.shape[0] / p.shape[1]) ** 0.5))

    def _adam(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        state, (b1, b2) = self.state[p], group["betas"]
        if not state:
            state.update(step=torch.zeros(()), average=torch.zeros_like(p), square=torch.zeros_like(p))
        state["step"] += 1
        t, m, v = state["step"], state["average"], state["square"]
        m.mul_(b1).add_(g * (1 - b1))
        v.mul_(b2).add_(g.square() * (1 - b2))
        spread = (v / (1 - b2**t)).sqrt() + group["eps"]
        p.sub_((m / (1 - b1**t) / spread * group["lr"]).to(p.dtype))
