"""Uniform codes: every code of the table has the same mass."""

from __future__ import annotations

import itertools

import pytest
import torch

from unigen.distributions.uniform_codes import UniformCodes
from unigen.errors import ArgumentError


def test_every_code_has_the_same_mass():
    p = UniformCodes(3, (2, 2))()
    z = torch.tensor(list(itertools.product(range(3), repeat=4))).float().reshape(-1, 2, 2)
    torch.testing.assert_close(p.log_prob(z).exp(), torch.full((81,), 1 / 81))
    draws = p.sample((9000,))
    counts = torch.stack([(draws == k).float().mean(0) for k in range(3)])
    assert draws.shape == (9000, 2, 2) and (counts - 1 / 3).abs().max() < 5 * (2 / 9 / 9000) ** 0.5
    assert p.mean.shape == (2, 2)


def test_bad_sizes_are_refused():
    for codes, shape in ((1, (2,)), (3, ()), (3, (0,))):
        with pytest.raises(ArgumentError):
            UniformCodes(codes, shape)
