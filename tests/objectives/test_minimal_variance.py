"""Oracles: the least second moment by Cauchy and Schwarz, the bound in closed form."""

from __future__ import annotations

import math

import pytest
import torch

import unigen as ug
from tests.diffusion_problems import GaussianNoise
from unigen.dynamics.learned_snr import LearnedSNR
from unigen.dynamics.prediction import Eps
from unigen.errors import ArgumentError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.objectives.minimal_variance import MinimalVariance

F64 = torch.float64
TOP, END = 1e3, 1e-2


def gaussian(schedule: LearnedSNR) -> Diffusion:
    network = GaussianNoise(schedule)
    return Diffusion(
        1, network=network, schedule=schedule, prediction=Eps(), objective=MinimalVariance()
    ).double()


@torch.no_grad()
def moments(schedule: LearnedSNR) -> tuple[float, float]:
    """Moments of ½ (−dλ/dt) e² over t, e ~ N(0, v) the error of the optimal network for N(0, 1) data."""
    t = (torch.arange(20_000, dtype=F64) + 0.5) / 20_000
    term = 0.5 * schedule.diffusion_squared(t) / schedule.sigma(t) ** 2 * torch.sigmoid(schedule.log_snr(t))
    return float(term.mean()), float(3 * term.square().mean())


def test_the_loss_is_the_second_moment():
    schedule = LearnedSNR(TOP, END, hidden=4).double()
    loss = MinimalVariance().players(gaussian(schedule))[1].loss
    with torch.no_grad():
        values = torch.stack([loss(torch.randn(2000, 1, dtype=F64)) for _ in range(30)])
    assert abs(float(values.mean()) - moments(schedule)[1]) < 5 * float(values.std()) / math.sqrt(30)


def test_training_the_shape_reaches_the_least_variance_and_leaves_the_bound():
    """Least of 3 E (½ (−dλ/dt) v)² over all shapes: 3 L², where the term is the same at every time."""
    schedule = LearnedSNR(TOP, END, hidden=8, ends=False).double()
    player = MinimalVariance().players(gaussian(schedule))[1]
    exact = 0.5 * math.log((1 + TOP) / (1 + END))
    bound, before = moments(schedule)
    optimizer = torch.optim.Adam(player.parameters.values(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        player.loss(torch.randn(512, 1, dtype=F64)).backward()
        optimizer.step()
    after_bound, after = moments(schedule)
    assert bound == pytest.approx(exact, rel=1e-4)
    assert after_bound == pytest.approx(exact, rel=1e-4)
    least = 3 * exact**2
    assert before > 1.4 * least
    assert least * 0.9999 < after < 1.2 * least


def test_each_player_moves_its_own_parameters():
    program = Diffusion(
        2, hidden=8, blocks=1, schedule=LearnedSNR(hidden=4), objective=MinimalVariance(lr=0.5)
    )
    bound, shape = program.objective.players(program)
    assert {name.rpartition(".")[2] for name in shape.parameters} == {"height", "slope", "centre"}
    assert not {id(p) for p in bound.parameters.values()} & {id(p) for p in shape.parameters.values()}
    both = len(bound.parameters) + len(shape.parameters)
    assert both == sum(p.requires_grad for p in program.parameters())
    assert (bound.measure, shape.measure, shape.lr) == (True, False, 0.5)
    before = [p.detach().clone() for p in shape.parameters.values()]
    ug.fit(program, torch.randn(64, 2), steps=5, progress=False, compile=False)
    for old, new in zip(before, shape.parameters.values(), strict=True):
        assert not torch.equal(old, new)


def test_the_traced_step_equals_the_eager_one():
    results = []
    for traced in (False, True):
        torch.manual_seed(0)
        program = Diffusion(2, hidden=4, blocks=1, schedule=LearnedSNR(hidden=2)).double()
        player = MinimalVariance().players(program)[1]
        optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
        step = EagerStep(player.loss, player.parameters, optimizer)
        if traced:
            example = (torch.randn(6, 2, dtype=F64),)
            step = CompiledStep(
                player.loss, player.parameters, optimizer, example=example, compiler=interpreted
            )
        torch.manual_seed(1)
        for n in (6, 9):
            step(torch.randn(n, 2, dtype=F64))
        results.append([p.detach().clone() for p in program.parameters()])
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-10, rtol=0)


def test_it_is_remembered(tmp_path):
    objective = MinimalVariance(times=ug.AntitheticTimes(), lr=0.5)
    program = Diffusion(2, hidden=8, blocks=1, schedule=LearnedSNR(hidden=4), objective=objective)
    again = ug.load(ug.save(program, tmp_path / "diffusion.safetensors"))
    assert repr(again.objective) == repr(objective)


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="positive"):
        MinimalVariance(lr=0.0)
    with pytest.raises(ArgumentError, match="LearnedSNR"):
        MinimalVariance().players(Diffusion(2, hidden=8, blocks=1))
    with pytest.raises(ArgumentError, match="Diffusion"):
        MinimalVariance().players(PPCA(3, 1))
