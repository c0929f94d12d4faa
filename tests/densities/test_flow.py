"""A program of layers: shapes, supports, errors that name the user's family, maps that are no bijection."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import AbsTransform, ExpTransform

import unigen as ug
from unigen.densities.flow import FlowProgram
from unigen.errors import ArgumentError, ContextError, ShapeError, SupportError, UnknownNameError


class Mine(FlowProgram):
    """A family of the user's own."""


def test_a_torch_transform_is_a_layer():
    program = Mine(2, [ExpTransform().inv], support=None)
    x = torch.rand(5, 2) + 0.1
    oracle = torch.distributions.LogNormal(0.0, 1.0).log_prob(x).sum(-1)
    torch.testing.assert_close(program.log_prob(x).value, oracle)
    assert program.sample(3).min() > 0
    with pytest.raises(SupportError):
        program.log_prob(-x)


def test_a_map_that_is_no_bijection_has_no_density():
    with pytest.raises(ArgumentError, match=r"Mine.*AbsTransform.*bijection"):
        Mine(2, [AbsTransform()]).log_prob(torch.zeros(1, 2))
    with pytest.raises(ArgumentError, match="AbsTransform"):
        Mine((2, 4, 4), [ug.FactorOut([AbsTransform()])]).sample(1)


@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_logit_support(alpha):
    program = ug.NSF(3, support=ug.Logit(alpha), hidden=(8,), transforms=2)
    x = torch.rand(50, 3)
    program.initialise(x)
    assert program.round_trip(x) < 1e-4
    z = program.to_noise(x)
    assert z.shape == (50, 3) and (program.from_noise(z) - x).abs().max() < 1e-4
    edge = alpha / (1 - 2 * alpha)
    draws = program.sample(2000)
    assert draws.min() >= -edge and draws.max() <= 1 + edge
    with pytest.raises(SupportError):
        program.log_prob(x + 1.0)


def test_a_real_logit_flow_equals_the_flow_of_the_logits():
    x = torch.rand(40, 2, dtype=torch.float64)
    inside = ug.RealNVP(2, support=ug.Logit(), hidden=(8,)).double()
    outside = ug.RealNVP(2, hidden=(8,)).double()
    outside.flow.steps.load_state_dict(
        {
            f"{int(k.split('.')[0]) - 1}.{k.split('.', 1)[1]}": v
            for k, v in inside.flow.steps.state_dict().items()
        }
    )
    correction = -(x.log() + (-x).log1p()).sum(-1)
    torch.testing.assert_close(
        inside.log_prob(x).value, outside.log_prob(torch.logit(x)).value + correction, rtol=0, atol=1e-10
    )


@pytest.mark.parametrize(
    ("make", "name", "error"),
    [
        (lambda: ug.NSF(3, bins=1), "NSF", ArgumentError),
        (lambda: ug.NSF(3, transforms=0), "NSF", ArgumentError),
        (lambda: ug.MAF(3, hidden=(0,)), "MAF", ArgumentError),
        (lambda: ug.RealNVP(3, support="half"), "RealNVP", ArgumentError),
        (lambda: ug.IAF(0), "IAF", ArgumentError),
        (lambda: ug.NICE(3, context=-1), "NICE", ArgumentError),
        (lambda: ug.Flow(3, []), "Flow", ArgumentError),
        (lambda: ug.Flow(3, [ug.Autoregressive(order=(0, 0, 1))]), "Flow", ArgumentError),
        (lambda: ug.Flow(3, [ug.Zuko("Nope")]), "Flow", UnknownNameError),
        (lambda: Mine(3, [ug.Squeeze()]), "Mine", ArgumentError),
        (lambda: ug.NSF(3, context=2).marginal(), "NSF", ContextError),
        (lambda: ug.MAF(3).marginal().log_prob(torch.zeros(2, 4)), "MAF", ShapeError),
    ],
)
def test_errors_name_the_family_that_was_written(make, name, error):
    with pytest.raises(error, match=f"^{name}"):
        make()


def test_a_composition_of_everything_is_saved_and_loaded(tmp_path):
    layers = [
        ug.ActNorm(),
        ug.LULinear(),
        ug.Coupling(ug.Spline(4), (8,), stay=(1,)),
        ug.Permutation((2, 0, 1)),
        ug.Autoregressive(ug.Affine(), (8,), order=(1, 0, 2)),
        ug.Inverse(ug.Autoregressive(ug.Additive(), (8,))),
        ug.Zuko("MAF", {"transforms": 1, "hidden_features": (8,)}),
    ]
    flow = ug.Flow(3, layers, context=2, support=ug.Logit(0.01))
    x, c = torch.rand(30, 3), torch.randn(30, 2)
    flow.initialise(x, c)
    ug.save(flow, tmp_path / "flow")
    assert torch.equal(ug.load(tmp_path / "flow").log_prob(x, c).value, flow.log_prob(x, c).value)
    assert flow.round_trip(x, c) < 1e-4
    assert any("zuko" in how for how in flow.inverse_by)


def test_initialise_standardises_and_normalises_in_turn():
    x = 100 + 30 * torch.randn(3000, 2)
    flow = ug.Flow(2, [ug.LULinear(), ug.ActNorm()])
    flow.initialise(x)
    z = flow.to_noise(x[:1024])
    assert z.mean(0).abs().max() < 1e-3 and (z.std(0) - 1).abs().max() < 1e-3
    value = flow.log_prob(x).value.mean()
    assert abs(value - (-2 * math.log(30) - math.log(2 * math.pi * math.e))) < 0.1
