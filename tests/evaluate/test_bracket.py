"""The bracket on simulated data: closed forms inside, the gap shrinks, refusals."""

from __future__ import annotations

import pytest
import torch

from tests.programs import Switch, Toy
from unigen.densities.ais import AIS
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.evaluate.bracket import bracket
from unigen.models.energy import EnergyModel
from unigen.models.vae import VAE, linear_vae


def gaussian_truth(vae, x: torch.Tensor) -> torch.Tensor:
    """log p(x) of a linear VAE, N(b, WWᵀ + σ²I)."""
    weight, bias = (vae.decoder.get_parameter(f"layers.0.{name}") for name in ("weight", "bias"))
    sigma = vae.likelihood(torch.zeros(x.shape[1]).double(), x.shape[1:]).base_dist.scale
    covariance = weight @ weight.mT + torch.diag(sigma.square())
    return torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)


def test_a_linear_vae_lies_inside_and_the_gap_shrinks_with_steps():
    vae, gaps = linear_vae(5, 2).double().requires_grad_(False), []
    vae.decoder.get_parameter("layers.0.weight").mul_(10.0)
    for steps in (3, 60):
        found = bracket(vae, n=60, density=AIS(steps=steps, chains=4, leapfrog=3))
        truth = gaussian_truth(vae, found.x)
        for side, sign in ((found.lower, 1), (found.upper, -1)):
            excess = sign * (side.value - truth)
            assert excess.mean() < 5 * excess.std() / 60**0.5
        gaps.append(found.gap)
    assert gaps[1] < gaps[0] / 4


def test_the_text_states_both_sides_and_the_seed_reproduces():
    one, two = (bracket(Toy(), n=20, density=AIS(5, 4), seed=3) for _ in range(2))
    assert torch.equal(one.lower.value, two.lower.value) and torch.equal(one.upper.value, two.upper.value)
    text = str(one)
    for word in ("nats (lower bound, n=20)", "nats (upper bound, n=20)", "gap", "acceptance"):
        assert word in text
    assert one.gap_stderr > 0


def test_refusals():
    with pytest.raises(ArgumentError):
        bracket(Toy(), n=1)
    with pytest.raises(UnsupportedQueryError, match="discrete"):
        bracket(Switch())
    with pytest.raises(UnsupportedQueryError, match="unnormalised"):
        bracket(VAE(3, 2, hidden=(4,), prior=EnergyModel(2, hidden=(4,))), n=2, density=AIS(2, 2))
