from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import ArgumentError, ShapeError, UnsupportedQueryError
from unigen.models.energy import EnergyModel
from unigen.models.gan import GAN
from unigen.models.mixture import GaussianMixture
from unigen.models.vae import VAE
from unigen.samplers.langevin import Langevin

N = 50_000


class Zero(nn.Module):
    def forward(self, u: Tensor) -> Tensor:
        return 0.0 * u.sum(-1)


def normal() -> EnergyModel:
    return EnergyModel(1, energy=Zero())


def z_of_variance(x: Tensor, variance: float) -> float:
    return float((x.var() - variance) / (variance * math.sqrt(2 / x.numel())))


def start(n: int, context: Tensor | None) -> Tensor:
    return torch.zeros(n, 1)


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_an_energy_is_sampled_with_the_bias_of_the_step(temperature: float) -> None:
    sampler = Langevin(steps=60, step_size=0.1, start=start, temperature=temperature)
    x = normal().sample(N, sampler=sampler)
    assert abs(z_of_variance(x, temperature * 1.052632)) < 5


def test_the_metropolis_correction_removes_the_bias() -> None:
    sampler = Langevin(steps=30, step_size=0.5, start=lambda n, c: torch.randn(n, 1), adjusted=True)
    assert abs(z_of_variance(normal().sample(N, sampler=sampler), 1.0)) < 5


def test_steps_are_measured_in_the_length_of_the_program() -> None:
    model = normal()
    model.initialise(torch.tensor([[-100.0], [100.0]]))
    model.fitted = True
    x = model.sample(N, sampler=Langevin(steps=60, step_size=0.1, start=start))
    assert abs(z_of_variance(x / 100, 1.052632)) < 5


def test_the_last_step_takes_the_noise_off_by_the_posterior_mean() -> None:
    # data N(0, 3) under noise of variance 1: p = N(0, 4), E[x0 | x] = 3/4 x
    model = normal()
    model.initialise(torch.tensor([[-2.0], [2.0]]))
    x = torch.linspace(-5, 5, 11).unsqueeze(1)
    model.noise.fill_(0.5)
    draws = model.sample(11, sampler=Langevin(steps=0, start=lambda n, c: x))
    torch.testing.assert_close(draws, 0.75 * x)
    draws = model.sample(11, sampler=Langevin(steps=0, start=lambda n, c: x, denoise=False))
    torch.testing.assert_close(draws, x)


def test_draws_start_from_the_persistent_chains() -> None:
    model = normal()
    model.chains.put(torch.full((128, 1), 7.0))
    torch.testing.assert_close(model.sample(300, sampler=Langevin(steps=0)), torch.full((300, 1), 7.0))


def test_an_explicit_density_is_sampled_like_an_energy() -> None:
    program = GaussianMixture(2, components=1)
    exact = program.sample(4000)
    x = program.sample(4000, sampler=Langevin(steps=150, step_size=0.05, adjusted=True))
    error = 5 * float(exact.std()) * math.sqrt(2 / 4000)
    assert float((x.mean(0) - exact.mean(0)).abs().max()) < error
    assert float((x.std(0) - exact.std(0)).abs().max()) < error


def test_what_langevin_cannot_do_is_refused() -> None:
    with pytest.raises(UnsupportedQueryError, match="Euclidean"):
        VAE(3, 2, likelihood=Bernoulli()).sample(2, sampler=Langevin(steps=1))
    with pytest.raises(UnsupportedQueryError, match="the density itself"):
        VAE(3, 2).sample(2, sampler=Langevin(steps=1, adjusted=True))
    with pytest.raises(NotImplementedError, match="no density"):
        GAN(3, 2).sample(2, sampler=Langevin(steps=1))
    with pytest.raises(ShapeError, match=r"got \(2, 1\), expected \(2, 3\)"):
        EnergyModel(3).sample(2, sampler=Langevin(steps=1, start=start))
    with pytest.raises(ArgumentError, match="step_size"):
        Langevin(step_size=-0.1)
    assert VAE(3, 2).sample(2, sampler=Langevin(steps=1)).shape == (2, 3)
