"""Predictive checks: p-values against their own distribution, misfit found, shared latents drawn."""

from __future__ import annotations

import pytest
import torch

from tests.programs import Conditional, SharedMean
from unigen.errors import ArgumentError, NonFiniteError
from unigen.evaluate.predictive_check import PredictiveCheck, predictive_check
from unigen.models.gan import GAN
from unigen.models.ppca import PPCA


def test_p_values_count_the_replicates():
    found = PredictiveCheck({"t": 2.5}, {"t": torch.arange(9.0)})
    assert found.p_values["t"] == pytest.approx(2 * (1 + 3) / 10)
    assert PredictiveCheck({"t": 100.0}, {"t": torch.arange(9.0)}).p_values["t"] == pytest.approx(0.2)
    assert "p = 0.8" in str(found) and len(found.plot().axes) == 1


def test_under_the_program_itself_p_values_are_uniform():
    """60 data sets of the program: mean p within five standard errors of ½ (a little above, by ties at 2/(R+1))."""
    program = PPCA(3, 1)
    p = [predictive_check(program, program.sample(40), replicates=39).p_values["mean"] for _ in range(60)]
    assert abs(sum(p) / 60 - 0.525) < 5 * (1 / 12 / 60) ** 0.5


def test_heavy_tails_are_found_by_extremes_and_not_by_the_mean():
    x = torch.distributions.StudentT(torch.tensor(2.0)).sample((2000, 3))
    program = PPCA(3, 1)
    program.solve(x)
    found = predictive_check(program, x, replicates=99).p_values
    assert found["largest"] < 0.05 and found["smallest"] < 0.05 and found["standard deviation"] > 0.05


def test_contexts_shared_latents_and_programs_without_density():
    c = torch.randn(30, 3)
    one = predictive_check(Conditional(), torch.randn(30, 2), c, replicates=5, seed=0)
    two = predictive_check(Conditional(), torch.randn(30, 2), c, replicates=5, seed=0)
    assert set(one.p_values) == set(two.p_values)
    assert predictive_check(GAN(3), torch.randn(10, 3), replicates=3).observed
    shared = predictive_check(SharedMean(), torch.randn(4000, 1), replicates=100)
    spread = shared.replicated["mean"].std().item()
    assert spread > 3 * (2 / 4000) ** 0.5  # θ is drawn anew, not only its examples


def test_own_statistics_and_refusals():
    program, x = PPCA(3, 1), torch.randn(10, 3)
    found = predictive_check(program, x, statistics={"first": lambda x: x[0, 0]}, replicates=4)
    assert found.observed == {"first": x[0, 0].item()} and found.replicated["first"].shape == (4,)
    with pytest.raises(ArgumentError):
        predictive_check(program, x, replicates=0)
    with pytest.raises(ArgumentError):
        predictive_check(program, x, statistics={})
    with pytest.raises(NonFiniteError, match="odd"):
        predictive_check(program, x, statistics={"odd": lambda x: float("nan")})
