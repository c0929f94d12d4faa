"""Denoising score matching of an energy: its value in closed form for a Gaussian, its optimum, its unit of length."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.energies import Scaled
from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import ArgumentError, NoDensityError
from unigen.models.energy import EnergyModel
from unigen.models.potential import Potential
from unigen.models.vae import VAE
from unigen.nn.tilt import Tilt
from unigen.objectives.noisy_score_matching import NoisyScoreMatching
from unigen.objectives.score_matching import ScoreMatching

F64 = torch.float64


def gradients(loss: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss(x), list(loss.parameters()))])


def test_the_value_for_a_gaussian_is_its_closed_form() -> None:
    """s = −P x, x ~ N(0, C), all diagonal: ½ Σ (σ² P² (C + σ²) − 2 σ² P + 1), P and C any two."""
    c, p, sigma, n = torch.tensor([1.0, 0.4], dtype=F64), torch.tensor([0.7, 3.0], dtype=F64), 0.6, 20_000
    program = Potential(Scaled(torch.diag(p), torch.zeros(2, dtype=F64)), 2)
    loss: Any = NoisyScoreMatching(sigma).players(program)[0].loss
    terms = loss.terms(c.sqrt() * torch.randn(n, 2, dtype=F64)).detach()
    exact = 0.5 * (sigma**2 * p**2 * (c + sigma**2) - 2 * sigma**2 * p + 1).sum()
    assert terms.shape == (n,)
    assert abs(float(terms.mean() - exact)) < 5 * float(terms.std()) / n**0.5


def test_the_terms_are_those_of_the_formula_under_their_own_noise() -> None:
    program = Potential(lambda x: 0.25 * x.pow(4).sum(-1), 3)
    x, sigma = torch.randn(5, 3, dtype=F64), 0.4
    loss: Any = NoisyScoreMatching(sigma).players(program)[0].loss
    torch.manual_seed(0)
    found = loss.terms(x)
    torch.manual_seed(0)
    eps = torch.randn_like(x)
    torch.testing.assert_close(found, 0.5 * (-sigma * (x + sigma * eps) ** 3 + eps).square().sum(1))


def test_denoising_learns_the_density_of_noisy_data_and_not_of_the_data() -> None:
    sigma, batches, n = 0.5, 60, 2000
    root = torch.tensor([1.0, 0.6], dtype=F64)
    z = {}
    for extra in (sigma**2, 0.0):
        program = Potential(Scaled(torch.diag(1 / (root**2 + extra)), torch.zeros(2).double()), 2)
        (player,) = NoisyScoreMatching(sigma).players(program)
        found = torch.stack(
            [gradients(player.loss, root * torch.randn(n, 2, dtype=F64)) for _ in range(batches)]
        )
        z[extra] = found.mean(0) / (found.std(0) / batches**0.5)
    assert z[sigma**2].abs().max() < 5 and z[0.0].abs().max() > 20


def test_noise_is_noted_and_measured_in_the_length_of_the_program() -> None:
    model = EnergyModel(2, energy=Tilt(2, hidden=(4,)))
    model.length.fill_(7.0)
    (player,) = NoisyScoreMatching(0.3).players(model)
    assert float(model.noise) == pytest.approx(0.3)
    seen = []
    model.f.register_forward_hook(lambda module, given, output: seen.append(given[0].detach()))
    player.loss(torch.zeros(4000, 2))
    assert abs(float(seen[0].std()) / 0.3 - 1) < 5 / 8000**0.5
    ScoreMatching().players(model)
    assert float(model.noise) == 0.0


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan])
def test_noise_that_is_not_positive_is_refused(noise: float) -> None:
    with pytest.raises(ArgumentError, match=r"noise.*> 0"):
        NoisyScoreMatching(noise)


def test_programs_without_a_score_are_refused() -> None:
    for program, match in ((VAE(4, 2, likelihood=Bernoulli()), "on the reals"), (VAE(2, 1), "lower bound")):
        with pytest.raises(NoDensityError, match=match):
            NoisyScoreMatching().players(program)
