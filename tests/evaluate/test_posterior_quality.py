"""Pareto-k and effective sample size of fitted guides over parameters, where the weights are known."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from benchmarks.conjugate import Mean, Regression, simulated
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.evaluate.posterior_quality import posterior_quality


def test_an_exact_guide_has_equal_weights():
    program = Mean().double()
    draws = ug.infer(program, *simulated(program, 8), engine=ug.Laplace(draws=500), seed=0)
    quality = posterior_quality(draws)
    assert float(quality.efficiency) == pytest.approx(1.0, abs=1e-9) and float(quality.k) < 0
    assert "can be trusted" in quality.verdict


def test_a_mean_field_of_correlated_parameters_is_worse():
    program = Regression().double()
    x, context = simulated(program, 8)
    engine = ug.Variational("diagonal", draws=2000, steps=400, lr=0.1, compile=False)
    quality = posterior_quality(ug.infer(program, x, context, engine=engine, seed=0))
    assert float(quality.efficiency) < 0.95 and float(quality.k) > 0


def test_chains_and_few_draws_are_refused():
    program, x = Mean(), torch.zeros(3, 1)
    with pytest.raises(UnsupportedQueryError, match="importance weights"):
        posterior_quality(ug.infer(program, x, engine=ug.NUTS(chains=1, draws=3, warmup=0, compile=False)))
    with pytest.raises(ArgumentError, match="25"):
        posterior_quality(ug.infer(program, x, engine=ug.Laplace(draws=24)))
