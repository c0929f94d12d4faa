"""Files of published data sets: found in a data directory or the user's cache, else downloaded there and checked.

A file is trusted only if the SHA-256 of its content (uncompressed, for ``.gz``: recompression changes the file, not
the data) is the one that is pinned in the source. Nothing that is read here is ever executed or unpickled.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from unigen.errors import UnigenError
from unigen.inference.atomic_file import atomic_file, write_all
from unigen.inference.progress import progress_bar

BLOCK = 1 << 18  # bytes read at a time
TIMEOUT = 30.0  # seconds without an answer before a server is given up


class DataFileError(UnigenError, OSError):
    """A file of a data set is missing and cannot be downloaded, or is not the one that was published."""


@dataclass(frozen=True)
class DataFile:
    """One file of a published data set.

    Args:
        path: Where it lies below a data directory, e.g. ``mnist/train-images-idx3-ubyte.gz``.
        sha256: Of its content, uncompressed where the name ends in ``.gz``; 64 hexadecimal digits.
        urls: Where it can be downloaded, tried in this order.
    """

    path: str
    sha256: str
    urls: tuple[str, ...]


def data_directory(data_dir: str | Path | None = None) -> Path:
    """Return the folder of all data sets: the one given, else ``unigen/data`` in the user's cache.

    The cache is ``$XDG_CACHE_HOME``, or ``~/.cache`` where that is not set.
    """
    if data_dir is not None:
        return Path(data_dir).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "unigen" / "data"


def fetch(file: DataFile, data_dir: str | Path | None = None, *, progress: bool | str = "auto") -> Path:
    """Return the path of a checked copy of a file, downloading it if the data directory has none.

    Args:
        file: Which one.
        data_dir: Where data sets lie; the user's cache if omitted.
        progress: Progress bar of a download: True, False or "auto" (only on a terminal).

    Returns:
        A file whose content has the pinned SHA-256.

    Raises:
        DataFileError: The file is there with another content; or it is missing and no server gave it. The message
            names the path to put it at.

    Example:
        >>> import hashlib, tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "x.txt").write_bytes(b"text")
        >>> fetch(DataFile("x.txt", hashlib.sha256(b"text").hexdigest(), ()), folder).name
        'x.txt'
    """
    target = data_directory(data_dir) / file.path
    if target.is_file():
        _check(target.read_bytes(), file, f"{target}", hint=f"delete {target}, and it is downloaded again")
        return target
    refused = []
    for url in file.urls:
        try:
            content = _download(url, target.name, progress)
        except (OSError, ValueError) as error:  # URLError is an OSError
            refused.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        _check(content, file, url, hint=f"put the published file at {target}")
        _write(target, content)
        return target
    raise DataFileError(
        f"{file.path} is not there and could not be downloaded ({'; '.join(refused)})",
        site="data_dir",
        got=f"no file {target}",
        hint=f"put the file there by hand, or name a folder that has it: data_dir=… with …/{file.path}",
    )


def _download(url: str, name: str, progress: bool | str) -> bytes:
    from urllib.request import urlopen

    with urlopen(url, timeout=TIMEOUT) as answer:
        size = int(answer.headers.get("Content-Length") or 0)
        parts: list[bytes] = []
        done = 0
        with progress_bar(size, name, progress) as bar:
            while part := answer.read(BLOCK):
                parts.append(part)
                done += len(part)
                bar(done)
    if size and done != size:
        raise OSError(f"{done} of {size} bytes came")
    return b"".join(parts)


def _check(content: bytes, file: DataFile, where: str, hint: str) -> None:
    """Compare the SHA-256 of the (uncompressed) content with the pinned one.

    Raises:
        DataFileError: They differ, or the file cannot be uncompressed.
    """
    try:
        plain = gzip.decompress(content) if file.path.endswith(".gz") else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"{where} is no complete gzip file: {error}", hint=hint) from error
    got = hashlib.sha256(plain).hexdigest()
    if got != file.sha256:
        raise DataFileError(
            f"{where} is not the published file", got=f"sha256 {got}", expected=file.sha256, hint=hint
        )


def _write(target: Path, content: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(target) as out:
            write_all(out, content)
    except OSError as error:
        raise DataFileError(
            f"{target} cannot be written: {error}", hint="data_dir=… names a folder that can be written to"
        ) from error
