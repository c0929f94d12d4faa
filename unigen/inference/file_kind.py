"""What a file looks like from its first bytes, so that a refusal can say what was found; nothing is opened."""

from __future__ import annotations

_PICKLED = (
    "move tensors alone: torch.load(..., weights_only=True), then write_checkpoint; unpickling runs code"
)
_MAGIC: tuple[tuple[bytes, str, str | None], ...] = (
    (b"PK\x03\x04", "a zip archive, as torch.save writes", _PICKLED),
    *((bytes([0x80, protocol]), "a Python pickle", _PICKLED) for protocol in range(2, 6)),
    (b"\x89HDF", "an HDF5 file", None),
    (b"\x93NUMPY", "a NumPy array file", None),
    (b"\x1f\x8b", "a gzip archive", None),
    (b"BZh", "a bzip2 archive", None),
    (b"\xfd7zXZ", "an xz archive", None),
)


def describe_start(start: bytes) -> tuple[str, str | None]:
    """Say what kind of file begins with these bytes.

    Args:
        start: The first bytes of a file, a few kilobytes at most.

    Returns:
        The kind in words, and what to try, if there is anything.

    Example:
        >>> describe_start(b"learning_rate: 0.1")[0]
        'a text file, or an old pickle'
    """
    for magic, kind, hint in _MAGIC:
        if start.startswith(magic):
            return kind, hint
    if start[8:9] == b"{":
        return (
            "a safetensors file that unigen did not write, or one whose header is damaged",
            "safetensors.torch.load_file, if it is another library's",
        )
    text = start.decode("utf-8", "ignore")
    readable = all(character.isprintable() or character.isspace() for character in text)
    if readable and len(text.encode()) >= len(start) - 3:  # the last character may be cut
        return "a text file, or an old pickle", None
    return "a binary file of an unknown kind, or a damaged one", None
