"""The handling of poutine traces: isolation, per-example log weights, ancestral draws.

Notation: a model has an observed site x and latent sites z; ``local`` sites stand inside the data plate
(one value an example, plate dim −1), ``shared`` sites outside it. For K particles and N examples the log
importance weight of example i in particle k is

    log w_ki = log p(x_i, z_ki) − log q(z_ki | x_i),        z_ki ~ q,

and the shared sites add log p(θ_k) − log q(θ_k). Pyro keeps one global handler stack: everything here runs
isolated from handlers of the caller, and holds a lock, so that threads cannot mix their traces.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK
from torch import Tensor
from torch.distributions import kl_divergence

from unigen.errors import SiteError
from unigen.logprob import Kind

Node = Any  # one site of a poutine trace
PyroFunction = Callable[..., object]

_LOCK = threading.RLock()
DATA = "data"  # name of the plate over examples


class _Isolated(Messenger):
    """Marks that unigen itself is tracing: programs register no parameters and do not rescale minibatches."""

    def _pyro_param(self, msg: Node) -> None:
        if len(msg["args"]) > 1 and isinstance(msg["args"][1], torch.nn.Parameter):
            msg["value"], msg["done"] = msg["args"][1], True


class Cheap(Messenger):
    """Gives sites whose draws cost a simulation a placeholder, where only the structure matters."""

    def _pyro_sample(self, msg: Node) -> None:
        fn = msg["fn"]
        if msg["value"] is None and getattr(base_of(fn), "costly", False):
            msg["value"], msg["done"] = torch.zeros(fn.shape()), True


@contextmanager
def isolated() -> Iterator[None]:
    """Run Pyro code untouched by the caller's handlers, and without registering parameters in Pyro's store.

    Handlers of the caller are set aside, and so are the plate dimensions they hold: a program may be drawn
    from inside the plate of another.
    """
    with _LOCK:
        stack, dims = _PYRO_STACK[:], _DIM_ALLOCATOR._stack
        _PYRO_STACK[:], _DIM_ALLOCATOR._stack = [], []
        try:
            with _Isolated():
                yield
        finally:
            _PYRO_STACK[:], _DIM_ALLOCATOR._stack = stack, dims


def tracing() -> bool:
    """Return whether unigen itself (not a handler of the user's) is running the current program."""
    return any(isinstance(frame, _Isolated) for frame in _PYRO_STACK)


def base_of(fn: Any) -> Any:
    """Return the distribution inside Independent, Expanded and Masked wrappers."""
    while hasattr(fn, "base_dist") and not hasattr(fn, "kind"):
        fn = fn.base_dist
    return fn


def kind_of(fn: Any) -> Kind:
    """Return the kind of a distribution's ``log_prob``: exact unless the distribution says otherwise."""
    return getattr(base_of(fn), "kind", Kind.EXACT)


def sample_nodes(trace: poutine.Trace) -> dict[str, Node]:
    """Return the sample sites of a trace by name, Pyro's own subsampling sites left out."""
    return {
        name: node
        for name, node in trace.nodes.items()
        if node["type"] == "sample" and type(node["fn"]).__name__ != "_Subsample"
    }


def record(function: PyroFunction) -> poutine.Trace:
    """Run a Pyro function and return its trace; unlike ``get_trace`` it lets errors pass as they are."""
    with poutine.trace() as messenger:
        function()
    return messenger.trace


def check_plates(node: Node, shape: torch.Size) -> None:
    """Compare the batch shape of a site's distribution or log density with the plates it stands in.

    Raises:
        SiteError: A dimension belongs to no plate, as where ``.to_event(1)`` was forgotten.
    """
    dims = {frame.dim for frame in node["cond_indep_stack"]}
    if any(dim not in dims and shape[dim] != 1 for dim in range(-len(shape), 0)):
        raise SiteError(
            site=node["name"],
            got=f"batch shape {tuple(shape)}",
            expected=f"only dimensions of its plates, {sorted(d for d in dims if d is not None)}",
            hint="declare the rightmost dimensions with .to_event(1); keep those of plates when indexing, z[..., :1]",
        )


def is_local(node: Node) -> bool:
    """Return whether a site stands inside the data plate."""
    return any(frame.name == DATA for frame in node["cond_indep_stack"])


@dataclass(frozen=True)
class LogWeights:
    """Log importance weights of one minibatch.

    Args:
        local: log w_ki from sites inside the data plate, shape (K, N), minibatch scaling left out.
        shared: Terms from sites outside it, shape (K,).
        kind: Kind of log w itself (exact unless a part's density is a bound or unnormalised).
        shared_latents: Whether a shared site is random, which couples all examples of a particle.
        parts: Contribution of each site, shape (K, N) or (K,).
        scores: log q_ki summed over the sites of the guide whose draws carry no gradient, shape (K, N), or None if
            all do; see objectives.score_function.
    """

    local: Tensor
    shared: Tensor
    kind: Kind
    shared_latents: bool
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    scores: Tensor | None = None


def _reduce(logp: Tensor, node: Node, particles: int, nesting: int) -> tuple[Tensor, bool]:
    """Scale and mask one site's log density, and sum it to (K, N) if local, to (K,) if shared."""
    check_plates(node, logp.shape)
    local = is_local(node)
    scale = node["scale"]
    for frame in node["cond_indep_stack"]:
        if frame.name == DATA and frame.full_size is not None and frame.full_size != frame.size:
            scale = scale * frame.size / frame.full_size  # per example: undo the minibatch scaling
    logp = scale_and_mask(logp, scale, node["mask"])
    if particles > 1 and logp.dim() <= nesting:
        logp = logp.expand((particles,) + (1,) * (nesting - logp.dim()) + tuple(logp.shape))
    if particles == 1:
        logp = logp.unsqueeze(0)
    if local:
        return (logp if logp.dim() == 2 else logp.flatten(1, -2).sum(1)), True
    return logp.reshape(logp.shape[0], -1).sum(1), False


def _site_terms(
    model: poutine.Trace, guide: poutine.Trace | None, analytic: bool, surrogate: bool
) -> Iterator[tuple[str, Node, Tensor, Kind]]:
    """Yield (name, node, contribution to log w, kind) for every site of the model, then of the guide alone."""
    p, q = sample_nodes(model), {} if guide is None else sample_nodes(guide)
    for name, node in p.items():
        if not node["is_observed"] and name not in q:
            raise SiteError(
                "the site is neither observed nor in the guide",
                site=name,
                hint="pass obs=x at the model's site x, and name the guide's sites as the model's",
            )
    order = [name for name in p if name in q]
    analytic = analytic and order == [name for name in q if name in p]
    for name, node in p.items():
        fn, partner = node["fn"], q.pop(name, None)
        if partner is not None and analytic:
            try:
                yield name, node, -kl_divergence(partner["fn"], fn), Kind.EXACT
                continue
            except NotImplementedError:
                pass
        stand_in = getattr(fn, "surrogate", None) if surrogate else None  # not of a part inside a wrapper
        score = fn.log_prob if stand_in is None else stand_in
        yield name, node, score(node["value"]), kind_of(fn)
        if partner is not None:
            yield name, partner, -partner["fn"].log_prob(partner["value"]), -kind_of(partner["fn"])
    for name, node in q.items():  # auxiliary sites of the guide
        yield name, node, -node["fn"].log_prob(node["value"]), -kind_of(node["fn"])


def _scores(guide: poutine.Trace, samples: int, nesting: int) -> Tensor | None:
    """Return Σ log q over latent sites without a pathwise gradient (K, N), or None if there is none.

    Raises:
        SiteError: Such a site stands outside the plate.
    """
    terms = []
    for name, node in sample_nodes(guide).items():
        fn = node["fn"]
        if node["is_observed"] or fn.has_rsample:
            continue
        logp = fn.log_prob(node["value"])
        if not logp.requires_grad:
            continue
        term, inside = _reduce(logp, node, samples, nesting)
        if not inside:
            raise SiteError(
                "a latent outside the plate whose draws carry no gradient cannot be trained",
                site=name,
                hint="a continuous guide, or sum the site out",
            )
        terms.append(term)
    return torch.stack(torch.broadcast_tensors(*terms)).sum(0) if terms else None


def log_weights(
    model: PyroFunction,
    guide: PyroFunction | None,
    *,
    samples: int = 1,
    nesting: int = 1,
    analytic: bool = False,
    surrogate: bool = False,
) -> LogWeights:
    """Run guide and model on one minibatch and return its log importance weights.

    Args:
        model: Pyro function of no arguments, its observed site bound to the data.
        guide: Likewise, or None if there is nothing latent.
        samples: Number of particles K, drawn in one vectorised pass (a plate outside all others).
        nesting: Largest plate depth of the model.
        analytic: Use −KL(q‖p) at sites where torch knows it (same site order in both).
        surrogate: For training: use the stand-in for log p where a part offers one, and return scores.

    Returns:
        LogWeights in nats.

    Raises:
        SiteError: In training, a latent outside the plate whose draws carry no gradient.
    """
    with isolated():
        with pyro.plate("particles", samples, dim=-1 - nesting) if samples > 1 else _Isolated():
            q = None if guide is None else record(guide)
            replayed = model if q is None else poutine.replay(model, trace=q)
            p = record(replayed)
        local: list[Tensor] = []
        shared: list[Tensor] = []
        parts: dict[str, Tensor] = {}
        kind = Kind.EXACT
        for name, node, logp, site_kind in _site_terms(p, q, analytic, surrogate):
            term, inside = _reduce(logp, node, samples, nesting)
            (local if inside else shared).append(term)
            parts[name] = parts.get(name, 0.0) + term
            kind = kind + site_kind
        scores = None if q is None or not surrogate else _scores(q, samples, nesting)
    random = q is not None and any(not is_local(node) for node in sample_nodes(q).values())
    total = torch.stack(torch.broadcast_tensors(*local)).sum(0)
    zero = total.new_zeros(samples)
    return LogWeights(total, sum(shared, zero), kind, random, parts, scores)


def draw(model: PyroFunction, values: Mapping[str, Tensor] | None = None) -> dict[str, Node]:
    """Run a model forward, with the sites named in ``values`` fixed, and return its sample sites by name."""
    with isolated():
        fixed = poutine.condition(model, data=dict(values or {}))
        return sample_nodes(record(fixed))


def log_joint(model: PyroFunction, values: Mapping[str, Tensor]) -> Tensor:
    """Return the log density of all sites of a model together, those named in ``values`` fixed, in nats, shape ()."""
    with isolated():
        nodes = sample_nodes(record(poutine.condition(model, data=dict(values)))).values()
        terms = [scale_and_mask(n["fn"].log_prob(n["value"]), n["scale"], n["mask"]).sum() for n in nodes]
    return torch.stack(terms).sum()


def site_log_prob(node: Node) -> Tensor:
    """Return log density of one site at its value, (N,) for a local site, in nats."""
    with isolated():
        return node["fn"].log_prob(node["value"])
