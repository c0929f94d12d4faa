"""Ancestral draws are those of the model run forward, and follow the exact marginal."""

from __future__ import annotations

import torch
from scipy import stats

from tests.programs import Conditional, Toy
from unigen.models.energy import EnergyModel
from unigen.samplers.ancestral import Ancestral


def test_the_toy_has_marginal_n_0_2():
    x = Toy().sample(2000, sampler=Ancestral(), seed=0)
    assert x.shape == (2000, 1)
    assert stats.kstest(x[:, 0].numpy(), stats.norm(0, 2**0.5).cdf).pvalue > 1e-4


def test_contexts_keep_their_rows():
    program, c = Conditional(), torch.randn(5, 3) * 50
    with torch.no_grad():
        program.log_scale.fill_(-9.0)
        x = program.sample(5, c, sampler=Ancestral())
        assert torch.allclose(x, program.mean(c), atol=1e-2)


def test_it_is_the_default_and_replaces_a_familys_own():
    program = Toy()
    assert torch.equal(program.sample(3, seed=1), program.sample(3, sampler=Ancestral(), seed=1))
    assert repr(Ancestral()) == "Ancestral()"
    assert EnergyModel(2, hidden=(4,)).sampler is not None
