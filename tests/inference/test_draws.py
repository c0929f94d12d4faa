"""Draws of latents: weights and evidence against conjugate closed forms, and what is passed on to new data."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from benchmarks.conjugate import Mean, simulated
from tests.programs import SharedMean, Toy
from unigen.errors import UnsupportedQueryError
from unigen.inference.draws import Draws
from unigen.inference.predictive import PosteriorPredictive
from unigen.logprob import Kind

F64 = torch.float64


def weighed(s: int, width: float, chains: int = 1) -> tuple[Draws, float]:
    """Draws of μ of the conjugate Gaussian from a q of a multiple of the posterior's width; log p(x)."""
    program = Mean().double()
    (x,) = simulated(program, 6)
    exact = program.exact(x)
    q = Normal(exact.mean, width * exact.sd)
    mu = q.sample(torch.Size((chains, s)))
    lp = Normal(0 * mu, 2.0).log_prob(mu)[..., 0] + Normal(mu, 1.5).log_prob(x[:, 0]).sum(-1)
    statistics = {"lp": lp, "log_q": q.log_prob(mu)[..., 0]}
    return Draws(program, {"mu": mu}, statistics, data=x), exact.evidence


def test_under_the_posterior_every_weight_is_the_evidence():
    draws, evidence = weighed(40, 1.0, chains=2)
    assert draws.log_weights.shape == (40, 2)
    torch.testing.assert_close(draws.log_weights, torch.full((40, 2), evidence, dtype=F64), atol=1e-6, rtol=0)
    found = draws.log_evidence
    assert found.value.shape == (2,) and found.kind is Kind.LOWER_BOUND
    torch.testing.assert_close(found.value, torch.full((2,), evidence, dtype=F64), atol=1e-6, rtol=0)
    assert found.stderr is not None and float(found.stderr.max()) < 1e-6


def test_under_a_wider_q_the_evidence_is_within_its_error():
    draws, evidence = weighed(2000, 1.5)
    found = draws.log_evidence
    assert found.stderr is not None
    assert abs(float(found.value) - evidence) < 5 * float(found.stderr) < 0.2
    w = (draws.log_weights[:, 0] - evidence).exp()
    assert float(found.stderr) == pytest.approx(float(w.std() / w.mean()) / 2000**0.5, rel=1e-6)
    assert weighed(1, 1.5)[0].log_evidence.stderr is None


def test_sites_are_taken_by_name_and_draws_of_all_chains_counted():
    values = {"mu": torch.randn(3, 5, 1)}
    draws = Draws(Mean(), values)
    assert draws["mu"] is values["mu"] and len(draws) == 15
    assert repr(draws) == "Draws(Mean; mu: (3, 5, 1); 0 divergent)"
    diverging = torch.zeros(3, 5, dtype=torch.bool)
    diverging[0, :2] = True
    assert "2 divergent" in repr(Draws(Mean(), values, {"diverging": diverging}))
    assert "fitted guide" in repr(
        Draws(Mean(), values, {"lp": torch.zeros(3, 5), "log_q": torch.zeros(3, 5)})
    )
    with pytest.raises(KeyError, match="sigma"):
        draws["sigma"]


def test_new_data_depend_on_the_shared_sites_of_all_chains_alone():
    program = SharedMean()
    values = {"theta": torch.arange(6.0).reshape(2, 3, 1), "z": torch.randn(2, 3, 4, 1)}
    predictive = Draws(program, values).predictive
    assert isinstance(predictive, PosteriorPredictive)
    assert predictive.chains == 2 and predictive.draws == 6
    new = Draws(program, {"theta": 1e3 * values["theta"]}).sample(6, seed=0)
    assert sorted((new[:, 0] / 1e3).round().tolist()) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]  # each θ once


def test_the_predictive_density_is_the_mean_over_draws():
    program, mu = Mean().double(), torch.randn(2, 3, 1, dtype=F64)
    x = torch.randn(4, 1, dtype=F64)
    found = Draws(program, {"mu": mu}).log_prob(x)
    each = torch.stack([Normal(m, 1.5).log_prob(x[:, 0]) for m in mu.flatten()])
    torch.testing.assert_close(found.value, each.logsumexp(0) - math.log(6))
    assert found.kind is Kind.ESTIMATE


def test_questions_that_draws_cannot_answer_are_refused():
    chains = Draws(Mean(), {"mu": torch.zeros(1, 3, 1)}, {"lp": torch.zeros(1, 3)})
    for ask in (lambda: chains.log_weights, lambda: chains.log_evidence):
        with pytest.raises(UnsupportedQueryError, match="no importance weights"):
            ask()
    local = Draws(Toy(), {"z": torch.zeros(1, 3, 2, 1)})
    for ask in (lambda: local.sample(1), lambda: local.log_prob(torch.zeros(1, 1))):
        with pytest.raises(UnsupportedQueryError, match="no latent stands outside"):
            ask()
