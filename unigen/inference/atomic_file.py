"""Files that appear whole or not at all: written under a temporary name beside the target, synced, renamed.

The temporary file lies in the target's own folder, so the rename never crosses file systems and the old file stays
until the new one is complete on disk. Its writer holds an advisory lock on it (``flock``), which the system releases
however the process ends. A later writer can therefore tell a killed writer's leftover, which it removes, from the file
of one that is still at work, which it leaves. Where a file system has no locks, leftovers stay.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no advisory locks, so leftovers of killed writers stay
    fcntl = None

_TEMPORARY = re.compile(r"\.unigen-[0-9a-f]{32}\.tmp")
_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[io.FileIO]:
    """Open a file that takes the place of ``path`` when the block ends, and vanishes when the block fails.

    Args:
        path: The file to create or replace; a symbolic link is followed and kept.

    Yields:
        An unbuffered binary file; write to it with :func:`write_all`.

    Raises:
        OSError: The folder or the disk refused; ``path`` is as it was before, and no temporary file is left.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "state"
        >>> with atomic_file(path) as file:
        ...     write_all(file, b"all or nothing")
        >>> path.read_bytes()
        b'all or nothing'
    """
    target = Path(os.path.realpath(path))
    remove_leftovers(target.parent)
    temporary, file = _create(target.parent)
    try:
        with file:
            _copy_mode(target, file)
            yield file
            os.fsync(file.fileno())
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def write_all(file: io.FileIO, data: bytes | memoryview) -> None:
    """Write every byte to an unbuffered file, however many the system takes at a time.

    Args:
        file: A raw binary file.
        data: The bytes.

    Raises:
        OSError: The disk is full, or failed.
    """
    view = memoryview(data).cast("B")
    while view.nbytes:
        view = view[file.write(view) :]


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a folder, and no others.

    Args:
        folder: Where to look; its sub-folders are left alone.

    Raises:
        OSError: The folder cannot be read.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    for name in names:
        with contextlib.suppress(
            OSError
        ):  # a live writer's lock, a file gone meanwhile, or not ours to remove
            _remove_if_unlocked(folder / name)


def _remove_if_unlocked(path: Path) -> None:
    if fcntl is None:
        return
    descriptor = os.open(path, _FLAGS | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)


def _create(folder: Path) -> tuple[Path, io.FileIO]:
    """Create and lock a temporary file; another writer's clean-up may take it before it is locked, so look again."""
    while True:
        path = folder / f".unigen-{secrets.token_hex(16)}.tmp"
        file = io.FileIO(os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666), "r+b")
        if fcntl is None:
            return path, file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # being removed at this moment
            file.close()
            continue
        except OSError:  # a file system without locks
            return path, file
        if os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()


def _copy_mode(target: Path, file: io.FileIO) -> None:
    """Give the new file the permissions of the one it replaces, so that a private file stays private."""
    with contextlib.suppress(OSError, AttributeError):  # no file yet; AttributeError: Windows has no fchmod
        os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target).st_mode))


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the file system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
