"""Langevin in the latent space on log p(z) + log p/q(G(z)) gives the data's distribution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats

from tests.critics import exact_critic, program, z_scores
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.models.gan import GAN
from unigen.models.vae import VAE
from unigen.nn.critic import Critic
from unigen.samplers.latent_langevin import LatentLangevin

N = 4000


@pytest.mark.parametrize("adjusted", [True, False])
def test_the_ends_of_the_chains_have_the_distribution_of_the_data(adjusted: bool) -> None:
    """x = 1.5 z + .5, so z must end as N(−1/3, 1/1.5²); an unadjusted h = .01 is off by .006 of a variance."""
    steps, h = (150, 0.2) if adjusted else (400, 0.01)
    sampler = LatentLangevin(exact_critic(), steps, h, adjusted=adjusted)
    x = program().sample(N, sampler=sampler)
    assert max(abs(z) for z in z_scores(x)) < 5
    assert stats.kstest(x.squeeze(1).double().numpy(), "norm").pvalue > 1e-6
    start = program().sample(N, sampler=LatentLangevin(exact_critic(), 0))
    assert min(abs(z) for z in z_scores(start)) > 20


def test_a_context_stays_with_its_chain() -> None:
    gan, critic = program(context=1), exact_critic(context=1)
    c = torch.tensor([[-10.0], [20.0]]).repeat(N // 2, 1)
    x = gan.sample(N, c, sampler=LatentLangevin(critic, 100, 0.2))
    assert max(abs(z) for z in z_scores(x - c)) < 5


def test_programs_that_are_no_pushforward_are_refused() -> None:
    sampler = LatentLangevin(exact_critic(), 2)
    with pytest.raises(UnsupportedQueryError, match="function of one latent"):
        VAE(1, 1, hidden=(4,)).sample(3, sampler=sampler)
    with pytest.raises(UnsupportedQueryError, match="density of a latent"):
        GAN(1, 2, prior=GAN(2, 2)).sample(3, sampler=sampler)
    with pytest.raises(UnsupportedQueryError):
        LatentLangevin(Critic(1).read_as("potential"))
    wrong: Any = torch.nn.Linear(1, 1)
    for make in (
        lambda: LatentLangevin(exact_critic(), -1),
        lambda: LatentLangevin(exact_critic(), step_size=0.0),
        lambda: LatentLangevin(wrong),
    ):
        with pytest.raises(ArgumentError, match="expected"):
            make()
