"""Whole or not at all: kills at random and at chosen instants, full disks, read-only folders, no memory."""

from __future__ import annotations

import errno
import os
import resource
import stat
import tempfile
import threading
from pathlib import Path

import pytest
import torch

from benchmarks.crash import (
    Killer,
    generation_contents,
    save_and_die,
    unigen_load,
    unigen_save,
    whole_generation,
)
from unigen.errors import CheckpointError
from unigen.inference import atomic_file as module
from unigen.inference import checkpoint
from unigen.inference.atomic_file import atomic_file, remove_leftovers, write_all
from unigen.inference.checkpoint import read_checkpoint, write_checkpoint


@pytest.fixture
def path(tmp_path):
    write_checkpoint(tmp_path / "state", {"w": torch.full((9,), 1.0)}, {"generation": 1})
    return tmp_path / "state"


@pytest.fixture(scope="module")
def killer():
    return Killer()


def assert_intact(path):
    """The checkpoint of the fixture is there, whole, and alone."""
    loaded = read_checkpoint(path)
    assert loaded.meta == {"generation": 1} and torch.equal(loaded.tensors["w"], torch.full((9,), 1.0))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_killed_at_24_random_instants_the_last_good_checkpoint_loads_and_nothing_leaks(killer):
    """On two file systems where there are two; most kills must have interrupted a save."""
    roots = [tempfile.gettempdir()] + ["/dev/shm"] * os.access("/dev/shm", os.W_OK)
    interrupted = 0
    for index in range(24):
        with tempfile.TemporaryDirectory(dir=roots[index % len(roots)]) as folder:
            path = Path(folder) / "state"
            outcome = killer.kill_once(path, float(torch.rand(())))
            assert outcome["loads"], outcome["error"]
            interrupted += outcome["left"]
            unigen_save(path, generation_contents(0, 10))
            assert [entry.name for entry in path.parent.iterdir()] == ["state"]
    assert interrupted > 0


@pytest.mark.parametrize(
    ("holder", "function", "calls", "generation", "left"),
    [
        ("unigen.inference.atomic_file", "_create", 1, 1, 1),
        ("unigen.inference.checkpoint", "_write_tensor", 1, 1, 1),
        ("unigen.inference.checkpoint", "_write_tensor", 3, 1, 1),
        ("unigen.inference.checkpoint", "write_all", 4, 1, 1),
        ("os", "fsync", 1, 1, 1),
        ("os", "replace", 1, 2, 0),
        ("os", "fsync", 2, 2, 0),
    ],
)
def test_killed_at_each_stage(killer, tmp_path, holder, function, calls, generation, left):
    path = tmp_path / "state"
    unigen_save(path, generation_contents(1, 1000))
    assert killer.run(save_and_die, path, 2, holder, function, calls) == -9
    assert len(list(tmp_path.iterdir())) == 1 + left
    assert whole_generation(unigen_load(path), 1000) == generation
    unigen_save(tmp_path / "another name", generation_contents(3, 10))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["another name", "state"]


def test_the_file_is_synced_before_the_rename_and_the_folder_after(path, monkeypatch):
    """A kill cannot show this, a power cut would; so the order of the calls is the oracle."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("folder" if is_folder else f"file of {os.fstat(descriptor).st_size}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("rename"), replace(*names)))
    write_checkpoint(path, {"w": torch.ones(5)}, {})
    assert calls == [f"file of {path.stat().st_size}", "rename", "folder"]


def test_a_live_writer_is_left_alone_and_a_dead_ones_leftover_is_removed(tmp_path):
    dead, other = tmp_path / f".unigen-{'0' * 32}.tmp", tmp_path / ".unigen-notes.tmp"
    dead.write_bytes(b"half a checkpoint")
    other.write_bytes(b"not ours")
    with atomic_file(tmp_path / "slow") as file:
        write_all(file, b"slow")
        write_checkpoint(tmp_path / "quick", {"w": torch.ones(1)}, {})
        remove_leftovers(tmp_path)
        assert not dead.exists() and other.exists()
    assert (tmp_path / "slow").read_bytes() == b"slow"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [other.name, "quick", "slow"]


def test_leftovers_that_are_links_or_pipes_are_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep")
    (tmp_path / f".unigen-{'1' * 32}.tmp").symlink_to(precious)
    os.mkfifo(tmp_path / f".unigen-{'2' * 32}.tmp")
    (tmp_path / f".unigen-{'3' * 32}.tmp").mkdir()
    write_checkpoint(tmp_path / "state", {}, {})
    assert precious.read_text() == "keep" and read_checkpoint(tmp_path / "state").tensors == {}


def test_a_file_cleaned_away_before_it_is_locked_is_made_again(path, monkeypatch):
    """The one race between a writer and another's clean-up: between creation and lock."""
    flock, met = module.fcntl.flock, []

    def late_flock(file, operation):
        if not met:
            met.extend(path.parent.glob(".unigen-*"))
            met[0].unlink()
        flock(file, operation)

    monkeypatch.setattr(module.fcntl, "flock", late_flock)
    write_checkpoint(path, {"w": torch.full((9,), 1.0)}, {"generation": 1})
    assert len(met) == 1
    assert_intact(path)


