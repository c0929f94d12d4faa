"""The gradient of a bound through draws that carry none (a discrete z).

∇ E_q[f(z)] = E_q[∇f(z) + (f(z) − b) ∇log q(z)],    b independent of z: the baseline, of mean effect zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def score_term(reward: Tensor, scores: Tensor | None, baseline: Tensor | None = None) -> Tensor:
    """Return a term of value zero whose gradient is (f − b) ∇log q.

    Args:
        reward: f, shape (K, N) or (1, N).
        scores: log q of the draws without a gradient, shape (K, N), or None: all carry one.
        baseline: b, broadcast to (K, N), each entry independent of the draw of its own; none if omitted.

    Returns:
        Zeros of shape (K, N), or () without scores.

    References:
        Williams, Simple statistical gradient-following algorithms, 1992.
    """
    if scores is None:
        return reward.new_zeros(())
    f = reward.detach()
    term = (f if baseline is None else f - baseline.detach()) * scores
    return term - term.detach()


def leave_one_out(reward: Tensor) -> Tensor:
    """Return the mean reward of the other draws of the same example, or of the other examples if there is one draw.

    Args:
        reward: f, shape (K, N).

    Returns:
        Shape (K, N); 0 for a single draw of a single example.

    References:
        Kool, van Hoof & Welling, Buy 4 REINFORCE samples, get a baseline for free!, 2019.
    """
    f = reward.detach()
    dim = 0 if f.shape[0] > 1 else 1
    others = f.shape[dim] - 1
    return (f.sum(dim, keepdim=True) - f) / (others + 1e-12)


def leave_one_out_bound(log_w: Tensor) -> Tensor:
    """Return the multi-sample bound with each weight in turn replaced by the geometric mean of the others.

    b_k = log 1/K (exp(1/(K−1) Σ_{l≠k} log w_l) + Σ_{l≠k} w_l)

    Args:
        log_w: Shape (K, N), K ≥ 2.

    Returns:
        Shape (K, N).

    References:
        Mnih & Rezende, Variational inference for Monte Carlo objectives, 2016 (VIMCO).
    """
    f = log_w.detach()
    k = f.shape[0]
    means = (f.sum(0, keepdim=True) - f) / (k - 1)
    own = torch.eye(k, dtype=torch.bool, device=f.device)[:, :, None]
    replaced = torch.where(own, means[:, None], f[None])  # (left out, particle, N)
    return torch.logsumexp(replaced, 1) - math.log(k)
