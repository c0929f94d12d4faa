"""log Z by sequential Monte Carlo against closed forms and quadrature."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal

from tests.energies import PROBLEMS, gaussian
from unigen.densities import smc_normaliser
from unigen.densities.smc_normaliser import SMCNormaliser
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.potential import Potential


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_log_z_within_standard_errors(name):
    program, truth = PROBLEMS[name]()
    found = SMCNormaliser(particles=512, moves=3, leapfrog=3).log_z(program)
    assert found.kind is Kind.ESTIMATE and found.value.shape == ()
    assert abs(found.value.item() - truth) < 5 * found.stderr.item() + 1e-5
    assert found.stderr.item() < 0.2


def test_a_far_base_takes_many_rungs_and_stays_right():
    program, truth = gaussian(2, 100.0)
    base = MultivariateNormal(torch.full((2,), -3.0).double(), torch.eye(2).double())
    found = SMCNormaliser(particles=1000, base=base).log_z(program)
    assert abs(found.value.item() - truth) < 5 * found.stderr.item()


def test_bad_settings_are_refused():
    for bad in ({"particles": 1}, {"moves": 0}, {"leapfrog": 1.5}, {"threshold": 1.0}):
        with pytest.raises(ArgumentError, match=next(iter(bad))):
            SMCNormaliser(**bad)


def test_a_base_out_of_reach_is_given_up(monkeypatch):
    monkeypatch.setattr(smc_normaliser, "LONGEST", 2)
    steep = Potential(lambda x: 1e6 * x.square().sum(-1), 1)
    with pytest.raises(UnsupportedQueryError, match="reach"):
        SMCNormaliser(particles=16, moves=1, base=MultivariateNormal(torch.zeros(1), torch.eye(1))).log_z(
            steep
        )
