"""Underdamped Langevin draws of programs: moments, units, starts, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import unigen as ug
from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import ArgumentError, DivergedError, ShapeError, UnsupportedQueryError
from unigen.models.energy import EnergyModel
from unigen.models.mixture import GaussianMixture
from unigen.models.vae import VAE
from unigen.samplers.underdamped import UnderdampedLangevin

N = 30_000


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
def test_an_energy_is_sampled_without_bias_at_a_large_step(temperature):
    sampler = UnderdampedLangevin(steps=30, step_size=0.9, friction=1.5, start=start, temperature=temperature)
    assert abs(z_of_variance(normal().sample(N, sampler=sampler), temperature)) < 5


def test_steps_are_measured_in_the_length_of_the_program():
    model = normal()
    model.initialise(torch.tensor([[-100.0], [100.0]]))
    model.fitted = True
    x = model.sample(N, sampler=UnderdampedLangevin(steps=30, step_size=0.9, friction=1.5, start=start))
    assert abs(z_of_variance(x / 100, 1.0)) < 5


def test_the_last_step_takes_the_noise_off_by_the_posterior_mean():
    model = normal()
    model.initialise(torch.tensor([[-2.0], [2.0]]))
    x = torch.linspace(-5, 5, 11).unsqueeze(1)
    model.noise.fill_(0.5)
    draws = model.sample(11, sampler=UnderdampedLangevin(steps=0, start=lambda n, c: x))
    torch.testing.assert_close(draws, 0.75 * x)
    draws = model.sample(11, sampler=UnderdampedLangevin(steps=0, start=lambda n, c: x, denoise=False))
    torch.testing.assert_close(draws, x)


def test_an_explicit_density_is_sampled_like_an_energy():
    program = GaussianMixture(2, components=1)
    exact = program.sample(4000)
    x = program.sample(4000, sampler=UnderdampedLangevin(steps=80, step_size=0.3))
    error = 6 * float(exact.std()) * math.sqrt(2 / 4000)
    assert float((x.mean(0) - exact.mean(0)).abs().max()) < error
    assert float((x.std(0) - exact.std(0)).abs().max()) < error


def test_seeds_and_persistence(tmp_path):
    program = EnergyModel(2, sampler=UnderdampedLangevin(steps=3, friction=2.0))
    assert torch.equal(program.sample(4, seed=0), program.sample(4, seed=0))
    again = ug.load(ug.save(program, tmp_path / "energy.safetensors"))
    assert isinstance(again.sampler, UnderdampedLangevin) and again.sampler.friction == 2.0


def test_what_it_cannot_do_is_refused():
    with pytest.raises(UnsupportedQueryError, match="Euclidean"):
        VAE(3, 2, likelihood=Bernoulli()).sample(2, sampler=UnderdampedLangevin(steps=1))
    with pytest.raises(ShapeError, match=r"got \(2, 1\), expected \(2, 3\)"):
        EnergyModel(3).sample(2, sampler=UnderdampedLangevin(steps=1, start=start))
    with pytest.raises(ArgumentError, match="friction"):
        UnderdampedLangevin(friction=-1.0)
    with pytest.raises(DivergedError) as caught:
        normal().sample(3, sampler=UnderdampedLangevin(steps=300, step_size=50.0))
    assert caught.value.partial[0].shape == (3, 1)
