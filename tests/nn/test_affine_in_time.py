from __future__ import annotations

import pytest
import torch

from unigen.errors import ArgumentError
from unigen.nn.affine_in_time import AffineInTime

F64 = torch.float64


def test_the_least_squares_fit_is_that_of_lapack():
    net = AffineInTime(2, knots=4).double()
    x, t, target = torch.randn(300, 2, dtype=F64), torch.rand(300, dtype=F64), torch.randn(300, 2, dtype=F64)
    net.solve(x, t, target)
    expected = torch.linalg.lstsq(net.regressors(x, t), target).solution
    assert (net.weight - expected).abs().max() < 1e-5  # the ridge of 1e-8, relative


def test_a_map_linear_in_time_between_knots_is_found_exactly():
    net, knots = AffineInTime(1, knots=3).double(), torch.tensor([0.0, 0.5, 1.0], dtype=F64)
    x, t = torch.randn(500, 1, dtype=F64), torch.rand(500, dtype=F64)
    kink = (t - knots[1]).abs()[:, None]
    net.solve(x, t, (1 + kink) * x - 2 * kink)
    y, s = torch.randn(50, 1, dtype=F64), torch.rand(50, dtype=F64)
    kink = (s - knots[1]).abs()[:, None]
    assert (net(y, s) - (1 + kink) * y + 2 * kink).abs().max() < 1e-6


def test_hats_sum_to_one_and_one_time_serves_all():
    net, x = AffineInTime(2, knots=5), torch.randn(7, 2)
    assert torch.allclose(
        net.regressors(x, torch.rand(7)).reshape(7, 5, 3).sum(1), torch.cat([x, torch.ones(7, 1)], 1)
    )
    assert net(x, torch.tensor(0.3)).shape == (7, 2)


@pytest.mark.parametrize("arguments", [(0, 4), (2, 1)])
def test_sizes_that_make_no_map(arguments: tuple[int, int]):
    with pytest.raises(ArgumentError):
        AffineInTime(*arguments)
