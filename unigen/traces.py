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

from unigen.distributions.plates import check_plates
from unigen.distributions.wrappers import base_of, entry_terms, kind_of, log_density
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
    """Gives sites whose draws cost a simulation a placeholder of a dtype, where only the structure matters."""

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dtype = dtype

    def _pyro_sample(self, msg: Node) -> None:
        fn = msg["fn"]
        if msg["value"] is None and getattr(base_of(fn), "costly", False):
            msg["value"], msg["done"] = torch.zeros(fn.shape(), dtype=self.dtype), True


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
        entries: log p − log q (or −KL) of each entry of each latent in the plate, shape (D, K, N), if asked for;
            of the site as a whole, (1, K, N), where p or q does not factorise.
        draws: Latent draws as model and log q see them, where the guide is held; see ``log_weights``.
    """

    local: Tensor
    shared: Tensor
    kind: Kind
    shared_latents: bool
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    scores: Tensor | None = None
    entries: Mapping[str, Tensor] = field(default_factory=dict)
    draws: Mapping[str, Tensor] = field(default_factory=dict)


def _reduce(logp: Tensor, node: Node, particles: int, nesting: int) -> tuple[Tensor, bool]:
    """Scale and mask log densities (D, *batch) of one site; sum them to (D, K, N) if local, to (D, K) if shared."""
    check_plates(node, logp.shape[1:])
    local = is_local(node)
    scale = node["scale"]
    for frame in node["cond_indep_stack"]:
        if frame.name == DATA and frame.full_size is not None and frame.full_size != frame.size:
            scale = scale * frame.size / frame.full_size  # per example: undo the minibatch scaling
    logp = scale_and_mask(logp, scale, node["mask"])
    missing = nesting + 1 - (logp.dim() - 1)
    if particles > 1 and missing > 0:
        batch = logp.shape[1:]
        logp = logp.reshape(logp.shape[0], *(1,) * missing, *batch)
        logp = logp.expand(-1, particles, *(1,) * (missing - 1), *batch)
    if particles == 1:
        logp = logp.unsqueeze(1)
    if local:
        return (logp if logp.dim() == 3 else logp.flatten(2, -2).sum(2)), True
    return logp.reshape(*logp.shape[:2], -1).sum(2), False


def _site_terms(
    p: dict[str, Node], q: dict[str, Node], analytic: bool, surrogate: bool, held: bool
) -> Iterator[tuple[str, Node, Tensor, Kind]]:
    """Yield (name, node, contribution to log w, kind) for every site of the model, then of the guide alone."""
    for name, node in p.items():
        if not node["is_observed"] and name not in q:
            raise SiteError(
                "the site is neither observed nor in the guide",
                site=name,
                hint="pass obs=x at the model's site x, and name the guide's sites as the model's",
            )
    for name, node in p.items():
        fn, partner = node["fn"], q.get(name)
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
            yield name, partner, -log_density(partner["fn"], partner["value"], held), -kind_of(partner["fn"])
    for name, node in q.items():  # auxiliary sites of the guide
        if name not in p:
            yield name, node, -log_density(node["fn"], node["value"], held), -kind_of(node["fn"])


def _scores(q: dict[str, Node], samples: int, nesting: int) -> Tensor | None:
    """Return Σ log q over latent sites without a pathwise gradient (K, N), or None if there is none.

    Raises:
        SiteError: Such a site stands outside the plate.
    """
    terms = []
    for name, node in q.items():
        fn = node["fn"]
        if node["is_observed"] or fn.has_rsample:
            continue
        logp = fn.log_prob(node["value"])
        if not logp.requires_grad:
            continue
        term, inside = _reduce(logp[None], node, samples, nesting)
        if not inside:
            raise SiteError(
                "a latent outside the plate whose draws carry no gradient cannot be trained",
                site=name,
                hint="a continuous guide, or sum the site out",
            )
        terms.append(term[0])
    return torch.stack(torch.broadcast_tensors(*terms)).sum(0) if terms else None


def _hold(q: poutine.Trace, held: PyroFunction) -> tuple[dict[str, Node], dict[str, Tensor], bool]:
    """Return the guide's sites with log q at fixed parameters, the draws, and whether each density must hold its own.

    The draws are new views, so that what flows back through them is not what flows from one draw to the next.
    """
    sites = sample_nodes(q)
    draws = {name: n["value"].view_as(n["value"]) for name, n in sites.items() if not n["is_observed"]}
    for name, value in draws.items():
        sites[name]["value"] = value
    if len(draws) < 2:
        return sites, draws, True
    return sample_nodes(record(poutine.replay(held, trace=q))), draws, False


def log_weights(
    model: PyroFunction,
    guide: PyroFunction | None,
    *,
    samples: int = 1,
    nesting: int = 1,
    analytic: bool = False,
    surrogate: bool = False,
    entrywise: bool = False,
    held: PyroFunction | None = None,
) -> LogWeights:
    """Run guide and model on one minibatch and return its log importance weights.

    Args:
        model: Pyro function of no arguments, its observed site bound to the data.
        guide: Likewise, or None if there is nothing latent.
        samples: Number of particles K, drawn in one vectorised pass (a plate outside all others).
        nesting: Largest plate depth of the model.
        analytic: Use −KL(q‖p) at sites where torch knows it (same site order in both).
        surrogate: For training: use the stand-in for log p where a part offers one, and return scores.
        entrywise: Return the terms of single entries of the latents too.
        held: The guide with parameters that carry no gradient: log q then has a gradient through the draws alone.

    Returns:
        LogWeights in nats.

    Raises:
        SiteError: In training, a latent outside the plate whose draws carry no gradient.
    """
    entries: dict[str, Tensor] = {}
    parts: dict[str, Tensor] = {}
    local, shared, kind, draws, own = [], [], Kind.EXACT, {}, False
    with isolated():
        with pyro.plate("particles", samples, dim=-1 - nesting) if samples > 1 else _Isolated():
            trace = None if guide is None else record(guide)
            q = {} if trace is None else sample_nodes(trace)
            if trace is not None and held is not None:
                q, draws, own = _hold(trace, held)
            p = sample_nodes(record(model if trace is None else poutine.replay(model, trace=trace)))
        analytic = analytic and [name for name in p if name in q] == [name for name in q if name in p]
        for name, node, logp, site_kind in _site_terms(p, q, analytic, surrogate, own):
            term, inside = _reduce(logp[None], node, samples, nesting)
            (local if inside else shared).append(term[0])
            parts[name] = parts.get(name, 0.0) + term[0]
            kind = kind + site_kind
        for name in [name for name in p if name in q and is_local(p[name])] if entrywise else []:
            each = entry_terms(p[name]["fn"], q[name]["fn"], p[name]["value"], analytic, own)
            entries[name] = parts[name][None] if each is None else _reduce(each, p[name], samples, nesting)[0]
        scores = None if not surrogate else _scores(q, samples, nesting)
    random = any(not is_local(node) for node in q.values())
    total = torch.stack(torch.broadcast_tensors(*local)).sum(0)
    zero = total.new_zeros(samples)
    return LogWeights(total, sum(shared, zero), kind, random, parts, scores, entries, draws)


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
