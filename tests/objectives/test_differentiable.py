from __future__ import annotations

import pytest
import torch

from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import ArgumentError
from unigen.models.gan import GAN
from unigen.models.vae import VAE
from unigen.objectives.differentiable import check_draws


def test_draws_that_carry_gradients_pass_and_leave_the_random_state() -> None:
    gan, vae = GAN((2, 3), 2, context=1), VAE(3, 2)
    state = torch.get_rng_state()
    y, context = check_draws(gan)
    assert y.shape == (2, 2, 3) and not y.requires_grad
    assert context is not None and context.shape == (2, 1)
    assert check_draws(vae)[1] is None
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_that_carry_none_are_refused() -> None:
    with pytest.raises(ArgumentError, match="differentiable"):
        check_draws(VAE(3, 2, likelihood=Bernoulli()))
