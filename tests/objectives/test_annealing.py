"""Schedules of β by hand, in the loss, in a compiled step, in a fit and across a resumed one."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch

import unigen as ug
from unigen.errors import ArgumentError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.fit import fit
from unigen.inference.step import EagerStep
from unigen.models.vae import VAE
from unigen.objectives.annealing import Annealing, Cyclical, LinearWarmup
from unigen.objectives.elbo import ELBO


def values(schedule: Annealing, steps: int) -> list[float]:
    return [float(schedule(torch.tensor(t))) for t in range(steps)]


def test_warmup_by_hand():
    assert values(LinearWarmup(4), 6) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])
    assert values(LinearWarmup(2, start=1.0, final=5.0), 4) == pytest.approx([1, 3, 5, 5])


def test_cycles_are_those_of_the_paper():
    """Fu et al. 2019, eq. 6–7: T steps, M cycles, τ = mod(t − 1, ⌈T/M⌉)/(T/M), β = τ/R for τ ≤ R, else 1."""
    total, cycles, r = 40, 4, 0.5
    paper = []
    for t in range(1, total + 1):
        tau = ((t - 1) % math.ceil(total / cycles)) / (total / cycles)
        paper.append(tau / r if tau <= r else 1.0)
    assert values(Cyclical(10, ratio=r), total) == pytest.approx(paper, abs=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearWarmup(0), lambda: LinearWarmup(2.5), lambda: LinearWarmup(10, start=-0.1),
        lambda: LinearWarmup(10, start=1.0, final=0.5), lambda: LinearWarmup(10, final=math.inf),
        lambda: LinearWarmup(10, final=math.nan), lambda: Cyclical(0), lambda: Cyclical(10, ratio=0.0),
        lambda: Cyclical(10, ratio=1.5), lambda: Cyclical(10, start=2.0), lambda: ELBO(beta=math.nan),
        lambda: ELBO(beta="linear"), lambda: ELBO(beta=-LinearWarmup(3).final),
    ],
)  # fmt: skip
def test_refuses(make):
    with pytest.raises(ArgumentError, match="expected"):
        make()


def test_the_loss_at_a_step_is_that_of_a_constant_weight():
    vae, x = VAE(3, 2, hidden=(8,)), torch.randn(6, 3)
    annealed = ELBO(beta=LinearWarmup(4, final=2.0)).players(vae)[0]
    assert annealed.name == "weighted elbo"
    for beta in (0.0, 0.5, 1.0, 1.5, 2.0, 2.0):
        torch.manual_seed(1)
        now = annealed.loss(x)
        torch.manual_seed(1)
        assert torch.equal(now, ELBO(beta=beta).players(vae)[0].loss(x)), beta
    assert int(annealed.loss.step) == 6


def test_evaluation_has_the_final_weight_and_counts_no_step():
    vae, x = VAE(3, 2, hidden=(8,)), torch.randn(6, 3)
    loss = ELBO(beta=Cyclical(10, final=3.0)).players(vae)[0].loss
    torch.manual_seed(1)
    value = loss.eval()(x)
    torch.manual_seed(1)
    assert torch.equal(value, ELBO(beta=3.0).players(vae)[0].loss(x))
    assert int(loss.step) == 0


def test_compiled_steps_follow_the_schedule():
    eager, x = VAE(3, 2, hidden=(8,)), torch.randn(7, 3)
    steps = []
    for program in (eager, copy.deepcopy(eager)):
        player = ELBO(beta=LinearWarmup(3)).players(program)[0]
        optimizer = torch.optim.Adam(player.parameters.values(), lr=0.01)
        if program is eager:
            steps.append(EagerStep(player.loss, player.parameters, optimizer))
        else:
            options = {"example": [x, None], "compiler": interpreted}
            steps.append(CompiledStep(player.loss, player.parameters, optimizer, **options))
    for rows in (x, x, x[:4], x, x):
        losses = []
        for step in steps:
            torch.manual_seed(5)
            losses.append(step(rows, None).loss)
        assert torch.allclose(*losses, atol=1e-5)
    assert int(steps[0].loss.step) == int(steps[1].loss.step) == 5
    assert steps[1].traces == 1


def test_a_void_step_does_not_count():
    vae = VAE(3, 2, hidden=(8,))
    player = ELBO(beta=LinearWarmup(3)).players(vae)[0]
    step = EagerStep(player.loss, player.parameters, torch.optim.SGD(player.parameters.values(), lr=0.1))
    assert not bool(step(torch.full((4, 3), torch.nan), None).finite)
    assert int(player.loss.step) == 0


def test_a_resumed_fit_is_bitwise_the_same(tmp_path: Path):
    x = torch.randn(40, 3)
    path = tmp_path / "run.safetensors"
    objective = ELBO(beta=Cyclical(7, ratio=0.8), free_bits=0.1)
    options = {"objective": objective, "batch_size": 8, "progress": False}
    start = VAE(3, 2, hidden=(8,))
    whole, halves = copy.deepcopy(start), copy.deepcopy(start)
    torch.manual_seed(0)
    record = fit(whole, x, steps=20, **options)
    torch.manual_seed(0)

    def stop(event: object) -> bool:
        return event.step == 9

    fit(halves, x, steps=20, checkpoint=path, callbacks=[stop], **options)
    torch.manual_seed(123)
    again = copy.deepcopy(start)
    resumed = fit(again, x, steps=20, checkpoint=path, resume=True, **options)
    assert resumed.history == record.history
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_validation_is_measured_with_the_final_weight():
    x = torch.randn(40, 3)
    vae = VAE(3, 2, hidden=(8,))
    objective = ELBO(beta=LinearWarmup(1000, final=4.0))
    record = fit(vae, x, steps=4, objective=objective, validation=x[:10], progress=False, validate_every=4)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        expected = ELBO(beta=4.0).players(vae)[0].loss.eval()(x[:10])
    assert record.history["validation"][-1][1] == pytest.approx(float(expected), rel=1e-6)


def test_a_program_with_a_schedule_is_saved_and_loaded(tmp_path: Path):
    objective = ELBO(
        beta=LinearWarmup(10), free_bits=ug.FreeBits(0.2, groups=2), baseline=ug.LearnedBaseline((4,))
    )
    path = ug.save(VAE(3, 2, hidden=(4,), objective=objective), tmp_path / "vae.safetensors")
    assert repr(ug.load(path).objective) == repr(objective)
