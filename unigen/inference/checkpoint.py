"""Checkpoints: one safetensors file that proves itself whole, and is replaced in one step.

A checkpoint is a valid safetensors file (any safetensors tool reads its tensors) whose metadata carries a manifest:

    bytes 0-7      length of the header, little-endian
    header         JSON: dtype, shape, place and sha256 of every tensor, the caller's ``meta``, the header's own sha256
    data           the tensors without gaps, to the last byte of the file

:mod:`unigen.inference.checkpoint_header` defines the header, :mod:`unigen.inference.nested_state` how ``meta`` is
encoded, so that infinities, tuples and integer keys survive, and :mod:`unigen.inference.atomic_file` how the file
replaces the one before it.

Reading trusts nothing: the header's digest first, then a strict parse, then the size of the file; only then is memory
taken, tensor by tensor, and each digest compared. Every flipped bit and every cut is an error that names the part
concerned, and nothing is ever unpickled. The digests detect damage; they are no signature, and do not tell who wrote
the file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unigen.errors import CheckpointError
from unigen.inference.atomic_file import atomic_file, write_all
from unigen.inference.checkpoint_header import (
    DTYPES,
    HEADER_START,
    MAX_HEADER,
    data_ranges,
    encode_header,
    parse_header,
    plan_manifest,
)
from unigen.inference.file_kind import describe_start
from unigen.inference.nested_state import from_json

_CHUNK = 4 * 2**20
_RESTORE = "restore an earlier checkpoint or a copy: this file was changed or cut after it was written"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Args:
        tensors: The tensors by name, in the order in which they were written.
        meta: The rest: step, settings, history, encoded states.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def write_checkpoint(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], meta: Mapping[str, object]
) -> Path:
    """Write tensors and metadata as one file that replaces ``path`` only when it is complete on disk.

    Tensors may lie on any device and have any strides; tensors that are the same memory are stored once. One tensor
    at a time is copied, so the extra memory is at most the largest one, and none for contiguous tensors on the CPU.

    Args:
        path: The file; its folder must exist. A checkpoint already there stays until the new one is complete.
        tensors: Dense tensors by name.
        meta: Dictionaries, lists, tuples, numbers, strings and None; floats round-trip exactly, inf and NaN included.

    Returns:
        The path.

    Raises:
        CheckpointError: Something cannot be stored, or the disk is full, read-only or failed; the message names the
            key or the path. No temporary file is left and ``path`` still holds what it held.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "step-10.safetensors"
        >>> path = write_checkpoint(path, {"w": torch.eye(2)}, {"step": 10, "best": float("inf")})
        >>> checkpoint = read_checkpoint(path)
        >>> checkpoint.meta, checkpoint.tensors["w"].tolist()
        ({'step': 10, 'best': inf}, [[1.0, 0.0], [0.0, 1.0]])
    """
    with _typed_errors(path, "write"):
        if os.path.isdir(path):
            raise CheckpointError(
                "The path is a folder", hint="name a file in it, such as step-10.safetensors"
            )
        manifest = plan_manifest(tensors, meta)
        entries = manifest["tensors"]
        room = len(encode_header(manifest))
        with atomic_file(Path(path)) as file:
            file.seek(8 + room)
            for name in data_ranges(entries):
                entries[name]["sha256"] = _write_tensor(file, name, tensors[name])
            file.seek(0)
            write_all(file, room.to_bytes(8, "little") + encode_header(manifest))
    return Path(path)


def read_checkpoint(path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint, checking every byte; never runs code from the file.

    Memory: the file's size once, and one tensor more when ``device`` is not the CPU.

    Args:
        path: A file :func:`write_checkpoint` wrote.
        device: Where the tensors go.

    Returns:
        The tensors (what shared memory shares it again) and the metadata.

    Raises:
        CheckpointError: No such file; a file of another kind, with what it looks like; another format version; or a
            damaged or cut file, with the part that is damaged.
    """
    with _typed_errors(path, "read"), _open(path) as file:
        _check_device(device)
        size = os.fstat(file.fileno()).st_size
        header = _read_header(file, size)
        manifest = parse_header(header)
        entries = manifest["tensors"]
        ranges = data_ranges(entries)
        _check_size(ranges, 8 + len(header), size)
        meta = from_json(manifest["meta"])
        if type(meta) is not dict:
            raise CheckpointError("The file's meta is not a dictionary", hint=_RESTORE)
        loaded = {name: _read_tensor(file, name, entries[name], device) for name in ranges}
        return Checkpoint({name: loaded[entry.get("same_as", name)] for name, entry in entries.items()}, meta)


def _write_tensor(file: io.FileIO, name: str, tensor: Tensor) -> str:
    """Write one tensor's bytes and return the digest of exactly the bytes written."""
    try:
        flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        if flat.dtype is torch.bool:
            flat = flat.view(torch.uint8).ne(0)  # a view of other bytes may hold more than 0 and 1
    except (MemoryError, RuntimeError) as error:  # torch reports a failed allocation as RuntimeError
        raise CheckpointError(
            f"Cannot copy tensor '{name}': {error!s:.200}", hint="free some memory"
        ) from error
    digest = hashlib.sha256()
    octets = flat.view(torch.uint8).numpy().data
    for start in range(0, flat.nbytes, _CHUNK):
        chunk = bytes(octets[start : start + _CHUNK])  # a copy: another thread may be training
        digest.update(chunk)
        write_all(file, chunk)
    return digest.hexdigest()


