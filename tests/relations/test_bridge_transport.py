"""Relation 26: the worked couplings, the independent coupling, and fitted bridges."""

from __future__ import annotations

import math

import pytest
import torch

import unigen as ug
from unigen.dynamics.reference import OrnsteinUhlenbeck
from unigen.errors import NotFittedError, UnsupportedQueryError
from unigen.evaluate.gaussian_transport import gaussian_transport
from unigen.models.ppca import PPCA
from unigen.models.schroedinger_bridge import SchroedingerBridge
from unigen.nn.affine_in_time import AffineInTime
from unigen.objectives.bridge_matching import MarkovianFitting
from unigen.relations.bridge_transport import BridgeTransport

RELATION = BridgeTransport()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["covariance"] == pytest.approx((math.sqrt(5) - 1) / 2, abs=5e-7)
    assert evidence.details["correlation_of_the_modes"] == pytest.approx(0.766476, abs=1e-6)
    assert evidence.details["variance_halfway"] == pytest.approx(1.521406, abs=1e-6)


def test_other_parameters():
    assert RELATION.check(sigma=0.7, scale=0.6, centre=1.0, std=0.5, target=0.8, noise=0.9, points=201).holds


@pytest.mark.parametrize(("a", "b", "sigma"), [(1.0, 1.0, 1.0), (2.0, 0.3, 0.4)])
def test_closed_form_is_that_of_the_evaluation(a, b, sigma):
    plan = gaussian_transport([0.0], [[a]], [0.0], [[b]], sigma**2)
    assert RELATION.covariance(a, b, sigma) == pytest.approx(plan.cross.item(), abs=1e-12)


class IndependentPlan(BridgeTransport):
    """Couples the ends independently, as some code that calls itself a Schrödinger bridge does."""

    def plan(self, x, p, y, q, sigma):
        return (p / p.sum())[:, None] * (q / q.sum())


class IndependentDrift(BridgeTransport):
    """Mixes the bridges of independent ends: the right marginals, but another Markov process."""

    def markov(self, a, b, c, sigma):
        return super().markov(a, b, 0.0, sigma)


@pytest.mark.parametrize("broken", [IndependentPlan, IndependentDrift])
def test_a_broken_identity_is_seen(broken):
    evidence = broken().check()
    assert not evidence.holds
    by_name = {claim.name: claim for claim in evidence.claims}
    assert by_name["Markov drift: variance at t = 1"].holds  # which is no proof of a Schrödinger bridge


def bridge(objective, reference=None) -> tuple[SchroedingerBridge, torch.Tensor]:
    x, z = torch.randn(4000, 1), 1.0 + 0.8 * torch.randn(4000, 1)
    options = {} if reference is None else {"reference": reference}
    program = SchroedingerBridge(
        1, prior=z, network_1=AffineInTime(1), network_0=AffineInTime(1), objective=objective, **options
    )
    ug.fit(program, x, seed=0)
    return program, x


def test_programs():
    program, x = bridge(MarkovianFitting(steps=20, rounds=3))
    evidence = RELATION.check_programs(program, program, x)
    assert evidence.holds, evidence


def test_independent_pairs_are_found_out(monkeypatch):
    program, x = bridge(MarkovianFitting(steps=20, rounds=3), ug.BrownianMotion(0.3))
    transport = SchroedingerBridge.transport
    monkeypatch.setattr(
        SchroedingerBridge, "transport", lambda *a, **k: transport(*a, **k)[torch.randperm(400)]
    )
    assert not RELATION.check_programs(program, program, x).holds


def test_refuses():
    for program in (PPCA(2, 1), SchroedingerBridge(1, reference=OrnsteinUhlenbeck())):
        with pytest.raises(UnsupportedQueryError, match="Brownian"):
            RELATION.check_programs(program, program, torch.zeros(3, 1))
    with pytest.raises(NotFittedError, match="at the optimum"):
        RELATION.check_programs(*[SchroedingerBridge(1)] * 2, torch.zeros(3, 1))
