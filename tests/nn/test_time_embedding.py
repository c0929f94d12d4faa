from __future__ import annotations

import math

import pytest
import torch

from unigen.errors import ArgumentError
from unigen.nn.time_embedding import TimeEmbedding


def test_equals_sines_and_cosines_computed_one_by_one() -> None:
    embed = TimeEmbedding(6, low=0.5, high=8.0).double()
    frequencies = [0.5, 2.0, 8.0]
    t = 0.3
    expected = [math.sqrt(2) * math.cos(2 * math.pi * f * t) for f in frequencies]
    expected += [math.sqrt(2) * math.sin(2 * math.pi * f * t) for f in frequencies]
    got = embed(torch.tensor(t, dtype=torch.float64))
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), atol=1e-5, rtol=0)


def test_kernel_is_stationary_and_mean_square_is_one() -> None:
    embed = TimeEmbedding(32)
    t = torch.linspace(0, 1, 9)
    e = embed(t)
    torch.testing.assert_close(e.square().mean(-1), torch.ones(9), atol=1e-5, rtol=0)
    gram = e @ e.T
    for lag in range(9):
        diagonal = gram.diagonal(lag)
        expected = 2 * torch.cos(embed.frequencies * (lag / 8)).sum()
        torch.testing.assert_close(diagonal, expected.expand(9 - lag), atol=2e-3, rtol=0)


def test_times_are_told_apart() -> None:
    e = TimeEmbedding(64)(torch.linspace(0, 1, 1001))
    distance = torch.cdist(e, e) + 1e3 * torch.eye(1001)
    assert distance.min() > 0.3


def test_any_shape_and_dtype() -> None:
    embed = TimeEmbedding(8)
    assert embed(torch.rand(())).shape == (8,)
    assert embed(torch.rand(3, 4)).shape == (3, 4, 8)
    assert embed(torch.rand(3, dtype=torch.float64)).dtype == torch.float32
    assert embed.double()(torch.rand(3)).dtype == torch.float64


def test_holds_nothing_to_train_or_store() -> None:
    embed = TimeEmbedding(8)
    assert not list(embed.parameters())
    assert not embed.state_dict()


@pytest.mark.parametrize(
    "arguments", [{"features": 7}, {"features": 0}, {"low": 0.0}, {"low": 2.0, "high": 1.0}]
)
def test_bad_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(ArgumentError):
        TimeEmbedding(**arguments)
