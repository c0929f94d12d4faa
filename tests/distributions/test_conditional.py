"""Conditional: a network with a head, a network with a program, a program alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unigen.distributions.conditional import Conditional, join, part_name, width_of
from unigen.distributions.likelihoods import Bernoulli, Categorical
from unigen.distributions.posteriors import FullCovariance
from unigen.errors import ArgumentError, ContextError
from unigen.models.flow import NSF
from unigen.models.made import MADE
from unigen.nn.mlp import MLP

TINY = {"transforms": 1, "hidden": (4,)}


def test_widths_and_names():
    assert [width_of(h, (3,)) for h in (Categorical(4), FullCovariance(), NSF(3, context=5, **TINY))] == [
        12,
        9,
        5,
    ]
    assert part_name(NSF(3, **TINY)) == "NSF" and part_name(Bernoulli()) == "Bernoulli"
    with pytest.raises(ContextError, match="NSF is to be given a network's output"):
        width_of(NSF(3, **TINY), (3,))


def test_values_and_contexts_are_joined_over_leading_dimensions():
    v, c = torch.randn(6, 5, 2), torch.randn(5, 3)
    joined = join(v, c)
    assert joined.shape == (6, 5, 5)
    assert torch.equal(joined[..., :2], v) and torch.equal(joined[2, :, 2:], c)


def test_the_three_forms_are_what_they_are_made_of():
    v, c, y = torch.randn(6, 5, 2), torch.randn(5, 3), torch.bernoulli(torch.full((5, 4), 0.5))
    net, head = MLP(2, 4, hidden=(4,), context=3), Bernoulli()
    assert torch.equal(
        Conditional("decoder", net, head, (4,))(v, c).log_prob(y), head(net(v, c), (4,)).log_prob(y)
    )
    flow = NSF(4, context=4, **TINY)
    both = Conditional("posterior", net, flow, (4,))
    x = torch.randn(5, 4)
    torch.testing.assert_close(both(v, c).log_prob(x), flow.distribution(net(v, c)).log_prob(x))
    assert both.label == both.name == "NSF" and both.part is flow
    for width in (2, 5):  # a program that takes v alone, or v and c
        made = MADE(4, context=width, hidden=(4,), likelihood=Bernoulli())
        found = Conditional("decoder", made, None, (4,))(v, c).log_prob(y)
        given = v if width == 2 else join(v, c)
        torch.testing.assert_close(found, made.distribution(given).log_prob(y))


def test_codes_are_those_of_the_likelihood_wherever_it_stands():
    x = torch.tensor([[0.0, 2.0]])
    one_hot = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    for part in (
        Conditional("decoder", nn.Linear(2, 6), Categorical(3), (2,)),
        Conditional("decoder", MADE(2, context=2, hidden=(4,), likelihood=Categorical(3)), None, (2,)),
    ):
        assert torch.equal(part.code(x), one_hot) and part.code_width == 6
    flow = Conditional("decoder", NSF(2, context=2, **TINY), None, (2,))
    assert torch.equal(flow.code(x), x) and flow.code_width == 2


def test_an_example_has_the_shape_and_the_dtype_of_the_part():
    for part in (
        Conditional("posterior", nn.Linear(2, 9), FullCovariance(), (3,)),
        Conditional("posterior", nn.Linear(2, 5), NSF(3, context=5, **TINY).double(), (3,)),
    ):
        assert part.example().event_shape == (3,)


def test_a_program_starts_from_data():
    made = MADE(2, context=3, hidden=(4,), likelihood=Bernoulli())
    x = torch.tensor([[1.0, 0.0]] * 30 + [[1.0, 1.0]] * 10)
    Conditional("decoder", made, None, (2,)).initialise(x, torch.randn(40, 3))
    p = made.log_prob(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 3)).value.exp()
    assert float(p) == pytest.approx(40.5 / 41 * 30.5 / 41, rel=0.1)


def test_misfits_are_refused():
    with pytest.raises(ArgumentError, match="MADE and the head Bernoulli"):
        Conditional("decoder", MADE(2, context=3, hidden=(4,)), Bernoulli(), (2,))
    with pytest.raises(ArgumentError, match="Linear and no head"):
        Conditional("decoder", nn.Linear(2, 2), None, (2,))
    part = Conditional("decoder", MADE(2, context=3, hidden=(4,)), None, (2,))
    part.check_input("the latents", 3, 0, "Whole")
    part.check_input("the latents", 2, 1, "Whole")
    with pytest.raises(
        ContextError, match=r"Whole: the decoder MADE does not take the latents; got MADE with context=3, "
    ):
        part.check_input("the latents", 2, 2, "Whole")
