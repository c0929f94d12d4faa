"""Oracles: zuko's own density, quadrature, brute-force Jacobians; each inverse is checked to what it claims."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from unigen.distributions.bijection import inverse, value_and_log_det
from unigen.distributions.flows import ChangeOfVariables
from unigen.distributions.layers import assemble
from unigen.distributions.zuko_adapter import zuko_flows
from unigen.distributions.zuko_layer import NUMERICAL, WITHOUT, Zuko, ZukoStep
from unigen.errors import ArgumentError, UnknownNameError

F64 = torch.float64
NAMES = sorted(set(zuko_flows()) - set(WITHOUT))
each_name = pytest.mark.parametrize("name", NAMES)


def build(name, features, context=0):
    options = {"transforms": 2, "hidden_features": (8, 8)}
    flow = ChangeOfVariables(assemble([Zuko(name, options)], (features,), context), context=context)
    return flow.double().requires_grad_(False)


def data(name, n, features):
    scale = math.pi if name == "NCSF" else 2.0
    return scale * (2 * torch.rand(n, features, dtype=F64) - 1)


def test_every_flow_of_zuko_is_there():
    assert set(NAMES) == {"NICE", "RealNVP", "MAF", "NSF", "NAF", "UNAF", "SOSPF", "BPF", "NCSF"}


@each_name
@pytest.mark.parametrize("context", [0, 2])
def test_log_det_equals_the_brute_force_jacobian(name, context):
    flow = build(name, 3, context)
    x = data(name, 4, 3)
    c = torch.randn(4, context, dtype=F64) if context else None
    _, ladj = value_and_log_det(flow.transform(c), x)
    for i in range(4):
        f = flow.transform(None if c is None else c[i])
        j = torch.autograd.functional.jacobian(lambda v, f=f: f(v), x[i])
        assert abs(torch.linalg.slogdet(j)[1] - ladj[i]) < 1e-10


@each_name
@pytest.mark.parametrize("context", [0, 2])
def test_the_inverse_is_what_it_says(name, context):
    flow = build(name, 3, context)
    x = data(name, 20, 3)
    c = torch.randn(20, context, dtype=F64) if context else None
    says = flow.inverse_by[0]
    assert ("numerical" in says) == (name in NUMERICAL)
    f = flow.transform(c)
    miss = (f(inverse(f, f(x))) - f(x)).abs().max()  # in z, where the steps before do not stretch the error
    assert miss < (1e-3 if name in NUMERICAL else 1e-10)
    if name not in NUMERICAL:
        assert flow.round_trip(x, c) < 1e-10


@each_name
def test_the_density_is_zukos(name):
    flow = build(name, 3)
    step = flow.steps[0]
    assert isinstance(step, ZukoStep)
    x = data(name, 20, 3)
    z, ladj = step.lazy(None).call_and_ladj(x)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    base = torch.full_like(base, -3 * math.log(2 * math.pi)) if name == "NCSF" else base
    torch.testing.assert_close(flow().log_prob(x), base + ladj, rtol=0, atol=1e-10)


@each_name
@torch.no_grad()
def test_it_integrates_to_one(name):
    flow = build(name, 2)
    half = math.pi if name == "NCSF" else 10.0
    intervals, order = (15, 4) if name == "UNAF" else (100, 3)
    u, w = (torch.as_tensor(a) for a in np.polynomial.legendre.leggauss(order))
    cuts = torch.linspace(-half, half, intervals + 1, dtype=F64)
    x = (cuts[:-1, None] + cuts.diff()[:, None] / 2 * (u + 1)).flatten()
    weight = (cuts.diff()[:, None] / 2 * w).flatten()
    points = torch.cartesian_prod(x, x).split(20_000)
    value = torch.cat([flow().log_prob(rows).exp() for rows in points]).reshape(x.shape[0], -1)
    # the polynomial and neural flows are bijections of [−10, 10] only: some mass may stay outside
    assert abs(float(weight @ value @ weight) - 1) < (3e-2 if name in NUMERICAL else 3e-3)


def test_without_gradients_nothing_keeps_a_graph():
    with torch.no_grad():
        assert not build("NAF", 2)().log_prob(torch.zeros(3, 2, dtype=F64)).requires_grad


def test_angles_reach_both_ends():
    flow = build("NCSF", 2)
    x = torch.tensor([[-math.pi, 0.3], [math.pi, 0.3]], dtype=F64)
    assert torch.isfinite(flow().log_prob(x)).all()
    draws = flow().sample((500,))
    assert draws.abs().max() <= math.pi + 1e-6


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_what_is_left_out_says_why(name):
    with pytest.raises(ArgumentError, match=WITHOUT[name].split()[-1]):
        Zuko(name).build((3,), 0, 0)


def test_unknown_names_options_and_shapes_are_refused():
    with pytest.raises(UnknownNameError, match="NAF"):
        Zuko("Nope").build((3,), 0, 0)
    with pytest.raises(ArgumentError):
        Zuko("MAF", {"nope": 3}).build((3,), 0, 0)
    with pytest.raises(ArgumentError):
        Zuko("MAF", {"features": 4}).build((3,), 0, 0)
    with pytest.raises(ArgumentError):
        Zuko("MAF").build((1, 4, 4), 0, 0)
