"""The latents of a program, given data, as points of R^D: start, transform, and two log densities.

Sites z_1 … z_L of one example, constrained or not, become one row u: each is mapped to the reals by ``biject_to`` of
its support and flattened. With z = T(u), base (the guide q, or the prior) and joint p(x, z) have on u the densities

    log q̃(u) = log q(z) + log |det ∂T/∂u|,      log p̃(u) = log p(x, z) + log |det ∂T/∂u|,

and ∫ exp(log p̃) du = p(x): the Jacobian cancels in log w = log p̃ − log q̃.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import biject_to

from unigen.errors import ShapeError, SiteError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.program import Program
from unigen.structure import Site
from unigen.traces import draw, log_weights, site_log_prob

ALLOWED = (Kind.EXACT, Kind.UNNORMALISED)  # log densities that are functions, the same at every call


def check_latents(program: Program) -> tuple[Site, ...]:
    """Return the latents of a program if each example has continuous ones of its own.

    Raises:
        UnsupportedQueryError: There is none, or one is discrete or outside the plate.
    """
    sites = program.structure.latents
    if not sites:
        raise UnsupportedQueryError(
            "there is no latent to integrate out", program=program.name, hint="log_prob is exact"
        )
    for site in sites:
        if site.discrete:
            raise UnsupportedQueryError(
                "a discrete latent has no gradient to move along",
                program=program.name,
                site=site.name,
                hint="density=ug.Importance(…), or sum the site out",
            )
        if not site.local:
            raise UnsupportedQueryError(
                "a latent outside the plate couples all examples, so log p(x_i) has no meaning for each alone",
                program=program.name,
                site=site.name,
                hint="condition on a draw of the shared latent",
            )
    return sites


def _tensors(item: object) -> Iterator[Tensor]:
    """Yield the tensors inside a constraint: its bounds."""
    if isinstance(item, Tensor):
        yield item
    for value in vars(item).values() if hasattr(item, "__dict__") and not isinstance(item, Tensor) else ():
        yield from _tensors(value)


def _rows_first(value: Tensor, axis: int) -> Tensor:
    return value.movedim(axis, 0).flatten(1) if value.dim() > 1 else value[:, None]


class LatentSpace:
    """Rows u ∈ R^D for the latents of the examples x, one row an example.

    Args:
        program: p(x, z | c) and q(z | x, c), in evaluation mode.
        x: Checked data, shape (R, *event_shape); repeat rows for several chains an example.
        context: Checked context, shape (R, C), or None.
        from_prior: Whether the base is the prior p(z | c) instead of the guide.

    Raises:
        UnsupportedQueryError: A latent is missing, discrete, shared, or its support depends on another; the guide has
            sites of its own; or a part's log density is random or a bound.
    """

    def __init__(self, program: Program, x: Tensor, context: Tensor | None, from_prior: bool = False) -> None:
        self.program, self.from_prior = program, from_prior
        self.sites = check_latents(program)
        n = x.shape[0]
        self.model = functools.partial(program.model, x, context, n)
        prior = functools.partial(program.model, None, context, n)
        self.base = prior if from_prior else functools.partial(program.guide, x, context, n)
        self.rows = n
        with torch.no_grad():
            nodes, again = self._draw(), self._draw()
            self.values = {site.name: nodes[site.name]["value"] for site in self.sites}
            at, other = (
                draw(self.model, {name: found[name]["value"] for name in self.values})
                for found in (nodes, again)
            )
        supports = {name: at[name]["fn"].support for name in self.values}
        for name, support in supports.items():
            pairs = zip(_tensors(support), _tensors(other[name]["fn"].support), strict=True)
            if not all(torch.equal(a, b) for a, b in pairs):
                raise UnsupportedQueryError(
                    "the support of a latent depends on another latent", program=program.name, site=name,
                    hint="density=ug.Importance(…), or rescale the site to a fixed support",
                )  # fmt: skip
        self.transforms = {name: biject_to(support) for name, support in supports.items()}
        self.axis = {s.name: self.values[s.name].dim() - len(s.event_shape) - 1 for s in self.sites}
        lone = None if from_prior or len(self.sites) > 1 else nodes[next(iter(self.values))]
        self.q = lone["fn"] if lone is not None and lone["mask"] is None else None
        self.shapes = {
            name: self.transforms[name].inv(value).movedim(self.axis[name], 0).shape[1:]
            for name, value in self.values.items()
        }
        self.kind = self._check_kind()

    def _draw(self) -> dict:
        """Draw the base's sites, and refuse a guide with others than the model's."""
        nodes = draw(self.base)
        wanted = {site.name for site in self.sites}
        given = set(nodes) & wanted if self.from_prior else set(nodes)
        if given != wanted:
            raise UnsupportedQueryError(
                "model and guide have different latents", program=self.program.name,
                got=sorted(given), expected=sorted(wanted), hint="from_prior=True",
            )  # fmt: skip
        return nodes

    def _check_kind(self) -> Kind:
        """Return the kind of log p(x, z) if it is a fixed function of z."""
        conditioned = [self.model] if self.from_prior else [self.model, self.base]
        with torch.no_grad():
            kinds = [log_weights(poutine.condition(run, data=self.values), None).kind for run in conditioned]
        for kind in kinds:
            if kind not in ALLOWED:
                raise UnsupportedQueryError(
                    "annealing needs log densities that are fixed functions of z",
                    program=self.program.name, got=f"kind {kind}", expected="exact or unnormalised",
                    hint="density=ug.Importance(…) averages bounds",
                )  # fmt: skip
        return kinds[0]

    def start(self) -> Tensor:
        """Return one draw of the base for each row, shape (R, D)."""
        return self.pack(self.values)

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the rows u of latents z given by site, shape (R, D).

        Raises:
            SiteError: A site is missing.
            ShapeError: A site has another shape than its draws have.
        """
        parts = []
        for name, like in self.values.items():
            if name not in values:
                raise SiteError(
                    program=self.program.name, site=name, got=sorted(values), expected=sorted(self.values)
                )
            if values[name].shape != like.shape:
                got = tuple(values[name].shape)
                raise ShapeError(program=self.program.name, site=name, got=got, expected=tuple(like.shape))
            parts.append(_rows_first(self.transforms[name].inv(values[name]), self.axis[name]))
        return torch.cat(parts, 1)

    def unpack(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the latents by site and log |det ∂z/∂u| (R,) of rows u (R, D)."""
        values, log_det, i = {}, u.new_zeros(u.shape[0]), 0
        for name, shape in self.shapes.items():
            width, axis, transform = shape.numel(), self.axis[name], self.transforms[name]
            at = u[:, i : i + width].reshape(-1, *shape).movedim(0, axis)
            values[name] = transform(at)
            log_det = log_det + _rows_first(transform.log_abs_det_jacobian(at, values[name]), axis).sum(1)
            i += width
        return values, log_det

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return log q̃(u) and log w(u) = log p̃(u) − log q̃(u), both (R,), in nats; NaN where a part has no value."""
        with dist.validation_enabled(False):
            values, log_det = self.unpack(u)
            joint = log_weights(poutine.condition(self.model, data=values), None)
            total = joint.local[0]
            if self.from_prior:
                log_base = torch.stack([joint.parts[name][0].expand(self.rows) for name in values]).sum(0)
            elif self.q is not None:
                name = self.sites[0].name
                each = site_log_prob({"fn": self.q, "value": values[name]})
                log_base = _rows_first(each, self.axis[name]).sum(1)
            else:
                log_base = log_weights(poutine.condition(self.base, data=values), None).local[0]
        return log_base + log_det, total - log_base
