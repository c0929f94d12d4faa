from __future__ import annotations

import pytest
import torch
from scipy import stats

from tests.critics import exact_critic, program, z_scores
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.nn.critic import Critic
from unigen.samplers.importance_resampling import ImportanceResampling

N = 4000


def test_resampled_draws_have_the_distribution_of_the_data() -> None:
    gan = program()
    x = gan.sample(N, sampler=ImportanceResampling(exact_critic(), 256))
    assert x.shape == (N, 1)
    assert max(abs(z) for z in z_scores(x)) < 5
    assert stats.kstest(x.squeeze(1).double().numpy(), "norm").pvalue > 1e-6
    assert min(abs(z) for z in z_scores(gan.sample(N, sampler=ImportanceResampling(exact_critic(), 1)))) > 20


def test_a_context_stays_with_its_draw() -> None:
    gan, critic = program(context=1), exact_critic(context=1)
    c = torch.tensor([[-10.0], [20.0]]).repeat(N // 2, 1)
    x = gan.sample(N, c, sampler=ImportanceResampling(critic, 128))
    assert max(abs(z) for z in z_scores(x - c)) < 5


def test_what_cannot_be_corrected_is_refused() -> None:
    with pytest.raises(ArgumentError, match="proposals"):
        ImportanceResampling(exact_critic(), 0)
    with pytest.raises(UnsupportedQueryError):
        ImportanceResampling(Critic(1).read_as("potential"))
