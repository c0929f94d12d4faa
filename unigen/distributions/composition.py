"""Whether the prior, the posterior and the decoder of a latent-variable program fit together.

    p(x, z | c) = p(x | z, c) p(z | c),        q(z | x, c)

Prior and posterior live on one space of z, the posterior where the prior has mass; the posterior's density is exact,
for a bound in its place would make log p(x, z) − log q(z) a bound of neither sense; the decoder is a density of x for
every z. Every message names both parts that do not meet.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch.distributions import constraints

from unigen.distributions.conditional import Conditional, part_name
from unigen.distributions.wrappers import kind_of
from unigen.errors import KindError, NoDensityError, ShapeError, SupportError
from unigen.logprob import Kind


def _inner(support: Any) -> Any:
    """Return the set of one number of an event."""
    while inner := getattr(support, "base_constraint", getattr(support, "_base_constraint", None)):
        support = inner
    return support


def _within(q: Any, p: Any) -> bool:
    """Return whether the set of q is that of p, or all reals hold it."""
    inside, whole = str(_inner(q)), str(_inner(p))
    return inside == whole or (whole == str(constraints.real) and not q.is_discrete)


LATENT_HINTS = {
    "prior": "a prior with a density, a bound or an energy: NSF, PPCA, Diffusion, EnergyModel",
    "posterior": "a posterior with an exact density: IAF, NSF, MAF, MixturePosterior(4)",
}


def check_latent(prior: object, p: TorchDistribution, posterior: Conditional, owner: str) -> None:
    """Refuse a prior and a posterior that do not meet on z.

    Args:
        prior: The part behind p, for its name.
        p: p(z | c).
        posterior: q(z | x, c), its event shape (L,).
        owner: Name of the whole.

    Raises:
        NoDensityError: One has draws only.
        KindError: The posterior's density is not exact.
        ShapeError: An event shape is not (L,).
        SupportError: The posterior's set is not within the prior's.
    """
    q, latents = posterior.example(), torch.Size(posterior.event_shape)
    names = {"prior": part_name(prior), "posterior": posterior.name}
    both = f"the prior {names['prior']} and the posterior {names['posterior']}"
    for role, fn in (("prior", p), ("posterior", q)):
        if kind_of(fn) is None:
            raise NoDensityError(
                f"{both} make no bound: the {role} {names[role]} has no density",
                program=owner, site="z", hint=LATENT_HINTS[role],
            )  # fmt: skip
        if fn.event_shape != latents:
            raise ShapeError(
                f"{both} do not meet: the {role} {names[role]} does not fit the latent",
                program=owner, site="z", got=tuple(fn.event_shape), expected=tuple(latents),
                hint=f"give the {role} features={latents.numel()}",
            )  # fmt: skip
    if kind_of(q) is not Kind.EXACT:
        raise KindError(
            f"{both} make no bound: log q(z | x) of the {names['posterior']} is not exact",
            program=owner, site="z", got=f"kind {kind_of(q)}", expected="kind exact",
            hint=LATENT_HINTS["posterior"],
        )  # fmt: skip
    if not _within(q.support, p.support):
        raise SupportError(
            f"{both} do not meet: the posterior has mass where the prior has none",
            program=owner, site="z", got=q.support, expected=p.support,
            hint="both on one set, as with support='real'",
        )  # fmt: skip


def check_decoder(decoder: Conditional, prior: object, owner: str) -> None:
    """Refuse a program that is no density of x for every z.

    Args:
        decoder: p(x | z, c), its event shape that of x.
        prior: The part at z, for its name.
        owner: Name of the whole.

    Raises:
        NoDensityError: It has draws only.
        KindError: It is unnormalised: its log Z depends on z, so log p(x | z) is unknown by more than a constant.
        ShapeError: It has another event shape than x.
    """
    if decoder.label is None:
        return
    given, event = decoder.example(), tuple(decoder.event_shape)
    both = f"the decoder {decoder.name} and the prior {part_name(prior)}"
    hint = "a decoder with a density or a bound: MADE, MAF, NSF, PixelCNN"
    if kind_of(given) is None:
        message = f"{both} make no bound: the decoder has no density"
        raise NoDensityError(message, program=owner, site="x", hint=hint)
    if kind_of(given) is Kind.UNNORMALISED:
        message = f"{both} make no density: the decoder leaves out log Z(z), which is no constant"
        raise KindError(message, program=owner, site="x", hint=hint)
    if tuple(given.event_shape) != event:
        raise ShapeError(
            f"{both} do not make examples of this shape: the decoder gives others",
            program=owner, site="x", got=tuple(given.event_shape), expected=event,
            hint=f"give the decoder features={event[0] if len(event) == 1 else event}",
        )  # fmt: skip