def test_writers_side_by_side_leave_one_whole_file(path):
    failures = []

    def save_often(value):
        try:
            for _ in range(15):
                write_checkpoint(path, {"w": torch.full((1000,), value)}, {"value": value})
        except CheckpointError as error:
            failures.append(error)

    threads = [threading.Thread(target=save_often, args=(float(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        loaded = read_checkpoint(path)
        assert "generation" in loaded.meta or bool((loaded.tensors["w"] == loaded.meta["value"]).all())
    assert not failures and [entry.name for entry in path.parent.iterdir()] == ["state"]


def test_a_full_disk_leaves_the_previous_checkpoint(path):
    """A real refusal by the system: the limit on file size, reached in the middle of the data."""
    tensors = {"small": torch.ones(10), "large": torch.ones(100_000)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CheckpointError, match="intact") as caught:
            write_checkpoint(path, tensors, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(path) in str(caught.value) and "free space" in str(caught.value)
    assert_intact(path)
    assert float(tensors["large"].sum()) == 100_000.0


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EDQUOT, "free space"),
        (errno.EROFS, "you may write in"),
        (errno.EIO, "path"),
    ],
)
@pytest.mark.parametrize("function", ["write_all", "fsync", "replace"])
def test_whatever_the_disk_refuses_leaves_the_previous_checkpoint(path, monkeypatch, code, hint, function):
    def refuse(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(checkpoint if function == "write_all" else os, function, refuse)
    with pytest.raises(CheckpointError, match=os.strerror(code)) as caught:
        write_checkpoint(path, {"w": torch.ones(3)}, {})
    monkeypatch.undo()
    assert str(path) in str(caught.value) and hint in str(caught.value)
    assert_intact(path)


def test_a_read_only_folder_leaves_the_previous_checkpoint():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        write_checkpoint(path, {"w": torch.full((9,), 1.0)}, {"generation": 1})
        os.chmod(folder, 0o555)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)  # root may write anywhere
        try:
            with pytest.raises(CheckpointError, match="Permission denied") as caught:
                write_checkpoint(path, {"w": torch.ones(3)}, {})
        finally:
            os.seteuid(user)
            os.chmod(folder, 0o755)
        assert str(path) in str(caught.value) and "a folder you may write in" in str(caught.value)
        assert_intact(path)


def test_no_memory_leaves_the_previous_checkpoint_and_the_state(path, monkeypatch):
    impossible = torch.ones(1).expand(2**45)  # 140 terabytes once contiguous: the allocator itself refuses
    with pytest.raises(CheckpointError, match="Cannot copy tensor 'huge'"):
        write_checkpoint(path, {"w": torch.ones(3), "huge": impossible}, {})
    assert_intact(path)
    weights, parts = torch.ones(3), []

    def no_memory(*arguments):
        parts.append(arguments)
        raise MemoryError

    monkeypatch.setattr(checkpoint, "write_all", no_memory)
    with pytest.raises(CheckpointError, match="MemoryError"):
        write_checkpoint(path, {"w": weights}, {})
    monkeypatch.undo()
    assert len(parts) == 1 and weights.tolist() == [1.0, 1.0, 1.0]
    assert_intact(path)


def test_an_interrupt_passes_through_and_leaves_no_trace(path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_all", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, {"w": torch.ones(3)}, {})
    monkeypatch.undo()
    assert_intact(path)


def test_links_are_followed_and_permissions_kept(path, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(path)
    os.chmod(path, 0o600)
    write_checkpoint(link, {"w": torch.full((2,), 2.0)}, {"generation": 2})
    assert link.is_symlink() and read_checkpoint(path).meta == {"generation": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    umask = os.umask(0o022)
    try:
        assert stat.S_IMODE(write_checkpoint(tmp_path / "new", {}, {}).stat().st_mode) == 0o644
    finally:
        os.umask(umask)


def test_many_short_writes_still_write_every_byte(tmp_path):
    class Stingy:
        data = b""

        def write(self, view):
            self.data += bytes(view[:7])
            return min(7, len(view))

    stingy, data = Stingy(), bytes(range(256))
    write_all(stingy, data)
    assert stingy.data == data
