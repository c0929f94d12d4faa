"""The header of a checkpoint file: what it says of the tensors, and the proof that it says what was written.

    header         {"__metadata__": {"format": "unigen-checkpoint", "version": "1", "sha256": ..., "manifest": ...},
                    name: {"dtype", "shape", "data_offsets"}, ...}, padded with spaces to a multiple of 8 bytes

``sha256`` is the digest of the header itself, manifest included, with these 64 digits set to "0". ``manifest`` is
JSON, as a string because safetensors metadata holds only strings:

    {"tensors": {name: {"dtype", "shape", "sha256"} or {"same_as": name}, ...}, "meta": ...}

A later version may change all but the first three entries of the metadata and what ``sha256`` covers. A header is
accepted only if it is, byte for byte, the one :func:`encode_header` makes of its own manifest: that rules out gaps,
overlaps, wrong offsets, repeated names and anything else a hostile file could say twice and differently.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unigen.errors import CheckpointError
from unigen.inference.nested_state import to_json

FORMAT_VERSION = 1
HEADER_START = b'{"__metadata__":{"format":"unigen-checkpoint","version":"'
MAX_HEADER = 16 * 2**20  # bytes; with MAX_BRACKETS it bounds what parsing a hostile header can cost
MAX_BRACKETS = 2**18
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

_CODES = {dtype: code for code, dtype in DTYPES.items()}
_SEALED = re.compile(re.escape(HEADER_START) + rb'(\d{1,9})","sha256":"([0-9a-f]{64})"')
_HEX = re.compile(r"[0-9a-f]{64}")
_NO_DIGEST = "0" * 64
_MAX_RANK = 64


def plan_manifest(tensors: Mapping[str, Tensor], meta: Mapping[str, object]) -> dict[str, Any]:
    """Describe what is to be written; the digests of the tensors are still blank.

    Args:
        tensors: The tensors by name.
        meta: Everything else.

    Returns:
        The manifest.

    Raises:
        CheckpointError: A tensor or a value that the format cannot hold, named.
    """
    entries: dict[str, dict[str, Any]] = {}
    owners: dict[object, str] = {}
    for name, tensor in tensors.items():
        _check_storable(name, tensor)
        owner = owners.setdefault(_memory(tensor) if tensor.numel() else name, name)
        shape = [int(size) for size in tensor.shape]
        blank = {"dtype": _CODES[tensor.dtype], "shape": shape, "sha256": _NO_DIGEST}
        entries[name] = blank if owner == name else {"same_as": owner}
    return {"tensors": entries, "meta": to_json(dict(meta))}


def encode_header(manifest: Mapping[str, Any]) -> bytes:
    """Write the header for a manifest; equal manifests give equal bytes, and digests do not change its length.

    Args:
        manifest: As :func:`plan_manifest` makes it.

    Returns:
        The header, sealed with its digest, of a length divisible by 8.

    Raises:
        CheckpointError: It would be too large.
    """
    metadata = {
        "format": "unigen-checkpoint",
        "version": str(FORMAT_VERSION),
        "sha256": _NO_DIGEST,
        "manifest": json.dumps(manifest, separators=(",", ":"), allow_nan=False),
    }
    described: dict[str, object] = {"__metadata__": metadata}
    for name, (begin, end) in data_ranges(manifest["tensors"]).items():
        entry = manifest["tensors"][name]
        described[name] = {"dtype": entry["dtype"], "shape": entry["shape"], "data_offsets": [begin, end]}
    text = json.dumps(described, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    _check_extent(text, "keep long histories and tables as tensors")
    start = text.index(_NO_DIGEST.encode())
    return text[:start] + hashlib.sha256(text).hexdigest().encode() + text[start + 64 :]


def parse_header(header: bytes) -> dict[str, Any]:
    """Check a header and return its manifest.

    Args:
        header: The header's bytes.

    Returns:
        The manifest, every entry of it checked.

    Raises:
        CheckpointError: The header is damaged, of another version, or was not made by :func:`encode_header`.
    """
    sealed = _SEALED.match(header)
    if sealed is None or sealed[2].decode() != _digest_without(header, sealed.start(2)):
        raise CheckpointError(
            "The header is damaged: its sha256 does not match", hint="restore an earlier checkpoint or a copy"
        )
    if int(sealed[1]) != FORMAT_VERSION:
        raise CheckpointError(
            "The file is of another format version",
            got=f"version {int(sealed[1])}",
            expected=f"version {FORMAT_VERSION}",
            hint="a newer unigen, if the version is newer",
        )
    _check_extent(header, "another file: unigen writes no such header")
    try:
        manifest = _loads(_loads(header.decode("ascii"))["__metadata__"]["manifest"])
        _check_manifest(manifest)
        genuine = encode_header(manifest) == header
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _forged(f"{type(error).__name__}: {error!s:.200}") from error
    if not genuine:
        raise _forged("names, types, shapes or offsets of the header differ from those of its manifest")
    return manifest


def data_ranges(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Place the tensors: without gaps, largest element first (so each is aligned), then by name.

    Args:
        entries: The manifest's tensors.

    Returns:
        First byte and the byte after the last, counted from the header's end, of each stored tensor, in file order.
    """
    names = (name for name, entry in entries.items() if "same_as" not in entry)
    ranges, begin = {}, 0
    for name in sorted(names, key=lambda name: (-DTYPES[entries[name]["dtype"]].itemsize, name)):
        end = begin + math.prod(entries[name]["shape"]) * DTYPES[entries[name]["dtype"]].itemsize
        ranges[name], begin = (begin, end), end
    return ranges


