"""Comparison of programs: the paired difference, its order, kinds that allow none."""

from __future__ import annotations

import pytest
import torch

from unigen.errors import ArgumentError
from unigen.evaluate.comparison import compare
from unigen.logprob import Comparison
from unigen.models.energy import EnergyModel
from unigen.models.gan import GAN
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE


def test_the_better_program_comes_first_with_its_paired_difference():
    truth = PPCA(3, 1).double()
    x = truth.sample(2000)
    other = PPCA(3, 1).double()
    found = compare({"other": other, "truth": truth}, x)
    assert list(found.scores) == ["truth", "other"]
    delta = truth.log_prob(x).value - other.log_prob(x).value
    difference = found.differences["other"]
    assert isinstance(difference, Comparison)
    assert difference.difference == pytest.approx(delta.mean().item())
    assert difference.stderr == pytest.approx((delta.std() / 2000**0.5).item())
    assert "the first is better" in str(found)


def test_kinds_that_allow_no_comparison_say_so():
    x = torch.randn(20, 3)
    found = compare(
        {
            "a": VAE(3, 2, hidden=(4,)),
            "b": VAE(3, 2, hidden=(4,)),
            "e": EnergyModel(3, hidden=(4,)),
            "g": GAN(3),
        },
        x,
    )
    assert list(found.scores)[2:] == ["e", "g"]
    text = str(found)
    assert "not comparable" in text and "log Z" in text and "no density" in text
    with pytest.raises(ArgumentError):
        compare({}, x)
