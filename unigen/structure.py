"""What a program consists of: its sites, their shapes, plates and dependencies, found by running it once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

from unigen.distributions.plates import check_plates
from unigen.errors import SiteError
from unigen.logprob import Kind
from unigen.traces import (
    Cheap,
    Node,
    PyroFunction,
    base_of,
    is_local,
    isolated,
    kind_of,
    record,
    sample_nodes,
)


@dataclass(frozen=True)
class Site:
    """One latent or observed site, as found by running the model once."""

    name: str
    event_shape: torch.Size
    local: bool
    discrete: bool
    support: Constraint
    parents: tuple[str, ...]
    label: str | None  # name of the program that stands at this site, if one does
    kind: Kind | None = Kind.EXACT  # of its log density; None for draws without a density
    conditional: bool = False  # whether its distribution depends on the context


@dataclass(frozen=True)
class Structure:
    """What a program consists of: its observed site, its latent sites in sampling order, its plate nesting."""

    observed: Site
    latents: tuple[Site, ...]
    nesting: int = 1

    @property
    def shared(self) -> tuple[Site, ...]:
        """Latent sites outside the data plate."""
        return tuple(site for site in self.latents if not site.local)


CONTEXT = "the context"  # its mark among the parents of a site


def follow(context: Tensor) -> Tensor:
    """Return a context whose way through the model can be followed."""
    from pyro.ops.provenance import ProvenanceTensor

    return ProvenanceTensor(context, frozenset({CONTEXT}))


def _describe(name: str, node: Node, parents: tuple[str, ...]) -> Site:
    fn = node["fn"]
    costly = getattr(base_of(fn), "costly", False)
    conditional = getattr(base_of(fn), "context", None) is not None if costly else CONTEXT in parents
    parents = tuple(p for p in parents if p != CONTEXT)
    check_plates(node, fn.batch_shape)
    return Site(
        name,
        fn.event_shape,
        is_local(node),
        bool(getattr(fn.support, "is_discrete", False)),
        fn.support,
        parents,
        getattr(base_of(fn), "label", None),
        kind_of(fn),
        conditional,
    )


def _parents(
    model: PyroFunction, names: list[str], dtype: torch.dtype | None = None
) -> dict[str, tuple[str, ...]]:
    """Return for each site the sites its distribution depends on, by tracking provenance through torch."""
    from pyro.infer.inspect import TrackProvenance
    from pyro.ops.provenance import get_provenance

    try:
        with Cheap(dtype), TrackProvenance():
            trace = record(model)
        found = {
            name: get_provenance([v for v in vars(base_of(node["fn"])).values() if isinstance(v, Tensor)])
            | get_provenance(node["fn"].log_prob(node["value"]))
            for name, node in sample_nodes(trace).items()
            if kind_of(node["fn"]) is Kind.EXACT and not getattr(base_of(node["fn"]), "costly", False)
        }
    except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError):
        found = {}  # the chain rule in sampling order is always true
    return {
        name: tuple(p for p in [*names[:i], CONTEXT] if name not in found or p in found[name])
        for i, name in enumerate(names)
    }


@contextmanager
def _plate_errors(program: str) -> Iterator[None]:
    """Say what Pyro's error means where a site's batch shape does not fit its plate.

    Raises:
        SiteError: It does not, as where ``.to_event(1)`` was forgotten.
    """
    try:
        yield
    except ValueError as error:
        found = re.search(r"plate\('(.+)'\) at site (\S+) dim (-\d+), (\d+) vs (\d+)", str(error))
        if found is None:
            raise
        plate, site, dim, size, given = found.groups()
        raise SiteError(
            f"the site has {given} values along dimension {dim} of its batch shape, the plate '{plate}' {size}",
            program=program,
            site=site,
            got=f"batch shape (…, {given})",
            expected=f"(…, {size}) or (…, 1), and the features in the event shape",
            hint=".to_event(1) at the site: its last dimension then belongs to one example",
        ) from error


def discover(
    model: PyroFunction, observed: str, program: str, tracked: PyroFunction | None = None,
    dtype: torch.dtype | None = None,
) -> Structure:  # fmt: skip
    """Run a model once without data and return its structure; random state is left as it was.

    Args:
        model: A Pyro function that needs no arguments.
        observed: Name of the observed site.
        program: Name used in error messages.
        tracked: The same function with a context made by ``follow``, for a conditional model.
        dtype: Floating dtype of the model's draws; torch's default if omitted.

    Raises:
        SiteError: The observed site is missing or stands outside the plate ``data``.
    """
    with isolated(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        with Cheap(dtype), _plate_errors(program):
            nodes = sample_nodes(record(model))
        parents = _parents(tracked or model, list(nodes), dtype)
    if observed not in nodes:
        expected = f"a site named '{observed}'"
        raise SiteError(program=program, site=observed, got=f"sites {sorted(nodes)}", expected=expected)
    sites = {name: _describe(name, node, parents[name]) for name, node in nodes.items()}
    if not sites[observed].local:
        raise SiteError(
            "the observed site stands outside the plate 'data'",
            program=program,
            site=observed,
            got=f"plates {[frame.name for frame in nodes[observed]['cond_indep_stack']]}",
            expected="a plate named 'data'",
            hint="put it inside `with self.plate(x, n):` (or `pyro.plate('data', x.shape[0], dim=-1)`)",
        )
    nesting = max(
        (
            -frame.dim
            for node in nodes.values()
            for frame in node["cond_indep_stack"]
            if frame.dim is not None
        ),
        default=1,
    )
    latents = tuple(s for name, s in sites.items() if name != observed and not nodes[name]["is_observed"])
    return Structure(sites[observed], latents, nesting)


def check_guide(structure: Structure, guide: PyroFunction, program: str) -> None:
    """Run a guide once and compare its sites with the model's.

    Raises:
        SiteError: The guide misses a latent site, adds one, or gives it another event shape or plate.
    """
    with isolated(), torch.no_grad(), torch.random.fork_rng(devices=[]), Cheap():
        nodes = sample_nodes(record(guide))
    wanted = {site.name: site for site in structure.latents}
    given = {k: v for k, v in nodes.items() if not v["infer"].get("is_auxiliary")}
    for what, names in (("misses", set(wanted) - set(given)), ("adds", set(given) - set(wanted))):
        if names:
            name = sorted(names)[0]
            raise SiteError(
                f"the guide {what} the latent site '{name}'",
                program=program,
                site=name,
                got=f"guide sites {sorted(given)}",
                expected=f"{sorted(wanted)}",
                hint="name the guide's sites exactly as the model's",
            )
    for node in given.values():
        check_plates(node, node["fn"].batch_shape)
    for name, site in wanted.items():
        shape, local = given[name]["fn"].event_shape, is_local(given[name])
        if (shape, local) != (site.event_shape, site.local):
            raise SiteError(
                program=program,
                site=name,
                got=f"event shape {tuple(shape)} {'inside' if local else 'outside'} the plate in the guide",
                expected=f"{tuple(site.event_shape)} {'inside' if site.local else 'outside'} as in the model",
                hint="use the same `.to_event(1)` and the same plate in model and guide",
            )
