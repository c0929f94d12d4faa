"""Oracles: what each layer is by definition, Jacobian sparsity of masks and orders, and that nonsense is refused."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import ExpTransform

from unigen.distributions.channel_layers import FactorOut, Permutation, Squeeze
from unigen.distributions.flow_steps import AutoregressiveStep, CouplingStep, FixedStep, InverseStep
from unigen.distributions.layers import (
    Autoregressive,
    Coupling,
    Inverse,
    Logit,
    Quantile,
    Standardise,
    assemble,
    first_layers,
)
from unigen.distributions.transforms import Affine, Spline
from unigen.errors import ArgumentError

F64 = torch.float64


def jacobian(step, x):
    f = step.double()()
    return torch.autograd.functional.jacobian(lambda v: f(v), x)


@pytest.mark.parametrize("univariate", [Affine(), Spline(4)], ids=repr)
@pytest.mark.parametrize("order", [None, (2, 0, 4, 1, 3)])
@pytest.mark.parametrize("position", [0, 1])
def test_an_autoregression_is_triangular_in_its_order(univariate, order, position):
    step = Autoregressive(univariate, (32, 32), order).build((5,), 0, position)
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    expected = order or (range(5) if position == 0 else range(4, -1, -1))
    j = sum(jacobian(step, x).abs() for x in torch.randn(6, 5, dtype=F64))
    j = j[list(expected)][:, list(expected)]
    assert (torch.triu(j, 1) == 0).all() and (torch.tril(j) > 0).sum() == 15


@pytest.mark.parametrize("stay", [None, (0, 3)])
def test_a_coupling_keeps_a_and_moves_b_given_a_alone(stay):
    step = Coupling(Affine(), (32, 32), stay).build((5,), 0, 0)
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    a = [0, 2, 4] if stay is None else [0, 3]
    b = [i for i in range(5) if i not in a]
    j = jacobian(step, torch.randn(5, dtype=F64))
    assert torch.equal(j[a], torch.eye(5, dtype=F64)[a])
    assert (j[b][:, a] != 0).all()
    inner = j[b][:, b]
    assert torch.equal(inner, torch.diag(inner.diagonal()))


def test_assemble_alternates_each_kind_and_follows_the_shape():
    steps = assemble(
        [Coupling(), Permutation(), Coupling(), Autoregressive(), Autoregressive(), ExpTransform()], (4,), 2
    )
    first, second = steps[0], steps[2]
    assert isinstance(first, CouplingStep) and isinstance(second, CouplingStep)
    assert torch.equal(first.a, second.b)
    orders = [step.net.order for step in steps if isinstance(step, AutoregressiveStep)]
    assert orders == [(0, 1, 2, 3), (3, 2, 1, 0)]
    assert isinstance(steps[-1], FixedStep)
    shapes = [step.shape_out for step in assemble([Squeeze(), FactorOut([Squeeze()])], (1, 8, 8), 0)]
    assert shapes == [(4, 4, 4), (4, 4, 4)]


def test_an_inverse_of_an_inverse_is_the_layer():
    torch.manual_seed(0)
    layer = Autoregressive(hidden=(8,)).build((3,), 0, 0)
    torch.manual_seed(0)
    twice = Inverse(Inverse(Autoregressive(hidden=(8,)))).build((3,), 0, 0)
    assert isinstance(twice, InverseStep)
    x = torch.randn(5, 3)
    torch.testing.assert_close(twice()(x), layer()(x))


def test_the_support_names_the_first_layers():
    assert first_layers("real") == (Standardise(),) and first_layers("unit") == (Quantile(),)
    assert first_layers(Logit(0.1)) == (Logit(0.1), Standardise())
    with pytest.raises(ArgumentError, match="support"):
        first_layers("circle")


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Autoregressive(order=(0, 0, 1)), (3,)),
        (Autoregressive(), (1, 4, 4)),
        (Autoregressive(hidden=(0,)), (3,)),
        (Coupling(stay=()), (3,)),
        (Coupling(stay=(0, 1, 2)), (3,)),
        (Coupling(stay=(5,)), (3,)),
        (Coupling(hidden=(0,)), (3,)),
        (Coupling(), (1, 4, 4)),
        (Logit(0.5), (3,)),
        (Logit(-0.1), (3,)),
    ],
    ids=repr,
)
def test_layers_that_cannot_be_are_refused(layer, shape):
    with pytest.raises(ArgumentError):
        layer.build(shape, 0, 0)
