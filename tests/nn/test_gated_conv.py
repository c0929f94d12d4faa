"""Oracles: a Jacobian for the absence of a blind spot, and passes against single steps."""

from __future__ import annotations

import pytest
import torch

from tests.sequences import F64, strong
from unigen.errors import ArgumentError
from unigen.nn.gated_conv import GatedPixelNet


def net(shape, parameters=2, **options):
    return strong(GatedPixelNet(shape, parameters, **({"width": 6, "layers": 3, "kernel": 3} | options)), 0.3)


def seen(model):
    """Which outputs depend on which inputs at one of 8 points (some units are off at each), in drawing order."""
    d, order = len(model.order), torch.tensor(model.order)
    x = torch.randn(8, d, dtype=F64, requires_grad=True)
    y = model(x[..., None]).square().sum(-1)
    j = torch.stack([torch.autograd.grad(y[:, i].sum(), x, retain_graph=True)[0] for i in range(d)], 1)
    return j.ne(0).any(0)[order][:, order]


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 3), (1, 1, 4), (1, 4, 1)])
def test_each_pixel_depends_on_all_earlier_ones_and_on_no_other(shape):
    model = net(shape)
    d = len(model.order)
    assert model.reaches and torch.equal(seen(model), torch.ones(d, d).tril(-1).bool())


def test_a_short_reach_is_causal_and_says_so():
    model = net((1, 5, 5), layers=1)
    assert not model.reaches
    depends = seen(model)
    assert not depends.triu().any() and not depends[24, 0]


def test_the_order_is_raster_with_channels_inside():
    assert net((2, 1, 3)).order == (0, 3, 1, 4, 2, 5)


@torch.no_grad()
def test_single_steps_are_the_pass():
    model = net((2, 3, 3), context=2)
    x, c = torch.randn(5, 18, 1, dtype=F64), torch.randn(5, 2, dtype=F64)
    whole, steps = model(x, c), model.steps(c)
    for t, i in enumerate(model.order):
        hidden = x.clone()
        hidden[:, list(model.order[t:])] = 7.0  # what is not drawn yet is not read
        assert (steps(hidden, t) - whole[:, i]).abs().max() < 1e-12
    steps.select(torch.tensor([4, 4]))
    assert (steps(x[[4, 4]], 17) - whole[[4, 4], model.order[17]]).abs().max() < 1e-12


@torch.no_grad()
def test_context_reaches_the_first_pixel():
    model, x = net((1, 2, 2), context=1), torch.zeros(1, 4, 1, dtype=F64)
    one, two = (model(x, torch.full((1, 1), value, dtype=F64)) for value in (0.0, 1.0))
    assert ((one - two) != 0).all()


@pytest.mark.parametrize(
    "bad", [{"kernel": 4}, {"kernel": 1}, {"shape": (0, 2, 2)}, {"layers": 0}, {"dropout": -0.1}]
)
def test_bad_sizes_are_refused(bad):
    with pytest.raises(ArgumentError):
        GatedPixelNet(**({"shape": (1, 2, 2), "parameters": 2} | bad))
