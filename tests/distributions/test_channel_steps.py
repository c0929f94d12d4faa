"""Oracles: the dense matrix of each linear map, torch's convolution, brute-force determinants."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unigen.distributions.bijection import inverse, value_and_log_det
from unigen.distributions.channel_steps import ActNormStep, LinearStep, PermutationStep

F64 = torch.float64
each_shape = pytest.mark.parametrize("shape", [(5,), (4, 3, 2)])


def moved(step):
    step = step.double()
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return step.requires_grad_(False)


@each_shape
@pytest.mark.parametrize(
    "kind", [LinearStep, ActNormStep, lambda s: PermutationStep(s, torch.randperm(s[0]))]
)
def test_jacobian_and_round_trip(shape, kind):
    step = moved(kind(shape))
    x = torch.randn(2, 7, *shape, dtype=F64)
    z, ladj = value_and_log_det(step(), x)
    assert z.shape == x.shape and ladj.shape == (2, 7)
    assert (inverse(step(), z) - x).abs().max() < 1e-12
    far = 1e4 * x
    assert (inverse(step(), step()(far)) - far).abs().max() < 1e-12 * 1e6
    f = step()
    j = torch.autograd.functional.jacobian(lambda v: f(v.reshape(shape)).flatten(), x[0, 0].flatten())
    assert abs(torch.linalg.slogdet(j)[1] - ladj[0, 0]) < 1e-10


def test_the_matrix_starts_as_a_rotation_and_is_a_convolution():
    step = LinearStep((6, 4, 4)).double()
    x = torch.randn(3, 6, 4, 4, dtype=F64)
    z, ladj = value_and_log_det(step(), x)
    assert ladj.abs().max() < 1e-4  # the rotation was rounded to single precision
    torch.testing.assert_close(z.square().sum((1, 2, 3)), x.square().sum((1, 2, 3)), rtol=1e-5, atol=0)
    f = step()
    weight = (f.lower @ f.upper)[f.order]
    torch.testing.assert_close(z, F.conv2d(x, weight[:, :, None, None]), rtol=1e-12, atol=1e-12)


@each_shape
def test_actnorm_starts_from_the_data(shape):
    x = 3 + 5 * torch.randn(400, *shape, dtype=F64)
    step = ActNormStep(shape).double()
    step.initialise(x)
    z = step()(x).transpose(0, 1).flatten(1)
    assert z.mean(1).abs().max() < 1e-12 and (z.std(1) - 1).abs().max() < 1e-12


def test_sign_and_order_are_saved():
    one, other = LinearStep((5,)), LinearStep((5,))
    other.load_state_dict(one.state_dict())
    x = torch.randn(3, 5)
    assert torch.equal(one()(x), other()(x))
