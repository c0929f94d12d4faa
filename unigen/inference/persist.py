"""save and load a program: its weights, and how to construct it, without ever unpickling.

A file names the family and its constructor arguments. Loading constructs only classes listed in
``unigen.names``; a program of the user's own, or one with parts of the user's own, is loaded ``into`` an
instance that the user constructs.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch

from unigen.errors import CheckpointError
from unigen.inference.checkpoint import read_checkpoint, write_checkpoint
from unigen.inference.nested_state import flatten_state, unflatten_state
from unigen.names import PARTS, programs, resolve
from unigen.program import Program

_PLAIN = (bool, int, float, str, type(None))


def _encode(value: Any) -> Any:
    """Describe a constructor argument in plain data.

    Raises:
        TypeError: It is no plain value, family or part.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (tuple, list)):
        return [_encode(v) for v in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encode(v) for key, v in value.items()}}
    name = type(value).__name__
    if isinstance(value, Program) and name in programs():
        return {
            "program": name,
            "arguments": {k: _encode(v) for k, v in value.__dict__["_arguments"].items()},
        }
    if name in PARTS and type(value).__module__ == PARTS[name]:
        names = list(inspect.signature(type(value)).parameters)
        if all(hasattr(value, n) for n in names):
            return {"part": name, "arguments": {n: _encode(getattr(value, n)) for n in names}}
    raise TypeError(name)


def _decode(node: Any) -> Any:
    if isinstance(node, list):
        return tuple(_decode(v) for v in node)
    if not isinstance(node, dict):
        return node
    if "dict" in node:
        return {key: _decode(v) for key, v in node["dict"].items()}
    arguments = {key: _decode(v) for key, v in node.get("arguments", {}).items()}
    if "program" in node:
        return resolve(node["program"], programs())(**arguments)
    return resolve(node["part"], PARTS)(**arguments)


def program_tree(program: Program) -> dict[str, Any]:
    """Return family, constructor arguments (None if they cannot be written down) and weights."""
    try:
        recipe, why = _encode(program), None
    except TypeError as error:
        recipe, why = None, f"it holds a {error} that unigen does not know"
    return {
        "family": program.name,
        "event_shape": list(program.event_shape),
        "formula": program.formula,
        "recipe": recipe,
        "why": why,
        "fitted": program.fitted,
        "dtype": str(program.dtype).removeprefix("torch."),
        "state": program.state_dict(),
    }


def check_same_program(program: Program, tree: dict[str, Any], path: Path) -> None:
    """Refuse a checkpoint of another program.

    Raises:
        CheckpointError: Family, event shape or parameter shapes differ.
    """
    if "family" not in tree or "state" not in tree:
        raise CheckpointError(f"{path} holds no unigen program")
    have = {k: tuple(v.shape) for k, v in program.state_dict().items()}
    saved = {k: tuple(v.shape) for k, v in tree["state"].items()}
    got = (tree["family"], tuple(tree["event_shape"]))
    expected = (program.name, tuple(program.event_shape))
    if got == expected and have == saved:
        return
    different = sorted(k for k in have.keys() | saved.keys() if have.get(k) != saved.get(k))
    shapes = ("", "")
    if different:
        shapes = (f", {different[0]} {saved.get(different[0])}", f", {different[0]} {have.get(different[0])}")
    raise CheckpointError(
        f"{path} is a checkpoint of another program",
        program=program.name,
        got=f"{got[0]} with event shape {got[1]}{shapes[0]}",
        expected=f"{expected[0]} with event shape {expected[1]}{shapes[1]}",
        hint="construct the program with the arguments it was saved with, or use ug.load(path)",
    )


def save(program: Program, path: str | Path) -> Path:
    """Write a program to a file, atomically: the file is the old one or the new one, never half of each.

    Args:
        program: Any program.
        path: The file; by convention ``name.safetensors``.

    Returns:
        The path.

    Raises:
        CheckpointError: The file cannot be written; an older one is left intact.

    Example:
        >>> import tempfile, unigen as ug
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = ug.save(ug.PPCA(features=3, latents=1), f"{folder}/ppca.safetensors")
        ...     print(ug.load(path).formula)
        p(x, z) = p(x | z) p(z);  q(z | x)
    """
    tensors, tree = flatten_state(program_tree(program))
    return write_checkpoint(path, tensors, {"content": "program", "tree": tree})


def load(path: str | Path, *, into: Program | None = None, device: str | torch.device = "cpu") -> Program:
    """Read a program from a file written by ``save``, or from the checkpoint of a fit.

    Args:
        path: The file.
        into: A program of the same construction that takes the weights; needed when the file's program has
            parts that are not unigen's own.
        device: Where the program goes.

    Returns:
        The program (``into`` if given).

    Raises:
        CheckpointError: The file is missing, damaged, not a checkpoint, or of another program; ``into`` is
            then unchanged.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path, device="cpu")
    tree = unflatten_state(checkpoint.tensors, checkpoint.meta.get("tree"))
    program = _construct(tree, path) if into is None else into
    check_same_program(program, tree, path)
    program.load_state_dict(tree["state"])
    program.fitted = bool(tree["fitted"])
    return program.to(device) if into is None else program


def _construct(tree: dict[str, Any], path: Path) -> Program:
    if tree.get("recipe") is None:
        raise CheckpointError(
            f"{path} cannot be constructed by name: {tree.get('why', 'it holds no program')}",
            program=tree.get("family"),
            hint="construct the program yourself and call ug.load(path, into=program)",
        )
    try:
        program = _decode(tree["recipe"])
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} names a construction that this version refuses: {error}") from error
    if not isinstance(program, Program):
        raise CheckpointError(f"{path} holds no program")
    return program.to(getattr(torch, tree["dtype"]))
