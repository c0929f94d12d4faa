"""The gradient of a bound through draws that carry none (a discrete z).

∇ E_q[f(z)] = E_q[∇f(z) + (f(z) − b) ∇log q(z)],    b independent of z: the mean of f over the other draws.
"""

from __future__ import annotations

from torch import Tensor


def score_term(reward: Tensor, scores: Tensor | None) -> Tensor:
    """Return a term of value zero whose gradient is (f − b) ∇log q.

    The baseline of an entry is the mean reward of the other draws of the same example, or of the other examples
    where there is one draw.

    Args:
        reward: f, shape (K, N).
        scores: log q of the draws without a gradient, shape (K, N), or None: all carry one.

    Returns:
        Zeros of shape (K, N), or () without scores.

    References:
        Williams 1992; Mnih & Rezende 2016.
    """
    if scores is None:
        return reward.new_zeros(())
    f = reward.detach()
    dim = 0 if f.shape[0] > 1 else 1
    others = f.shape[dim] - 1
    baseline = (f.sum(dim, keepdim=True) - f) / (others + 1e-12)  # 0 for a single draw of a single example
    term = (f - baseline) * scores
    return term - term.detach()
