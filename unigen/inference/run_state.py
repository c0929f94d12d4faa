"""The whole state of a run as one checkpoint, so that a resumed run continues bitwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from unigen.errors import CheckpointError
from unigen.inference.checkpoint import read_checkpoint, write_checkpoint
from unigen.inference.nested_state import flatten_state, unflatten_state
from unigen.inference.random_state import capture_random_state, restore_random_state

if TYPE_CHECKING:
    from unigen.inference.run import Run
    from unigen.program import Program


def _own_state(loss: nn.Module, program: Program) -> dict[str, Tensor]:
    """Return what a loss holds besides the program: a critic, a replay buffer."""
    shared = {id(t) for t in [*program.parameters(), *program.buffers()]}
    return {k: v.detach() for k, v in loss.state_dict(keep_vars=True).items() if id(v) not in shared}


def _run_tree(run: Run) -> dict[str, Any]:
    tensors, numbers = run.feed.state()
    return {
        "run": {
            "objective": run.record.objective,
            "step": run.step,
            "history": {k: [list(point) for point in v] for k, v in run.record.history.items()},
            "seconds": run.record.seconds,
            "feed": {"tensors": tensors, "numbers": numbers},
            "losses": {p.name: _own_state(p.loss, run.program) for p in run.players},
            "optimizers": {k: v.state_dict() for k, v in run.optimizers.items()},
            "schedulers": {k: v.state_dict() for k, v in run.schedulers.items()},
            "average": None
            if run.average is None
            else {"steps": run.average.steps, "shadow": run.average.shadow},
            "best": run.best,
            "random": capture_random_state(),
        }
    }


def write_run(run: Run, path: Path) -> None:
    """Write the program and everything the run needs to continue."""
    from unigen.inference.persist import program_tree

    tensors, tree = flatten_state(program_tree(run.program) | _run_tree(run))
    write_checkpoint(path, tensors, {"content": "run", "tree": tree})


def read_run(run: Run, path: Path) -> None:
    """Put a run back to where the checkpoint was written; random state last.

    Raises:
        CheckpointError: The file is damaged, or is of another program or objective.
    """
    from unigen.inference.persist import check_same_program

    checkpoint = read_checkpoint(path, device=run.program.device)
    tree = unflatten_state(checkpoint.tensors, checkpoint.meta.get("tree"))
    check_same_program(run.program, tree, path)
    if "run" not in tree:
        raise CheckpointError(
            f"{path} holds a program and no run", hint="ug.load(path), then fit without resume"
        )
    saved = tree["run"]
    if saved["objective"] != run.record.objective:
        raise CheckpointError(
            f"{path} is a run of another objective", got=saved["objective"], expected=run.record.objective
        )
    run.program.load_state_dict(tree["state"])
    for player in run.players:
        player.loss.load_state_dict(saved["losses"][player.name], strict=False)
    for name, optimizer in run.optimizers.items():
        optimizer.load_state_dict(saved["optimizers"][name])
    for name, scheduler in run.schedulers.items():
        scheduler.load_state_dict(saved["schedulers"][name])
    if run.average is not None and saved["average"] is not None:
        run.average.steps = saved["average"]["steps"]
        for name, value in saved["average"]["shadow"].items():
            run.average.shadow[name].copy_(value)
    run.best, run.step = saved["best"] if run.validation is not None else None, saved["step"]
    run.record.history = {k: [(int(a), float(b)) for a, b in v] for k, v in saved["history"].items()}
    run.record.seconds = saved["seconds"]
    cpu = {name: value.cpu() for name, value in saved["feed"]["tensors"].items()}
    run.feed.restore(cpu, saved["feed"]["numbers"])
    restore_random_state(saved["random"])
