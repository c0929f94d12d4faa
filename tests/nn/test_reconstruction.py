from __future__ import annotations

import pytest
import torch

from unigen.errors import ArgumentError
from unigen.nn.reconstruction import Reconstruction


def test_the_energy_is_the_weighted_square_of_what_is_not_reconstructed() -> None:
    energy = Reconstruction(3, hidden=(8,), context=2, spread=0.5).double()
    x, c = torch.randn(2, 5, 3).double(), torch.randn(5, 2).double()
    assert float((energy.log_w.detach().exp() - 4).abs().max()) < 1e-5
    expected = (0.5 * (x - energy.r(x, c)) ** 2 * energy.log_w.exp()).sum(-1)
    torch.testing.assert_close(energy(x, c), expected, atol=1e-12, rtol=0)


def test_it_grows_like_a_quadratic_whatever_the_weights() -> None:
    energy = Reconstruction(2, hidden=(8,))
    with torch.no_grad():
        for p in energy.r.parameters():
            p.mul_(30)
    x = 1000 * torch.nn.functional.normalize(torch.randn(50, 2), dim=1)
    ratio = energy(x).detach() / (0.5 * x.square().sum(1))
    assert float((ratio - 1).abs().max()) < 0.02


def test_a_spread_of_zero_is_refused() -> None:
    with pytest.raises(ArgumentError, match="spread"):
        Reconstruction(2, spread=0.0)
