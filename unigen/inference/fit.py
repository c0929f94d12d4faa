"""fit: program, data → the objective's players → one optimiser step a player → a record of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import EllipsisType
from typing import Any

import torch

from unigen.errors import ArgumentError
from unigen.inference.feed import Feed
from unigen.inference.record import Record
from unigen.inference.run import Run, StepEvent
from unigen.objectives.elbo import ELBO
from unigen.objectives.objective import Objective, Player
from unigen.objectives.pyro_elbo import PyroELBO
from unigen.program import Program
from unigen.recipe import Recipe, Schedule

COMPILE_FROM = 10_000  # rounds from which compilation (10–25 s) pays for itself


def _recipe(program: Program, changes: dict[str, Any]) -> Recipe:
    given = {name: value for name, value in changes.items() if value is not ...}
    recipe = dataclasses.replace(program.recipe, **given)
    for name, low in (("steps", 1), ("batch_size", 1)):
        value = getattr(recipe, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ArgumentError(program=program.name, site=name, got=value, expected=f"an integer ≥ {low}")
    if not recipe.lr > 0:
        raise ArgumentError(program=program.name, site="lr", got=recipe.lr, expected="> 0")
    if recipe.clip is not None and not recipe.clip > 0:
        raise ArgumentError(program=program.name, site="clip", got=recipe.clip, expected="> 0 or None")
    return recipe


def _objective(program: Program, given: Any) -> Objective:
    if isinstance(given, type):
        raise ArgumentError(
            program=program.name, site="objective", got=f"the class {given.__name__}", expected="an instance",
            hint=f"objective={given.__name__}()",
        )  # fmt: skip
    if given is None or isinstance(given, Objective):
        return given or program.objective or ELBO()
    return PyroELBO(given)


def _device(device: str | torch.device) -> torch.device:
    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _players(program: Program, objective: Objective) -> list[Player]:
    players = objective.players(program)
    for player in players:
        player.loss.to(device=program.device, dtype=program.dtype)
        if player.update is None and not player.parameters:
            raise ArgumentError(
                f"the player '{player.name}' has no parameters to train",
                program=program.name,
                hint="weights must be nn.Parameters of the program or of a part it holds",
            )
    return players


def _check_options(
    program: Program,
    steps: int | None,
    epochs: int | None,
    resume: bool,
    checkpoint: str | Path | None,
    compile: bool | str,
) -> None:
    if steps is not None and epochs is not None:
        raise ArgumentError("steps and epochs exclude one another", program=program.name, hint="give one")
    if epochs is not None and epochs < 1:
        raise ArgumentError(program=program.name, site="epochs", got=epochs, expected="≥ 1")
    if resume and checkpoint is None:
        raise ArgumentError("resume needs a checkpoint", program=program.name, hint="checkpoint='run.ckpt'")
    if compile not in (True, False, "auto"):
        raise ArgumentError(site="compile", got=compile, expected="True, False or 'auto'")


def _validation(program: Program, players: list[Player], data: Any, given: Any) -> Any:
    """Return the held-out data: those given, or a Dataset's own where the objective has a use for them."""
    if given is not None and len(players) > 1:
        raise ArgumentError(
            "a game has no validation loss", program=program.name, hint="watch it with a callback instead"
        )
    if given is not None:
        return given
    if not hasattr(data, "fresh_train") or len(players) > 1 or players[0].update is not None:
        return None
    return data.validation, data.context("validation") if program.context_features else None


def _cuda_devices(program: Program) -> list[torch.device]:
    return [program.device] if program.device.type == "cuda" else []


