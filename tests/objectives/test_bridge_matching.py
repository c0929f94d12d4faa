"""Bridge matching: pairs, warm-up, the value of the loss, refusals."""

from __future__ import annotations

import pytest
import torch

from unigen.distributions.empirical import Empirical
from unigen.dynamics.reference import BrownianMotion
from unigen.errors import ArgumentError
from unigen.models.ppca import PPCA
from unigen.models.schroedinger_bridge import SchroedingerBridge
from unigen.nn.drift import DriftMLP
from unigen.objectives.bridge_matching import BridgeLoss, IndependentBridge, MarkovianFitting


def bridge(n: int = 100) -> SchroedingerBridge:
    program = SchroedingerBridge(
        1, prior=torch.randn(n, 1) + 5, reference=BrownianMotion(0.1), hidden=(8,), steps=4
    )
    program.initialise(torch.randn(n, 1))
    return program


def test_pairs_keep_the_marginal_of_the_end_that_is_predicted():
    program, x = bridge(), torch.randn(64, 1)
    loss = BridgeLoss(program, steps=3, warmup=0)
    prior = program.prior
    assert isinstance(prior, Empirical)
    points = set(prior.points.flatten().tolist())
    for independent in (True, False):
        (x_0, z_hat), (x_hat, z) = loss.pairs(x, torch.tensor([independent]))
        assert torch.equal(x_0, x) and set(z.flatten().tolist()) <= points
        assert (set(z_hat.flatten().tolist()) <= points) is independent
        assert torch.equal(x_hat, x) is independent


def test_warm_up_counts_evaluations_in_training_mode():
    loss, x = BridgeLoss(bridge(), steps=2, warmup=2), torch.randn(8, 1)
    for _ in range(3):
        loss(x)
    assert loss.step.item() == 3
    loss.eval()
    loss(x)
    assert loss.step.item() == 3


def test_the_loss_of_a_network_that_predicts_the_means_is_two_variances():
    program, n = bridge(4000), 4000
    with torch.no_grad():
        for network in (program.bridge.network_0, program.bridge.network_1):
            assert isinstance(network, DriftMLP)
            for p in network.body.layers[-1].parameters():
                p.zero_()
    value = BridgeLoss(program, 0, 0)(torch.randn(n, 1)).item()
    assert value == pytest.approx(2.0, abs=5 * (4 * 2 / n) ** 0.5)  # each variance twice estimated, of 2 / n


def test_coupling_is_that_of_the_last_step():
    program, x = bridge(), torch.randn(8, 1)
    assert program.coupling == "untrained"
    loss = MarkovianFitting(steps=2, warmup=1).players(program)[0].loss
    loss(x)
    assert program.coupling.startswith("independent bridge")
    loss(x)
    assert program.coupling.startswith("Schrödinger bridge")
    loss.eval()
    IndependentBridge().players(program)[0].loss.eval()(x)
    assert program.coupling.startswith("Schrödinger bridge")
    IndependentBridge().players(program)[0].loss(x)
    assert program.coupling.startswith("independent bridge")


def test_bad_input_is_refused():
    with pytest.raises(ArgumentError, match="SchroedingerBridge"):
        IndependentBridge().players(PPCA(3, 1))
    for options in ({"steps": 0}, {"warmup": -1}, {"rounds": 0}):
        with pytest.raises(ArgumentError):
            MarkovianFitting(**options)
