from __future__ import annotations

import math

import pytest
import torch

from unigen.distributions.empirical import Empirical
from unigen.errors import DTypeError, EmptyDataError, NoDensityError, NonFiniteError, ShapeError


def test_every_point_is_drawn_equally_often():
    n = 30_000
    draws = Empirical(torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]]))().sample((n,))
    assert torch.equal(draws[:, 1], 10 * draws[:, 0])
    values, counts = draws[:, 0].unique(return_counts=True)
    assert values.tolist() == [1.0, 2.0, 4.0]
    assert ((counts / n - 1 / 3).abs() < 5 * math.sqrt(2 / 9 / n)).all()


def test_points_move_and_are_saved_with_the_part():
    part = Empirical(torch.ones(3, 2)).double()
    assert part().sample((4,)).dtype is torch.float64
    assert list(part.state_dict()) == ["points"]
    assert part().expand([5]).sample().shape == (5, 2)


def test_there_is_no_density():
    with pytest.raises(NoDensityError):
        Empirical(torch.ones(3, 2))().log_prob(torch.ones(1, 2))


def test_bad_points_are_refused():
    with pytest.raises(ShapeError, match="None"):
        Empirical(torch.ones(3))
    with pytest.raises(EmptyDataError):
        Empirical(torch.ones(0, 2))
    with pytest.raises(NonFiniteError):
        Empirical(torch.full((2, 2), math.inf))
    with pytest.raises(DTypeError):
        Empirical("points")
