"""The aggregated posterior at PPCA's optimum is white; a displaced one is measured as such."""

from __future__ import annotations

import math

import pytest
import torch

import unigen as ug
from tests.programs import Switch
from unigen.errors import UnsupportedQueryError
from unigen.evaluate.whiteness import Whiteness, whiteness
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE


def solved() -> tuple[PPCA, torch.Tensor]:
    program, x = PPCA(5, 2).double(), torch.randn(200, 5).double() @ torch.randn(5, 5).double() + 3
    program.solve(x)
    return program, x


def test_ppca_is_white_on_its_own_data_and_on_no_others():
    program, x = solved()
    found = whiteness(program, x)
    assert found.distance < 1e-8 and abs(found.kl) < 1e-8
    moved = whiteness(program, 2 * x)
    means = program.posterior(2 * x).mean
    assert torch.allclose(moved.mean, means.mean(0))
    within = program.posterior(x).covariance_matrix
    expected = torch.cov(means.mT, correction=0) + within.reshape(-1, 2, 2)[0]
    assert torch.allclose(moved.covariance, expected) and moved.distance > 0.5


def test_by_draws_it_agrees_within_their_error():
    program, x = VAE(3, 2, hidden=(4,)), torch.randn(300, 3)
    exact = whiteness(program, x)
    q = program.posterior(x)
    z = torch.stack([q.sample() for _ in range(200)]).reshape(-1, 2).double()
    error = exact.covariance.diagonal().max() * (2 / z.shape[0]) ** 0.5
    assert ((torch.cov(z.mT, correction=0) - exact.covariance).abs() < 6 * error).all()
    flow = VAE(3, 2, hidden=(4,), prior=ug.NSF(2))
    assert whiteness(flow, x, seed=1).covariance.shape == (2, 2)


def test_numbers_of_known_moments():
    found = Whiteness(torch.tensor([1.0, 0.0]), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    assert found.kl == pytest.approx(0.5 * (3 + 1 - 2 - math.log(2)))
    assert found.distance == 1.0
    assert "1 … 1.41" in str(found)
    with pytest.raises(UnsupportedQueryError):
        whiteness(Switch(), torch.zeros(4, 1))
