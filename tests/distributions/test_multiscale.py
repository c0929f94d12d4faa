"""Oracles: reshaping by hand, brute-force determinants, and which pixels may depend on which."""

from __future__ import annotations

import torch

from unigen.distributions.bijection import inverse, value_and_log_det
from unigen.distributions.channel_layers import FactorOut, Squeeze
from unigen.distributions.layers import Coupling
from unigen.distributions.multiscale import SqueezeStep

F64 = torch.float64


def test_squeeze_gathers_blocks_of_two_by_two():
    x = torch.arange(2 * 4 * 6, dtype=F64).reshape(2, 4, 6)
    f = SqueezeStep((2, 4, 6))()
    z, ladj = value_and_log_det(f, x)
    assert z.shape == (8, 2, 3) and ladj.shape == () and ladj == 0
    for channel in range(2):
        for row in range(2):
            for column in range(2):
                assert torch.equal(z[4 * channel + 2 * row + column], x[channel, row::2, column::2])
    assert torch.equal(inverse(f, z), x)
    assert f.forward_shape(torch.Size((7, 2, 4, 6))) == (7, 8, 2, 3)
    assert f.inverse_shape(torch.Size((7, 8, 2, 3))) == (7, 2, 4, 6)


def test_the_half_that_goes_on_does_not_see_the_half_that_left():
    step = FactorOut([Squeeze(), Coupling(hidden=(8,))], hidden=(8,)).build((4, 4, 4), 0, 0).double()
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    step.requires_grad_(False)
    x, f = torch.randn(4, 4, 4, dtype=F64), step()
    z, ladj = value_and_log_det(f, x)
    j = torch.autograd.functional.jacobian(lambda v: f(v).flatten(), x).flatten(1)
    assert abs(torch.linalg.slogdet(j)[1] - ladj) < 1e-10
    assert (j[32:, :32] == 0).all() and (j[:32, 32:] != 0).any()
    early = j[:32, :32]
    assert torch.equal(early, torch.diag(early.diagonal()))
    assert (inverse(f, z) - x).abs().max() < 1e-12
