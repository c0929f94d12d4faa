from __future__ import annotations

import pytest
import torch

from unigen.densities.unnormalised import Unnormalised
from unigen.errors import KindError, NoDensityError
from unigen.logprob import Kind
from unigen.models.energy import EnergyModel
from unigen.models.vae import VAE


def test_the_value_is_minus_the_energy_and_is_never_taken_for_a_likelihood() -> None:
    model, x = EnergyModel(3), torch.randn(5, 3)
    found = model.log_prob(x)
    torch.testing.assert_close(found.value, -model.potential(x).detach())
    torch.testing.assert_close(model.energy(x), model.potential(x).detach())
    assert found.kind is Kind.UNNORMALISED and model.kind is Kind.UNNORMALISED and found.dims == 3
    with pytest.raises(KindError, match="log Z"):
        found.compare(found)
    with pytest.raises(KindError, match="log Z"):
        found.bits_per_dim()


def test_a_program_without_an_energy_is_refused() -> None:
    with pytest.raises(NoDensityError, match="potential"):
        VAE(3, 2).log_prob(torch.randn(2, 3), density=Unnormalised())
