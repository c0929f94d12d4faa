"""What stands inside a distribution: the base under its wrappers, and the terms of its single entries.

Notation: a draw of event shape (d_1, …, d_k) has D = Π d_i entries; q and p may factorise over them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from unigen.logprob import Kind


def base_of(fn: Any) -> Any:
    """Return the distribution inside Independent, Expanded and Masked wrappers."""
    while hasattr(fn, "base_dist") and not hasattr(fn, "kind"):
        fn = fn.base_dist
    return fn


def kind_of(fn: Any) -> Kind:
    """Return the kind of a distribution's ``log_prob``: exact unless the distribution says otherwise."""
    return getattr(base_of(fn), "kind", Kind.EXACT)


def log_density(fn: Any, value: Tensor, held: bool = False) -> Tensor:
    """Return log q(value); with ``held`` its gradient is that through the value alone, not through q's parameters."""
    logp = fn.log_prob(value)
    if not held:
        return logp
    direct = fn.log_prob(value.detach())
    return logp - direct + direct.detach()


def _entries(fn: Any) -> tuple[Any, int]:
    """Return the distribution of the entries and how many event dimensions they were."""
    events = 0
    while isinstance(fn, Independent):
        fn, events = fn.base_dist, events + fn.reinterpreted_batch_ndims
    return fn, events


def entry_terms(p: Any, q: Any, value: Tensor, analytic: bool, held: bool = False) -> Tensor | None:
    """Return log p − log q of each entry of a draw, or −KL(q_j ‖ p_j) where torch knows it, or None.

    Args:
        p: The prior of the draw.
        q: What it was drawn from.
        value: The draw, shape (..., *event_shape).
        analytic: Use the divergence where known.
        held: As in ``log_density``, of q.

    Returns:
        Shape (D, ...), entries first; None where p or q does not factorise over the entries.
    """
    (inner_p, events), (inner_q, others) = _entries(p), _entries(q)
    if events != others or inner_p.event_shape or inner_q.event_shape or any(_labelled(f) for f in (p, q)):
        return None
    terms = None
    if analytic:
        try:
            terms = -kl_divergence(inner_q, inner_p)
        except NotImplementedError:
            terms = None
    if terms is None:
        terms = inner_p.log_prob(value) - log_density(inner_q, value, held)
    if events == 0:
        return terms[None]
    size = q.event_shape
    terms = terms.expand(torch.broadcast_shapes(terms.shape, size))
    return terms.flatten(-events).movedim(-1, 0)


def _labelled(fn: Any) -> bool:
    """Whether a program or another part with a density of its own kind stands inside."""
    return hasattr(base_of(fn), "kind") and base_of(fn).kind is not Kind.EXACT
