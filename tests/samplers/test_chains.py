"""Where chains start and where they can move."""

from __future__ import annotations

import pytest
import torch

from unigen.errors import ShapeError, UnsupportedQueryError
from unigen.models.energy import EnergyModel
from unigen.models.latent_sde import LatentSDE
from unigen.models.made import MADE
from unigen.samplers.chains import chain_starts, refuse_bounded, without_noise


def test_starts_are_those_given_or_the_programs_own_or_normal():
    model = EnergyModel(1)
    assert torch.equal(
        chain_starts(model, 3, None, lambda n, c: torch.full((n, 1), 2.0)), torch.full((3, 1), 2.0)
    )
    model.chains.put(torch.full((128, 1), 7.0))
    assert torch.equal(chain_starts(model, 3, None, None), torch.full((3, 1), 7.0))
    series = LatentSDE(2, (0.0, 1.0, 2.0))  # its ``start`` is a parameter and no function
    assert chain_starts(series, 4, None, None).shape == (4, 3, 2)
    with pytest.raises(ShapeError, match=r"\(3, 1\)"):
        chain_starts(model, 3, None, lambda n, c: torch.zeros(n))


def test_discrete_data_are_refused():
    from unigen.distributions.likelihoods import Bernoulli

    with pytest.raises(UnsupportedQueryError, match="Euclidean"):
        refuse_bounded(MADE(3, likelihood=Bernoulli()))
    refuse_bounded(MADE(3))


def test_a_program_that_notes_no_noise_is_left_alone():
    x = torch.randn(3, 2)
    assert without_noise(MADE(2), lambda at: at.square().sum(-1), x) is x