def _read_tensor(file: io.FileIO, name: str, entry: Mapping[str, Any], device: str | torch.device) -> Tensor:
    try:
        tensor = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
    except (MemoryError, RuntimeError) as error:
        raise CheckpointError(
            f"No memory for tensor '{name:.80}': {error!s:.200}", hint="free some memory"
        ) from error
    octets = tensor.view(-1).view(torch.uint8) if tensor.numel() else torch.empty(0, dtype=torch.uint8)
    view = octets.numpy().data
    done = 0
    while done < view.nbytes:
        count = file.readinto(view[done:])
        if not count:
            raise CheckpointError(
                f"The file was cut inside tensor '{name:.80}' while it was read", hint=_RESTORE
            )
        done += count
    if hashlib.sha256(view).hexdigest() != entry["sha256"]:
        raise CheckpointError(f"Tensor '{name:.80}' is damaged: its sha256 does not match", hint=_RESTORE)
    if tensor.dtype is torch.bool and bool((octets > 1).any()):
        raise CheckpointError(f"Tensor '{name:.80}' is of booleans, and holds other values", hint=_RESTORE)
    try:
        return tensor.to(device)
    except RuntimeError as error:
        raise CheckpointError(
            f"No memory for tensor '{name:.80}' on {device}", hint="device='cpu'"
        ) from error


def _read_header(file: io.FileIO, size: int) -> bytes:
    start = file.read(4096) or b""
    if not start:
        raise CheckpointError("The file is empty", hint=_RESTORE)
    length = int.from_bytes(start[:8], "little")
    ours = start[8:].startswith(HEADER_START) or (
        size < 8 + len(HEADER_START) and HEADER_START.startswith(start[8:])
    )
    if not ours:
        found, hint = describe_start(start)
        raise CheckpointError(
            "Not a checkpoint", got=found, expected="a file written by write_checkpoint", hint=hint
        )
    if length > MAX_HEADER or length % 8:
        raise CheckpointError(
            "The header's length is damaged", got=length, expected=f"≤ {MAX_HEADER}", hint=_RESTORE
        )
    if 8 + length > size:
        raise CheckpointError(
            "The file is cut short in its header, or the header's length is damaged",
            got=f"{size} bytes",
            expected=f"at least {8 + length}",
            hint=_RESTORE,
        )
    file.seek(8)
    header = b""
    while len(header) < length:
        part = file.read(length - len(header))
        if not part:
            raise CheckpointError("The file was cut in its header while it was read", hint=_RESTORE)
        header += part
    return header


def _check_size(ranges: Mapping[str, tuple[int, int]], offset: int, size: int) -> None:
    expected = offset + max((end for _, end in ranges.values()), default=0)
    if size == expected:
        return
    lost = next((name for name, (_, end) in ranges.items() if offset + end > size), None)
    what = (
        "There are bytes after the last tensor"
        if lost is None
        else f"The file is cut short at tensor '{lost:.80}'"
    )
    raise CheckpointError(what, got=f"{size} bytes", expected=expected, hint=_RESTORE)


def _check_device(device: str | torch.device) -> None:
    try:
        if torch.empty(0, device=device).is_meta:
            raise RuntimeError("it holds no values")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise CheckpointError(
            f"Device '{device}' cannot be used: {error!s:.200}", hint="device='cpu'"
        ) from error


@contextlib.contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[io.FileIO]:
    """Open a regular file and nothing else; a pipe or a device neither hangs nor answers."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with io.FileIO(descriptor) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CheckpointError("Not a file", got="a device or a pipe", expected="a regular file")
        yield file


@contextlib.contextmanager
def _typed_errors(path: str | os.PathLike[str], action: str) -> Iterator[None]:
    """Turn what the system refuses into a CheckpointError, and name the path in every one."""
    try:
        yield
    except CheckpointError as error:
        error.program = error.program or f"Checkpoint {os.fspath(path)}"
        raise
    except (OSError, MemoryError, ValueError) as error:  # ValueError: a NUL in the path
        code = error.errno if isinstance(error, OSError) else None
        if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            hint = "free space, or another folder"
        elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = f"a folder you may {action} in"
        elif code in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            hint = "the name of a file that is there" if action == "read" else "a file in an existing folder"
        else:
            hint = "another path, or free memory"
        kept = "; the file before it, if any, is intact" if action == "write" else ""
        reason = getattr(error, "strerror", None) or f"{type(error).__name__} {error!s:.200}".strip()
        message = f"Cannot {action} it: {reason}{kept}"
        raise CheckpointError(message, program=f"Checkpoint {os.fspath(path)}", hint=hint) from error
