"""Parts that do not meet are refused, and the message names both."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch

import unigen as ug
from unigen.errors import (
    ArgumentError,
    ContextError,
    KindError,
    NoDensityError,
    ShapeError,
    SupportError,
    UnigenError,
    UnsupportedQueryError,
)

TINY: dict[str, Any] = {"transforms": 1, "hidden": (4,)}


def flow(features: int = 2, **options: Any) -> ug.NSF:
    return ug.NSF(features, bins=4, **TINY, **options)


REFUSED: list[tuple[str, dict[str, Any], type[UnigenError], str]] = [
    ("a prior of another length", {"prior": flow(3)}, ShapeError,
     r"prior NSF and the posterior MeanField .*latent; got \(3,\), expected \(2,\)"),
    ("a posterior of another length", {"posterior": flow(3, context=4)}, ShapeError,
     r"prior StandardNormal and the posterior NSF .*got \(3,\), expected \(2,\)"),
    ("a prior without a density", {"prior": ug.GAN(2), "posterior": ug.FullCovariance()}, NoDensityError,
     "prior GAN and the posterior FullCovariance make no bound: the prior GAN has no density"),
    ("an implicit posterior", {"posterior": ug.GAN(2, context=4)}, NoDensityError,
     "prior StandardNormal and the posterior GAN make no bound: the posterior GAN has no density"),
    ("a posterior with a bound", {"posterior": ug.VAE(2, 1, context=4, hidden=(4,))}, KindError,
     "prior StandardNormal and the posterior VAE .* got kind lower bound, expected kind exact"),
    ("an unnormalised posterior", {"posterior": ug.EnergyModel(2, context=4)}, KindError,
     "posterior EnergyModel .* got kind unnormalised"),
    ("a prior on the cube", {"prior": flow(support="unit")}, SupportError,
     "prior NSF and the posterior MeanField do not meet: the posterior has mass where the prior has none"),
    ("a discrete prior", {"prior": ug.MADE(2, hidden=(4,), likelihood=ug.Bernoulli())}, SupportError,
     "prior MADE and the posterior MeanField"),
    ("a discrete posterior", {"posterior": ug.MADE(2, context=4, hidden=(4,), likelihood=ug.Bernoulli())},
     SupportError, "prior StandardNormal and the posterior MADE"),
    ("a decoder of another context", {"decoder": flow(5, context=3)}, ContextError,
     "decoder NSF does not take latents of the prior StandardNormal; got NSF with context=3, expected context=2"),
    ("a decoder without context", {"decoder": flow(5), "prior": flow()}, ContextError,
     "decoder NSF does not take latents of the prior NSF; got NSF with context=0, expected context=2"),
    ("a decoder of other examples", {"decoder": flow(6, context=2), "prior": flow()}, ShapeError,
     r"decoder NSF and the prior NSF .* got \(6,\), expected \(5,\)"),
    ("an implicit decoder", {"decoder": ug.GAN(5, context=2)}, NoDensityError,
     "decoder GAN and the prior StandardNormal make no bound: the decoder has no density"),
    ("an unnormalised decoder", {"decoder": ug.EnergyModel(5, context=2)}, KindError,
     r"decoder EnergyModel and the prior StandardNormal make no density: .* log Z\(z\)"),
    ("a decoder beside a likelihood", {"decoder": flow(5, context=2), "likelihood": ug.Bernoulli()},
     ArgumentError, "the decoder has NSF and the head Bernoulli"),
    ("an encoder beside a head", {"encoder": flow(2, context=5), "posterior": ug.MeanField()},
     ArgumentError, "the posterior has NSF and the head MeanField"),
    ("an encoder of another context", {"encoder": flow(2, context=4)}, ContextError,
     "posterior NSF does not take 5 numbers of x; got NSF with context=4, expected context=5"),
    ("a posterior without context", {"posterior": flow()}, ContextError, "NSF is to be given a network's output"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "parts", "error", "message"), REFUSED, ids=[r[0] for r in REFUSED])
def test_parts_that_do_not_meet_are_refused(what, parts, error, message) -> None:
    with pytest.raises(error, match=message):
        ug.VAE(5, 2, hidden=(4,), **parts)


def test_contexts_of_the_whole_may_be_shared_or_not() -> None:
    x, c = torch.randn(6, 5), torch.randn(6, 3)
    for width in (2, 5):
        vae = ug.VAE(
            5,
            2,
            context=3,
            hidden=(4,),
            prior=flow(context=3),
            posterior=flow(context=4),
            decoder=flow(5, context=width),
        )
        assert vae.log_prob(x, c).value.isfinite().all() and vae.sample(6, c).shape == (6, 5)
        x_given = "p_NSF(x | z, c)" if width == 5 else "p_NSF(x | z)"
        assert vae.formula == f"p(x, z | c) = {x_given} p_NSF(z | c);  q_NSF(z | x, c)"
    with pytest.raises(ContextError, match="expected context=2 or context=5"):
        ug.VAE(5, 2, context=3, hidden=(4,), decoder=flow(5, context=3))
    with pytest.raises(ContextError, match=r"got shape \(6, 2\), expected \(6, 3\)"):
        vae.log_prob(x, c[:, :2])


def test_parts_on_one_set_meet() -> None:
    """A posterior on the cube under a prior on the cube or on the reals; discrete codes under a discrete prior."""
    cube = {"posterior": flow(context=4, support="unit")}
    codes = {
        "prior": ug.MADE(2, hidden=(4,), likelihood=ug.Bernoulli()),
        "posterior": ug.MADE(2, context=4, hidden=(4,), likelihood=ug.Bernoulli()),
    }
    for parts in (cube, cube | {"prior": flow(support="unit")}, codes):
        vae, x = ug.VAE(5, 2, hidden=(4,), **parts), torch.randn(8, 5)
        loss = ug.ELBO(samples=3).players(vae)[0].loss(x)
        loss.backward()
        assert loss.isfinite() and vae.log_prob(x).value.isfinite().all()
        assert all(bool(p.grad.any()) for p in vae.encoder.parameters() if p.grad is not None)


def test_a_distribution_of_pyro_is_named_by_its_class() -> None:
    with pytest.raises(ShapeError, match="prior Independent and the posterior MeanField"):
        ug.VAE(5, 2, prior=dist.Normal(torch.zeros(3), 1.0).to_event(1), hidden=(4,))


def test_an_implicit_model_has_no_posterior_to_ask_for() -> None:
    with pytest.raises(UnsupportedQueryError, match="no way back from x to z"):
        ug.GAN(5).posterior(torch.randn(3, 5))
