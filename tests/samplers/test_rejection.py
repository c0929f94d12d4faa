"""Rejection by the exact density ratio gives the data's distribution; a z-test sees the uncorrected draws."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats

from tests.critics import exact_critic, program, z_scores
from unigen.errors import ArgumentError, NonFiniteError, UnsupportedQueryError
from unigen.models.vae import VAE
from unigen.nn.critic import Critic
from unigen.samplers.rejection import Rejection

N = 6000


def test_accepted_draws_have_the_distribution_of_the_data() -> None:
    gan = program()
    x = gan.sample(N, sampler=Rejection(exact_critic()))
    assert x.shape == (N, 1)
    assert max(abs(z) for z in z_scores(x)) < 5
    assert stats.kstest(x.squeeze(1).double().numpy(), "norm").pvalue > 1e-6
    assert min(abs(z) for z in z_scores(gan.sample(N))) > 20


def test_the_acceptance_is_the_ratio_over_its_largest_value_and_gamma_shifts_its_logit() -> None:
    l, m = torch.tensor([-3.0, -1.0, 0.5]).double(), torch.tensor(0.5).double()
    torch.testing.assert_close(
        Rejection(exact_critic()).probability(l, m), (l - m).exp(), atol=2e-6, rtol=1e-5
    )
    shifted = Rejection(exact_critic(), gamma=1.0).probability(l, m)
    torch.testing.assert_close(shifted.logit(), Rejection(exact_critic()).probability(l, m).logit() - 1)


def test_a_context_stays_with_its_draw() -> None:
    gan, critic = program(context=1), exact_critic(context=1)
    c = torch.tensor([[-10.0], [20.0]]).repeat(N // 2, 1)
    x = gan.sample(N, c, sampler=Rejection(critic))
    assert max(abs(z) for z in z_scores(x - c)) < 5


def test_a_program_with_noise_of_its_own_can_be_corrected_too() -> None:
    vae = VAE(1, 1, hidden=(4,))
    assert vae.sample(7, sampler=Rejection(exact_critic())).shape == (7, 1)


def test_what_cannot_be_corrected_is_refused() -> None:
    wrong: Any = torch.nn.Linear(1, 1)
    with pytest.raises(ArgumentError, match="a trained Critic"):
        Rejection(wrong)
    for reading in ("potential", None):
        critic = Critic(1) if reading is None else Critic(1).read_as(reading)
        with pytest.raises(UnsupportedQueryError, match="log ratio"):
            Rejection(critic)
    for make in (
        lambda: Rejection(exact_critic(), 0),
        lambda: Rejection(exact_critic(), tries=0),
        lambda: Rejection(exact_critic(), gamma=math.nan),
    ):
        with pytest.raises(ArgumentError, match="expected"):
            make()
    with pytest.raises(UnsupportedQueryError, match="gamma=-2"):
        program().sample(50, sampler=Rejection(exact_critic(), gamma=20.0, tries=2))
    broken = exact_critic()
    broken.net = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(broken.net.weight, math.nan)
    with pytest.raises(NonFiniteError, match="NaN"):
        program().sample(5, sampler=Rejection(broken))
