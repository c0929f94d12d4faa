"""What is said of tensors and sites that are not finite: counts, kinds, the first in order; nothing else changes."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import primitives
from pyro.poutine.runtime import apply_stack

from unigen.inference.isolation import quiet
from unigen.inference.nonfinite import SiteWatch, describe, first


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 2.0], None),
        ([], None),
        ([1.0, math.inf, -math.inf], "w is inf (2 of 3 values)"),
        ([math.nan, 0.0], "w is nan (1 of 2 values)"),
        ([math.inf, math.nan, 0.0, 1.0], "w is nan (2 of 4 values)"),
    ],
)
def test_a_tensor_is_described_by_what_is_not_finite(values, text):
    assert describe("w", torch.tensor(values)) == text
    assert describe("w", torch.tensor(values, requires_grad=True)) == text


def test_integers_and_scalars_are_finite():
    assert describe("k", torch.arange(3)) is None and describe("k", torch.tensor(True)) is None
    assert describe("k", torch.tensor(math.nan)) == "k is nan (1 of 1 values)"


def test_the_first_of_named_tensors_is_named_and_the_rest_not_looked_at():
    def named():
        yield "a", torch.zeros(2)
        yield "b", torch.tensor([math.inf])
        raise AssertionError("no further than the first")

    assert first(named()) == "b is inf (1 of 1 values)"
    assert first([("a", torch.zeros(2))]) is None and first([]) is None


def program(loc: float = 0.0, scale: float = 1.0, x: float = 0.5) -> None:
    """z ~ N(0, 1), y ~ N(loc, 1) latent, x | z ~ N(z, scale) observed, in a plate of three."""
    with pyro.plate("data", 3, subsample_size=2):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0))
        pyro.sample("y", dist.Normal(torch.full((2,), loc), 1.0))
        pyro.sample("x", dist.Normal(z, scale), obs=torch.full((2,), x))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, None),
        ({"loc": math.nan}, "latent site 'y': value is nan (2 of 2 values)"),
        ({"x": math.inf}, "observed site 'x': value is inf (2 of 2 values)"),
        ({"scale": 1e-30}, "observed site 'x': log density is inf (2 of 2 values)"),
        ({"loc": math.nan, "x": math.nan}, "latent site 'y': value is nan (2 of 2 values)"),
    ],
    ids=["finite", "latent value", "observed value", "log density", "the first of two"],
)
def test_the_first_site_that_is_not_finite_is_found(options, text):
    watch = SiteWatch()
    with quiet(), watch.watching():
        program(**options)
    assert watch.found == text


class Drawn(dist.Delta):
    """Draws, and no density."""

    def log_prob(self, x):
        raise NotImplementedError


class Strict(dist.Normal):
    """Refuses a value off the support whatever the switches say."""

    def log_prob(self, value):
        raise ValueError("off the support")


def test_sites_without_a_density_or_off_the_support_are_passed_over():
    def model() -> None:
        pyro.sample("drawn", Drawn(torch.zeros(1)))
        pyro.sample("strict", Strict(0.0, 1.0), obs=torch.tensor(3.0))
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(math.nan))

    watch = SiteWatch()
    with quiet(), watch.watching():
        model()
    assert watch.found == "observed site 'x': value is nan (1 of 1 values)"


def test_draws_are_what_they_are_without_the_watch():
    torch.manual_seed(0)
    plain = pyro.poutine.trace(program).get_trace()
    torch.manual_seed(0)
    watch = SiteWatch()
    with watch.watching():
        watched = pyro.poutine.trace(program).get_trace()
    for name in ("z", "y", "x"):
        one, two = (trace.nodes[name]["value"] for trace in (plain, watched))
        assert one is not None and two is not None and torch.equal(one, two)
    assert primitives.apply_stack is apply_stack


def test_the_watch_ends_with_its_block_even_after_an_error():
    watch = SiteWatch()
    with pytest.raises(RuntimeError, match="stop"), watch.watching():
        raise RuntimeError("stop")
    assert primitives.apply_stack is apply_stack
    with quiet():
        program(loc=math.nan)
    assert watch.found is None