def _memory(tensor: Tensor) -> object:
    place = (tensor.device, tensor.untyped_storage().data_ptr(), tensor.storage_offset())
    return (*place, tensor.dtype, tensor.shape, tensor.stride(), tensor.is_conj(), tensor.is_neg())


def _check_storable(name: object, tensor: object) -> None:
    if not isinstance(name, str) or name == "__metadata__" or name.encode("utf-8", "ignore").decode() != name:
        raise CheckpointError(
            "A tensor's name cannot be stored", got=repr(name), expected="text, not '__metadata__'"
        )
    if not isinstance(tensor, Tensor):
        raise CheckpointError(
            f"'{name}' is not a tensor", got=type(tensor).__name__, hint="put what is no tensor into meta"
        )
    if (
        tensor.layout is not torch.strided
        or tensor.is_meta
        or tensor.is_quantized
        or hasattr(tensor, "full_tensor")
    ):
        kind = "meta" if tensor.is_meta else f"{type(tensor).__name__} of layout {tensor.layout}"
        raise CheckpointError(
            f"Tensor '{name}' is not a dense tensor of its own",
            got=kind,
            hint=".to_dense(), .dequantize() or .full_tensor() first",
        )
    if tensor.dim() > _MAX_RANK:
        raise CheckpointError(f"Tensor '{name}'", got=f"{tensor.dim()} dimensions", expected=f"≤ {_MAX_RANK}")
    if tensor.dtype not in _CODES:
        raise CheckpointError(
            f"Tensor '{name}' has a dtype safetensors cannot hold",
            got=tensor.dtype,
            expected=", ".join(sorted(_CODES.values())),
            hint="torch.view_as_real for complex128, .to(...) for others",
        )


def _digest_without(header: bytes, start: int) -> str:
    return hashlib.sha256(header[:start] + _NO_DIGEST.encode() + header[start + 64 :]).hexdigest()


def _check_extent(header: bytes, hint: str) -> None:
    if len(header) > MAX_HEADER:
        raise CheckpointError(
            "The header is too large", got=len(header), expected=f"≤ {MAX_HEADER} bytes", hint=hint
        )
    brackets = header.count(b"{") + header.count(b"[")
    if brackets > MAX_BRACKETS:
        raise CheckpointError("Too many lists", got=brackets, expected=f"≤ {MAX_BRACKETS}", hint=hint)


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    items = dict(pairs)
    if len(items) != len(pairs):
        raise ValueError("a name appears twice")
    return items


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _check_manifest(manifest: Any) -> None:
    if not isinstance(manifest, dict) or list(manifest) != ["tensors", "meta"]:
        raise ValueError("the manifest lacks 'tensors' or 'meta'")
    entries = manifest["tensors"]
    for name, entry in entries.items():
        if list(entry) == ["same_as"]:
            if "dtype" not in entries[entry["same_as"]]:
                raise ValueError(f"'{name:.80}' is the same as a tensor that is not there")
        elif list(entry) != ["dtype", "shape", "sha256"] or not _is_possible(entry):
            raise ValueError(f"the entry of '{name:.80}' is impossible")


def _is_possible(entry: dict[str, Any]) -> bool:
    shape = entry["shape"]
    return (
        isinstance(shape, list)
        and len(shape) <= _MAX_RANK
        and all(type(size) is int and size >= 0 for size in shape)
        and math.prod(size for size in shape if size) * DTYPES[entry["dtype"]].itemsize < 2**63
        and isinstance(entry["sha256"], str)
        and _HEX.fullmatch(entry["sha256"]) is not None
    )


def _forged(reason: str) -> CheckpointError:
    return CheckpointError(
        f"The header matches its digest but unigen did not write it: {reason}", hint="another file"
    )
