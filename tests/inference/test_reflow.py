"""Oracles: the exact flow of a mixture, whose rectified flow is straighter and has the same law."""

from __future__ import annotations

import pytest
import torch

from tests.diffusion_problems import mixture_log_prob
from tests.interpolant_problems import mixture_draws, mixture_flow
from unigen.dynamics.coupling import Rectified
from unigen.dynamics.interpolant import VP
from unigen.errors import ArgumentError, ContextError, UnsupportedQueryError
from unigen.evaluate.straightness import straightness
from unigen.inference.persist import load, save
from unigen.inference.reflow import Pairs, _pairs, reflow
from unigen.models.cnf import CNF
from unigen.models.flow_matching import FlowMatching
from unigen.nn.residual import ResidualMLP
from unigen.samplers.probability_flow import ProbabilityFlowODE
from unigen.testing.check import check_program

F64 = torch.float64
CENTRES, STD = torch.tensor([[-1.5, 0.0], [1.5, 0.0]]), 0.4
ONE_STEP = ProbabilityFlowODE(method="euler", options={"step_size": 1.0})


def test_a_rectified_flow_is_straighter_and_has_the_same_law():
    """400 steps from an exact flow: it bends less than a third as much, and one Euler step finds the two modes."""
    teacher = mixture_flow(CENTRES, STD)
    before = straightness(teacher, 500)
    new = reflow(teacher, 4000, network=ResidualMLP(2, 48, 2), steps=400, lr=4e-3, ema=None, progress=False)
    assert straightness(new, 500) < 0.3 * before
    held = mixture_draws(500, CENTRES, STD)
    gap = mixture_log_prob(held, CENTRES, STD).mean() - new.log_prob(held).value.mean()
    assert -0.03 < float(gap) < 0.15
    one = new.sample(2000, sampler=ONE_STEP)
    assert float((one[:, 0].abs() - 1.5).square().mean().sqrt()) < 1.5 * STD
    assert float((teacher.sample(2000, sampler=ONE_STEP)[:, 0].abs() - 1.5).square().mean().sqrt()) > 2 * STD


def test_pairs_are_draws_beside_their_noise():
    teacher = mixture_flow(CENTRES, STD)
    with torch.no_grad():
        teacher.flow.loc.fill_(1.0)
        teacher.flow.scale.fill_(2.0)
    pairs = _pairs(teacher, 50, None)
    assert pairs.shape == (50, 2, 2)
    x = teacher.flow.from_unit(pairs[:, 0])
    torch.testing.assert_close(teacher.to_noise(x), pairs[:, 1], rtol=0, atol=2e-2)


def test_the_old_flow_is_untouched_and_the_new_one_is_saved(tmp_path):
    old = FlowMatching(2, hidden=8, blocks=1, interpolant=VP(), context=1)
    before = {name: value.clone() for name, value in old.state_dict().items()}
    new = reflow(old, 32, context=torch.randn(32, 1), steps=3, seed=1, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in old.state_dict().items())
    assert isinstance(new.flow.coupling, Rectified)
    assert new.fitted
    again = load(save(new, tmp_path / "flow.safetensors"))
    c = torch.randn(4, 1)
    assert torch.equal(again.sample(4, c, seed=0), new.sample(4, c, seed=0))
    twin = reflow(old, 32, context=torch.zeros(32, 1), steps=1, seed=1, progress=False)
    assert twin.flow.network is not old.flow.network
    with pytest.raises(UnsupportedQueryError, match="independent"):
        new.flow.score(torch.tensor(0.5), torch.zeros(1, 2))


def test_the_program_of_pairs_is_a_program():
    check_program(Pairs(FlowMatching(2, hidden=8, blocks=1)), torch.randn(20, 2, 2))


def test_bad_arguments_are_refused():
    with pytest.raises(ArgumentError, match="FlowMatching"):
        reflow(CNF(2, hidden=(8,)))
    program = FlowMatching(2, hidden=8, blocks=1)
    with pytest.raises(ArgumentError, match="at least 2"):
        reflow(program, 1)
    with pytest.raises(ContextError):
        reflow(program, 4, context=torch.zeros(4, 1))
