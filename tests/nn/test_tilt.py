"""Tilt: bounded whatever its weights, and a stable prior."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from unigen.errors import ArgumentError
from unigen.nn.tilt import Tilt


def test_the_tilted_normaliser_lies_between_exp_of_plus_and_minus_the_limit() -> None:
    """|log ∫ exp(−f) N(x; 0, 1) dx| ≤ l, by quadrature, with weights a hundred times their start."""
    tilt = Tilt(1, hidden=(16,), limit=2.0).double()
    with torch.no_grad():
        for p in tilt.parameters():
            p.mul_(100)
        x = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
        log_z = torch.log(
            (torch.exp(-tilt(x) - 0.5 * x[:, 0] ** 2)).sum() * 18 / 20_000 / (2 * torch.pi) ** 0.5
        )
    assert abs(log_z.item()) <= 2.0


def test_a_context_is_used_and_a_limit_must_be_positive() -> None:
    assert Tilt(2, hidden=(4,), context=3)(torch.randn(5, 2), torch.randn(5, 3)).shape == (5,)
    with pytest.raises(ArgumentError, match="limit"):
        Tilt(2, limit=0.0)


def test_it_is_kept_with_its_program(tmp_path) -> None:
    model = ug.EnergyModel(3, energy=Tilt(3, hidden=(8,)))
    again = ug.load(ug.save(model, tmp_path / "e.safetensors"))
    x = torch.randn(4, 3)
    assert torch.equal(again.log_prob(x).value, model.log_prob(x).value)


def test_a_joint_training_with_a_high_learning_rate_stays_finite() -> None:
    torch.manual_seed(0)
    vae = ug.VAE(4, 2, prior=ug.EnergyModel(2, energy=Tilt(2, hidden=(16,)), chains=16), hidden=(16,))
    ug.fit(vae, torch.randn(64, 4), steps=200, lr=1e-2, batch_size=32, seed=0)
    assert torch.isfinite(vae.sample(20, seed=0)).all()
