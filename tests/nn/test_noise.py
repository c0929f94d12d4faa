"""Diffusion coefficients: positive, their initial scale, and each on its own coordinate alone."""

from __future__ import annotations

import pytest
import torch

from unigen.errors import ArgumentError, ShapeError
from unigen.nn.noise import ConstantNoise, DiagonalNoise


def test_constant_noise():
    noise, x = ConstantNoise(2, 0.3), torch.randn(4, 5, 2)
    torch.testing.assert_close(noise(x, torch.zeros(())), torch.full((4, 5, 2), 0.3))
    assert len(list(noise.parameters())) == 1 and not list(ConstantNoise(2, learned=False).parameters())
    assert "log_scale" in ConstantNoise(2, learned=False).state_dict()


def test_diagonal_noise_is_of_each_coordinate_alone():
    noise, x = DiagonalNoise(3, 0.5), 3 * torch.randn(200, 3)
    g = noise(x, torch.zeros(())).detach()
    assert bool(((g > 0) & (g < 2.0)).all())
    assert abs(float(g.mean()) - 0.5) < 0.3
    slopes = torch.autograd.functional.jacobian(lambda at: noise(at[None], torch.zeros(()))[0], x[0])
    assert (
        bool((slopes.diagonal() != 0).all()) and float((slopes - slopes.diagonal().diag()).abs().max()) == 0
    )
    assert noise(x.reshape(2, 100, 3), torch.zeros(())).shape == (2, 100, 3)


@pytest.mark.parametrize("kind", [ConstantNoise, DiagonalNoise])
def test_bad_arguments_are_refused(kind):
    for arguments in ((0,), (2, 0.0), (2, float("nan"))):
        with pytest.raises(ArgumentError, match=kind.__name__):
            kind(*arguments)
    with pytest.raises(ShapeError):
        kind(2)(torch.zeros(3, 1), torch.zeros(()))
