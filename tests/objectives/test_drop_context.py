from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import unigen as ug
from unigen.errors import ArgumentError
from unigen.inference.compiled import interpreted
from unigen.objectives.adversarial import Adversarial
from unigen.objectives.denoising import DenoisingScoreMatching
from unigen.objectives.drop_context import DropContext, DroppedLoss
from unigen.objectives.flow_matching import ConditionalFlowMatching


class Seen(nn.Module):
    def forward(self, x, context):
        self.context = context
        return context.sum()


@pytest.mark.parametrize("null", [0.0, -2.0])
def test_rows_lose_their_context_with_the_probability(null):
    seen, n = Seen(), 20_000
    given = torch.rand(n, 3) + 1.0
    DroppedLoss(seen, 0.3, null)(torch.zeros(n, 1), given)
    dropped = (seen.context == null).all(1)
    assert torch.equal(seen.context[~dropped], given[~dropped])
    assert abs(float(dropped.double().mean()) - 0.3) < 5 * math.sqrt(0.21 / n)


def test_one_network_learns_both_laws():
    """Classes at −2 and 2: with labels the conditional, without them the mixture of both."""
    n = 512
    label = torch.arange(n) % 2
    x = 4.0 * label[:, None] - 2.0 + 0.3 * torch.randn(n, 1)
    program = ug.Diffusion(1, hidden=32, blocks=1, context=2)
    objective = DropContext(DenoisingScoreMatching(), probability=0.3)
    ug.fit(
        program, (x, torch.eye(2)[label]), objective=objective, steps=400, batch_size=128, ema=None, seed=0
    )
    for k in range(2):
        given = ug.Guided(program, ug.ClassifierFree(1.0)).sample(
            500, torch.eye(2)[k : k + 1], sampler=ug.DPMSolver(10)
        )
        assert float((given.sign() == 2 * k - 1).double().mean()) > 0.85
    free = ug.Guided(program, ug.ClassifierFree(0.0)).sample(500, torch.eye(2)[:1], sampler=ug.DPMSolver(10))
    assert 0.3 < float((free > 0).double().mean()) < 0.7
    assert float(free.abs().mean()) == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize(
    ("program", "inner"),
    [
        (lambda: ug.Diffusion(2, hidden=8, blocks=1, context=3), DenoisingScoreMatching()),
        (lambda: ug.FlowMatching(2, hidden=8, blocks=1, context=3), ConditionalFlowMatching()),
    ],
    ids=["diffusion", "flow matching"],
)
def test_the_compiled_step_is_the_eager_one(program, inner):
    """Traced with a symbolic batch size, from the same weights and random numbers."""
    data = torch.randn(16, 2), torch.eye(3)[torch.arange(16) % 3]
    built = program()
    (player,) = DropContext(inner).players(built)
    assert {id(p) for p in player.parameters.values()} <= {id(p) for p in built.parameters()}
    torch.manual_seed(3)
    eager = player.loss(*data)
    gradients = torch.autograd.grad(eager, list(player.parameters.values()), allow_unused=True)
    assert any(g is not None and bool((g != 0).any()) for g in gradients)
    losses = []
    for compile in (False, True):
        torch.manual_seed(1)
        twin = program()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("unigen.inference.compiled.inductor", interpreted)
            record = ug.fit(twin, data, objective=DropContext(inner), steps=3, compile=compile, seed=2)
        losses.append([value for _, value in record.history[player.name]])
        assert not any("eager" in note for note in record.notes)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_both_players_of_a_game_drop_it():
    program = ug.GAN(2, latents=2, context=3, hidden=(8,))
    players = DropContext(Adversarial()).players(program)
    assert [isinstance(player.loss, DroppedLoss) for player in players] == [True, True]
    data = torch.randn(16, 2), torch.eye(3)[torch.arange(16) % 3]
    ug.fit(program, data, objective=DropContext(Adversarial()), steps=2)


def test_it_is_remembered(tmp_path):
    objective = DropContext(DenoisingScoreMatching(), 0.25, null=-1.0)
    program = ug.Diffusion(2, hidden=8, blocks=1, context=3, objective=objective)
    again = ug.load(
        ug.save(program, tmp_path / "diffusion.safetensors"),
        into=ug.Diffusion(2, hidden=8, blocks=1, context=3),
    )
    assert again.fitted == program.fitted
    assert repr(objective).startswith("DropContext(objective=DenoisingScoreMatching(")


def test_misuse_is_refused():
    for probability in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(ArgumentError, match="probability"):
            DropContext(DenoisingScoreMatching(), probability)
    with pytest.raises(ArgumentError, match="objective"):
        DropContext(0.1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match=r"no context to drop.*context=C"):
        ug.fit(
            ug.Diffusion(2, hidden=8, blocks=1),
            torch.randn(8, 2),
            objective=DropContext(DenoisingScoreMatching()),
        )
