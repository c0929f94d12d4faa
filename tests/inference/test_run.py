"""The loop of a fit: rounds, schedules, averages, validation and patience against a loop written out."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from unigen.errors import ArgumentError, DivergedError
from unigen.inference.feed import Feed
from unigen.inference.record import Record
from unigen.inference.run import Run, StepEvent
from unigen.models.ppca import PPCA
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Player, trainable
from unigen.recipe import Cosine, Recipe

X = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))


def run(program: PPCA, players: list[Player] | None = None, recipe: Recipe | None = None, **options) -> Run:
    return Run(
        program=program,
        players=players or MaximumLikelihood().players(program),
        feed=Feed(program, X, 8),
        recipe=recipe or Recipe(steps=6, lr=0.05),
        record=Record(program.name, "MaximumLikelihood()"),
        progress=False,
        **options,
    )


def test_a_run_is_the_loop_written_out():
    program = PPCA(3, 1)
    other, average = copy.deepcopy(program), copy.deepcopy(program)
    recipe = Recipe(steps=6, lr=0.05, schedule=Cosine(warmup=2), ema=0.9, clip=0.5)
    torch.manual_seed(3)
    record = run(program, recipe=recipe).go()
    torch.manual_seed(3)
    optimizer = torch.optim.Adam(other.parameters(), lr=0.05)
    scheduler, feed = Cosine(warmup=2)(optimizer, 6), Feed(other, X, 8)
    losses = []
    for t in range(1, 7):
        optimizer.zero_grad()
        loss = -other.marginal().log_prob(feed.next()[0]).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(other.parameters(), 0.5)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        d = min(0.9, (1 + t) / (10 + t))
        with torch.no_grad():
            for mean, p in zip(average.parameters(), other.parameters(), strict=True):
                mean.mul_(d).add_((1 - d) * p)
    assert [value for _, value in next(iter(record.history.values()))] == pytest.approx(losses, rel=1e-4)
    for mine, theirs in zip(program.parameters(), average.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)
    assert "moving average" in record.notes[-1] and record.steps == 6 and program.fitted


def test_players_take_their_own_steps_rates_and_betas():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.calls = nn.Parameter(torch.zeros(1)), 0

        def forward(self, x, context=None):
            self.calls += 1
            return (self.w - 1).square().sum()

    critic, generator = Counting(), Counting()
    program = PPCA(3, 1)
    players = [
        Player("critic", critic, trainable(critic), steps=3, lr=0.5, betas=(0.0, 0.9)),
        Player("generator", generator, trainable(generator)),
    ]
    rates: list[float] = []

    def look(_: StepEvent) -> None:
        rates.append(made.optimizers["critic"].param_groups[0]["lr"])

    made = run(program, players, Recipe(steps=4, lr=0.01, schedule=Cosine()), callbacks=(look,))
    record = made.go()
    assert (critic.calls, generator.calls) == (12, 4)
    group = made.optimizers["critic"].param_groups[0]
    assert group["initial_lr"] == 0.005 and group["betas"] == (0.0, 0.9)
    halves = [0.5 * (1 + math.cos(math.pi * k / 4)) for k in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.005 * factor for factor in halves], abs=1e-9)  # over its own 12 steps
    assert {name: len(curve) for name, curve in record.history.items()} == {"critic": 4, "generator": 4}
    with pytest.raises(ArgumentError, match="2 players"):
        run(program, players, optimizer=torch.optim.SGD(critic.parameters(), lr=1.0)).go()


def test_the_best_validation_stays_and_patience_ends_the_run():
    """Rates so large that the loss rises: the first validated parameters are the best."""
    program = PPCA(3, 1)
    kept: dict[int, dict[str, torch.Tensor]] = {}

    def keep(event: StepEvent) -> None:
        kept[event.step] = {k: v.detach().clone() for k, v in event.program.state_dict().items()}

    made = run(program, recipe=Recipe(steps=40, lr=1.0), validation=Feed(program, X, 8), validate_every=1,
               patience=3, callbacks=(keep,))  # fmt: skip
    record = made.go()
    curve = dict(record.history["validation"])
    best = min(curve, key=curve.__getitem__)
    assert record.best_step == best and all(
        torch.equal(v, kept[best][k]) for k, v in program.state_dict().items()
    )
    assert curve[best] == pytest.approx(-program.log_prob(X).mean().value, rel=1e-4)
    assert "did not improve 3 times" in record.stopped and record.steps == best + 3


def test_a_callback_stops_and_an_interrupt_keeps_the_work(tmp_path: Path):
    record = run(PPCA(3, 1), callbacks=(lambda event: event.step == 2,)).go()
    assert record.steps == 2 and record.stopped == "stopped by a callback at step 2"

    def interrupt(event: StepEvent) -> None:
        if event.step == 3:
            raise KeyboardInterrupt

    record = run(PPCA(3, 1), callbacks=(interrupt,), checkpoint=tmp_path / "run.safetensors").go()
    assert record.stopped == "interrupted at step 3" and (tmp_path / "run.safetensors").is_file()


def test_updates_stop_at_convergence_and_refuse_nonsense():
    program, losses = PPCA(3, 1), iter([3.0, 2.0, 2.0 - 1e-9, 1.0])
    player = Player("em", nn.Identity(), update=lambda x, c: torch.tensor(next(losses), dtype=torch.float64))
    record = run(program, [player], Recipe(steps=9)).go()
    assert record.stopped == "converged after 3 updates" and record.final["em"] == pytest.approx(2.0)

    def spoil(x, c):
        with torch.no_grad():
            program.mean.fill_(float("nan"))
        return torch.tensor(float("nan"))

    with pytest.raises(DivergedError, match="update 1"):
        run(program, [Player("em", nn.Identity(), update=spoil)]).go()
    assert program.mean.abs().max() == 0  # put back