def fit(
    program: Program,
    data: Any,
    *,
    objective: Any = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] | torch.optim.Optimizer | None = None,
    schedule: Schedule | EllipsisType | None = ...,
    validation: Any = None,
    validate_every: int | None = None,
    patience: int | None = None,
    clip: float | EllipsisType | None = ...,
    ema: float | EllipsisType | None = ...,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    seed: int | None = None,
    progress: bool | str = "auto",
    callbacks: Sequence[Callable[[StepEvent], bool | None]] = (),
    compile: bool | str = "auto",
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
) -> Record:
    """Fit a program to data in place: closed form, EM, gradient steps or an adversarial game alike.

    What is not given (``...``) comes from the family's ``recipe``; None switches schedule, clip or ema off. With
    validation data the program ends with the parameters of the best validation loss; with ``ema`` it ends with
    their moving average. A Dataset's own validation split is left aside where it has no use: closed forms, EM, games.

    Args:
        program: What is fitted.
        data: Tensor or array (N, *event), a pair (x, context), a unigen ``Dataset`` (fresh dequantisation
            noise for every batch, its validation split as validation), a torch ``Dataset`` or ``DataLoader``. A
            ``numpy.memmap`` stays in its file, which closed forms read a chunk of rows at a time and gradient
            steps a batch at a time, starting values coming from a sample of its rows; EM steps get all of it at
            once, read into memory if the file has another dtype than the program.
        objective: What is minimised: an objective, or an ELBO of ``pyro.infer``; the program's own if omitted.
        steps: Rounds; in each every player takes its steps. Excludes ``epochs``.
        epochs: Passes over the data instead.
        batch_size: Examples a batch.
        lr: Learning rate.
        optimizer: A torch optimiser class or function ``(parameters, lr=…)``, or an instance.
        schedule: Function (optimiser, steps) → torch learning-rate scheduler, e.g. ``Cosine()``.
        validation: Held-out data in any of the forms of ``data``; the objective is its measure.
        validate_every: Steps between validations (by default 50 times a run, at least an epoch apart).
        patience: Stop after this many validations without improvement.
        clip: Largest gradient norm.
        ema: Decay of the exponential moving average of the parameters.
        device: "auto" takes a GPU if there is one.
        dtype: Floating dtype to convert the program to.
        seed: Makes the run reproducible without touching the global random state.
        progress: Progress bar: True, False or "auto" (only on a terminal).
        callbacks: Called after each step with a ``StepEvent``; returning True stops the run.
        compile: Compile the whole step: True, False or "auto" (runs of 10,000 rounds or more).
        checkpoint: File to write the state of the run to, atomically.
        checkpoint_every: Steps between checkpoints (by default 10 a run); one is written at the end.
        resume: Continue from ``checkpoint`` if it exists, bitwise as if never interrupted.

    Returns:
        Record of the run, which plots itself.

    Raises:
        UnigenError: Bad data or options, before any work.
        DivergedError: A loss or gradient became non-finite; the parameters are those of the last good step,
            and the last checkpoint is intact.

    Example:
        >>> import unigen as ug
        >>> ppca = ug.PPCA(features=3, latents=1)
        >>> ug.fit(ppca, torch.randn(50, 3)).stopped
        'solved in closed form'
    """
    _check_options(program, steps, epochs, resume, checkpoint, compile)
    make = None if isinstance(optimizer, torch.optim.Optimizer) else optimizer
    changes = {"steps": steps, "batch_size": batch_size, "lr": lr, "optimizer": make}
    changes = {name: ... if value is None else value for name, value in changes.items()}
    recipe = _recipe(program, changes | {"schedule": schedule, "clip": clip, "ema": ema})
    program.check()
    program.to(device=_device(device), dtype=dtype)
    feed = Feed(program, data, recipe.batch_size)
    if epochs is not None:
        recipe = dataclasses.replace(recipe, steps=epochs * feed.per_epoch)
    program.data_size = feed.size
    chosen = _objective(program, objective)
    with torch.random.fork_rng(enabled=seed is not None, devices=_cuda_devices(program)):
        if seed is not None:
            torch.manual_seed(seed)
        if not program.fitted:
            program.initialise(*feed.start())
        players = _players(program, chosen)
        held = _validation(program, players, data, validation)
        run = Run(
            program=program,
            players=players,
            feed=feed,
            recipe=recipe,
            record=Record(program.name, repr(chosen)),
            optimizer=optimizer if isinstance(optimizer, torch.optim.Optimizer) else None,
            validation=None if held is None else Feed(program, held, recipe.batch_size),
            validate_every=validate_every,
            patience=patience,
            callbacks=tuple(callbacks),
            compile=recipe.steps >= COMPILE_FROM if compile == "auto" else bool(compile),
            checkpoint=None if checkpoint is None else Path(checkpoint),
            checkpoint_every=checkpoint_every,
            progress=progress,
        )
        return run.go(resume)
