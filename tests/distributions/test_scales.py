"""Oracle: log1p(exp(·)) in closed form, and the round trip."""

from __future__ import annotations

import math

import torch

from unigen.distributions.scales import FLOOR, inverse_softplus, positive, raw_scale


def test_zero_is_one_and_the_floor_holds():
    rho = torch.tensor([0.0, -1e4, 1e4], dtype=torch.float64)
    sigma = positive(rho)
    torch.testing.assert_close(
        sigma, torch.tensor([1.0, FLOOR, 1e4 + inverse_softplus(1 - FLOOR) + FLOOR]).double()
    )
    assert abs(math.log1p(math.exp(inverse_softplus(0.7))) - 0.7) < 1e-14


def test_raw_scale_is_the_inverse():
    sigma = torch.logspace(-2.9, 6, 50, dtype=torch.float64)
    torch.testing.assert_close(positive(raw_scale(sigma)), sigma, rtol=1e-12, atol=0)
    assert positive(raw_scale(torch.zeros(1))) > FLOOR
