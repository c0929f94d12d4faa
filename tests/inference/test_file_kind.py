"""Files of other kinds, hostile ones among them: said for what they are, and never opened."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from unigen.errors import CheckpointError
from unigen.inference.checkpoint import read_checkpoint, write_checkpoint
from unigen.inference.file_kind import describe_start


class Gadget:
    """Runs a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


def hostile_files(folder, canary):
    """Return named contents, each of which touches ``canary`` in the hands of a loader that trusts it."""
    gadgets = {
        "mkdir": Gadget(os.mkdir, canary),
        "system": Gadget(os.system, f"mkdir {canary}"),
        "exec": Gadget(exec, f"import os; os.mkdir({canary!r})"),
        "eval": Gadget(eval, f"__import__('os').mkdir({canary!r})"),
        "open": Gadget(open, canary, "w"),
    }
    files = {}
    for name, gadget in gadgets.items():
        for protocol in range(6):
            files[f"{name}-{protocol}.pkl"] = pickle.dumps({"w": gadget}, protocol)
        for legacy in (True, False):
            buffer = io.BytesIO()
            torch.save({"w": gadget}, buffer, _use_new_zipfile_serialization=not legacy)
            files[f"{name}-{'legacy' if legacy else 'zip'}.pt"] = buffer.getvalue()
        payload = pickle.dumps(gadget)
        files[f"{name}.npy"] = npy_of(gadget)
        files[f"{name}.npz"] = zip_of({"w.npy": npy_of(gadget)})
        files[f"{name}.zip"] = zip_of({"archive/data.pkl": payload})
        files[f"{name}.tar"] = tar_of(payload)
        files[f"{name}.gz"], files[f"{name}.bz2"] = gzip.compress(payload), bz2.compress(payload)
        files[f"{name}.xz"] = lzma.compress(payload)
        files[f"{name}-behind-length"] = struct.pack("<Q", len(payload)) + payload
        files[f"{name}-behind-brace"] = struct.pack("<Q", len(payload) + 1) + b"{" + payload
    files["yaml"] = f"!!python/object/apply:os.mkdir ['{canary}']".encode()
    files["script.py"] = f"import os\nos.mkdir({canary!r})\n".encode()
    return files


def npy_of(gadget):
    buffer = io.BytesIO()
    array = np.empty(1, dtype=object)
    array[0] = gadget
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def zip_of(contents):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(payload):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("data.pkl")
        entry.size = len(payload)
        archive.addfile(entry, io.BytesIO(payload))
    return buffer.getvalue()


def test_no_hostile_file_runs_code(tmp_path):
    canary = str(tmp_path / "canary")
    files = hostile_files(tmp_path, canary)
    assert len(files) >= 80
    path = tmp_path / "file"
    for name, content in files.items():
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="Not a checkpoint"):
            read_checkpoint(path)
        assert not os.path.exists(canary), name
    with warnings.catch_warnings(action="ignore"):
        pickle.loads(files["mkdir-4.pkl"])
    assert os.path.isdir(canary)  # the corpus does bite


def test_a_pickle_inside_a_genuine_checkpoint_is_only_bytes(tmp_path):
    payload = pickle.dumps(Gadget(os.mkdir, str(tmp_path / "canary")))
    tensors = {"w": torch.tensor(list(payload), dtype=torch.uint8)}
    loaded = read_checkpoint(write_checkpoint(tmp_path / "x", tensors, {"p": payload.decode("latin-1")}))
    assert loaded.tensors["w"].numpy().tobytes() == payload and loaded.meta["p"].encode("latin-1") == payload
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b"", "empty"),
        (lambda: b"step: 3\nlearning_rate: 0.1\n", "a text file"),
        (lambda: "Lösung, größer als zwölf\n".encode() * 300, "a text file"),
        (lambda: pickle.dumps([1]), "a Python pickle"),
        (lambda: pickle.dumps([1], 0), "an old pickle"),
        (lambda: zip_of({"a": b"1"}), "as torch.save writes"),
        (lambda: npy_of(1), "NumPy"),
        (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (lambda: gzip.compress(b"x"), "gzip"),
        (lambda: bytes(100), "unknown kind"),
        (lambda: b"\xff\xfe\x00\x01" * 10, "unknown kind"),
        (lambda: safetensors.torch.save({"w": torch.ones(2)}), "safetensors.torch.load_file"),
        (lambda: safetensors.torch.save({"w": torch.ones(2)}, {"format": "pt"}), "that unigen did not write"),
    ],
)
def test_each_kind_is_said_with_what_to_do(tmp_path, content, words):
    path = tmp_path / "file"
    path.write_bytes(content())
    with pytest.raises(CheckpointError, match=words) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


def test_a_remedy_for_pickled_tensors_is_named_as_unsafe():
    kind, hint = describe_start(pickle.dumps([1]))
    assert "pickle" in kind and "weights_only=True" in hint and "runs code" in hint


def test_nothing_here_can_unpickle():
    """No module on the way of a load so much as imports a loader that runs code."""
    import unigen.inference.atomic_file
    import unigen.inference.checkpoint
    import unigen.inference.checkpoint_header
    import unigen.inference.file_kind
    import unigen.inference.nested_state

    package = unigen.inference
    for module in (
        package.atomic_file,
        package.checkpoint,
        package.checkpoint_header,
        package.file_kind,
        package.nested_state,
    ):
        names = set(vars(module))
        assert not names & {
            "pickle",
            "marshal",
            "shelve",
            "zipfile",
            "dill",
            "cloudpickle",
            "joblib",
            "importlib",
        }
