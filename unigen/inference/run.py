"""Run: the loop of a fit, its validation, its record and its checkpoints."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from unigen.errors import ArgumentError, DivergedError
from unigen.inference.averages import Average, copy_state
from unigen.inference.feed import Feed
from unigen.inference.progress import Bar, progress_bar
from unigen.inference.record import Record
from unigen.inference.run_state import read_run, write_run
from unigen.inference.step import Step, StepResult, diagnose, make_step
from unigen.objectives.objective import Player
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.recipe import Recipe

VALIDATION_SEED = 0  # the same random numbers at every validation


@dataclass(frozen=True)
class StepEvent:
    """What a callback sees after a round.

    Args:
        program: The program as it stands.
        step: Rounds done.
        losses: Last loss of each player.
        record: The record so far.
    """

    program: Program
    step: int
    losses: dict[str, float]
    record: Record


@dataclass
class Run:
    """One fit in progress; ``fit`` documents the options."""

    program: Program
    players: list[Player]
    feed: Feed
    recipe: Recipe
    record: Record
    optimizer: torch.optim.Optimizer | None = None
    validation: Feed | None = None
    validate_every: int | None = None
    patience: int | None = None
    callbacks: tuple[Callable[[StepEvent], bool | None], ...] = ()
    compile: bool = False
    checkpoint: Path | None = None
    checkpoint_every: int | None = None
    progress: bool | str = "auto"

    step: int = 0
    best: dict[str, Any] | None = None
    optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    schedulers: dict[str, LRScheduler] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    average: Average | None = None

    def go(self, resume: bool = False) -> Record:
        """Run to the end and return the record."""
        began = time.perf_counter()
        if any(player.update is not None for player in self.players):
            self._go_updates(resume)
        else:
            self._go_gradients(resume)
        self.record.seconds += time.perf_counter() - began
        self.record.steps = self.step
        self.program.fitted = True
        return self.record

    def _resume(self, resume: bool) -> None:
        if not resume or self.checkpoint is None:
            return
        if self.checkpoint.exists():
            read_run(self, self.checkpoint)
        else:
            self.record.notes.append(f"no checkpoint at {self.checkpoint}: started from the beginning")

    # -- closed forms and EM -------------------------------------------------------------------------------

    def _go_updates(self, resume: bool) -> None:
        self._resume(resume)
        player = self.players[0]
        assert player.update is not None
        x, context = self.feed.source() if player.once else self.feed.everything()
        self.record.stopped = "all steps done"
        with progress_bar(1 if player.once else self.recipe.steps, self.program.name, self.progress) as bar:
            while self.step < self.recipe.steps:
                if self._update(player, x, context, bar):
                    break
        if self.checkpoint is not None:
            write_run(self, self.checkpoint)
        self._choose_parameters()

    def _update(self, player: Player, x: Tensor, context: Tensor | None, bar: Bar) -> bool:
        """Make one update; return whether it was the last."""
        assert player.update is not None
        kept, curve = copy_state(self.program), self.record.history.get(player.name, [])
        loss = float(player.update(x, context))
        if not math.isfinite(loss):
            self.program.load_state_dict(kept)
            raise DivergedError(
                f"the loss became {loss} in update {self.step + 1}; parameters are those before it",
                program=self.program.name,
                hint="fewer components or latents, or a larger variance floor",
            )
        self.step += 1
        previous = curve[-1][1] if curve else math.inf
        self.record.add(player.name, self.step, loss)
        bar(self.step, f"{player.name} {loss:.4f}")
        self._validate()
        event = StepEvent(self.program, self.step, {player.name: loss}, self.record)
        if player.once:
            self.record.stopped = "solved in closed form"
        elif previous - loss < self.recipe.tolerance:
            self.record.stopped = f"converged after {self.step} updates"
        else:
            return self._stopped_by_callback(event) or self._patience_spent()
        return True

    def _stopped_by_callback(self, event: StepEvent) -> bool:
        """Call every callback; return whether one of them asked to stop."""
        if any([callback(event) for callback in self.callbacks]):  # noqa: C419  (all of them are called)
            self.record.stopped = f"stopped by a callback at step {self.step}"
            return True
        return False

    # -- gradients -----------------------------------------------------------------------------------------

    def _make_optimizer(self, player: Player) -> torch.optim.Optimizer:
        if self.optimizer is not None:
            if len(self.players) > 1:
                raise ArgumentError(
                    f"one optimiser cannot serve {len(self.players)} players",
                    program=self.program.name,
                    hint="pass a class or function instead of an instance",
                )
            return self.optimizer
        options: dict[str, Any] = {"lr": self.recipe.lr * player.lr}
        if player.betas is not None:
            options["betas"] = player.betas
        return self.recipe.optimizer(list(player.parameters.values()), **options)

    def _prepare(self) -> None:
        for player in self.players:
            optimizer = self._make_optimizer(player)
            self.optimizers[player.name] = optimizer
            if self.recipe.schedule is not None:
                self.schedulers[player.name] = self.recipe.schedule(
                    optimizer, self.recipe.steps * player.steps
                )
        if self.recipe.ema is not None:
            self.average = Average(self.program, self.recipe.ema)

    def _make_steps(self, example: tuple[Tensor, Tensor | None]) -> None:
        for player in self.players:
            self.steps[player.name] = make_step(
                player.loss,
                player.parameters,
                self.optimizers[player.name],
                clip=self.recipe.clip,
                compile=self.compile,
                example=example,
                say=self.record.notes.append,
            )
        self.record.compiled = all(step.compiled for step in self.steps.values())

    def _go_gradients(self, resume: bool) -> None:
        self._prepare()
        self._resume(resume)
        self.program.train()
        for player in self.players:
            player.loss.train()
        total = self.recipe.steps
        every = self.checkpoint_every or max(1, total // 10)
        look = self.validate_every or max(min(self.feed.per_epoch, total), total // 50)
        self.record.stopped = "all steps done"
        try:
            with progress_bar(total, self.program.name, self.progress) as bar:
                while self.step < total:
                    losses = self._round()
                    if self.step % look == 0 or self.step == total:
                        self._validate()
                    if self._tell(losses, bar) or self._patience_spent():
                        break
                    if self.checkpoint is not None and self.step % every == 0 and self.step < total:
                        write_run(self, self.checkpoint)
        except KeyboardInterrupt:
            self.record.stopped = f"interrupted at step {self.step}"
        if self.checkpoint is not None:
            write_run(self, self.checkpoint)
        self._choose_parameters()
        self.program.eval()

    def _round(self) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for player in self.players:
            for _ in range(player.steps):
                batch = self.feed.next()
                if not self.steps:
                    self._make_steps(batch)
                result = self.steps[player.name](*batch)
                if not bool(result.finite):
                    self._diverged(player, result, batch)
                losses[player.name] = result.loss
                if player.name in self.schedulers:
                    self.schedulers[player.name].step()
        self.step += 1
        if self.average is not None:
            self.average.update()
        return losses

    def _diverged(self, player: Player, result: StepResult, batch: tuple[Tensor, Tensor | None]) -> None:
        where = diagnose(player.loss, player.parameters, *batch)
        self.program.eval()
        raise DivergedError(
            f"step {self.step + 1}, player '{player.name}': loss {float(result.loss):.6g}, gradient norm "
            f"{float(result.grad_norm):.6g}; {where}. Parameters are those of step {self.step}",
            program=self.program.name,
            hint="a smaller lr, clip=1.0, or look at the data of that step",
        )

    def _tell(self, losses: dict[str, Tensor], bar: Bar) -> bool:
        log = max(1, self.recipe.steps // 1000)
        numbers: dict[str, float] = {}
        if self.step % log == 0 or self.callbacks:
            numbers = {name: float(value) for name, value in losses.items()}
        if self.step % log == 0:
            for name, value in numbers.items():
                self.record.add(name, self.step, value)
            bar(self.step, "  ".join(f"{name} {value:.4f}" for name, value in numbers.items()))
        event = StepEvent(self.program, self.step, numbers, self.record)
        return self._stopped_by_callback(event)

    # -- validation and the parameters that stay -----------------------------------------------------------

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.average is None else self.average.swapped()

    def _validate(self) -> None:
        if self.validation is None or not self.players[0].measure:
            return
        loss, total, count = self.players[0].loss, 0.0, 0
        with self._averaged(), evaluating(self.program), seeded(VALIDATION_SEED, self.program.device):
            loss.eval()
            with torch.no_grad():
                for rows, c in self.validation.chunks(max(self.recipe.batch_size, 256)):
                    total += float(loss(rows, c)) * rows.shape[0]
                    count += rows.shape[0]
            value = total / count
            self.record.add("validation", self.step, value)
            if value == value and (self.best is None or value < self.best["value"]):
                self.best = {"value": value, "step": self.step, "state": copy_state(self.program)}
        loss.train()

    def _patience_spent(self) -> bool:
        if self.patience is None or self.best is None:
            return False
        later = [step for step, _ in self.record.history["validation"] if step > self.best["step"]]
        if len(later) < self.patience:
            return False
        self.record.stopped = f"validation did not improve {len(later)} times"
        return True

    def _choose_parameters(self) -> None:
        self.record.average = self.average
        if self.average is not None:
            self.average.swap()  # it now keeps the parameters of the last step
        if self.best is not None:
            self.program.load_state_dict(self.best["state"])
            self.record.best_step = self.best["step"]
        elif self.average is not None:
            self.record.notes.append("parameters are their exponential moving average")
