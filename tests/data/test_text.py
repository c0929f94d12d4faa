from __future__ import annotations

import hashlib

import pytest

from unigen.data import text as module
from unigen.data.download import DataFile, DataFileError
from unigen.data.text import shakespeare, split_text


def test_the_last_tenth_is_held_out(tmp_path, monkeypatch):
    content = "".join(chr(33 + i % 90) for i in range(1234)) + "é"
    path = tmp_path / "tinyshakespeare/input.txt"
    path.parent.mkdir()
    path.write_text(content, encoding="utf-8")
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(module, "SHAKESPEARE", DataFile("tinyshakespeare/input.txt", sha, ()))
    train, test = shakespeare(tmp_path)
    assert train + test == content and len(train) == 1111  # ⌊0.9 · 1235⌋ = ⌊1111.5⌋


def test_the_published_split_has_the_published_sizes():
    train, test = split_text("x" * 1_115_394)
    assert (len(train), len(test)) == (1_003_854, 111_540)


@pytest.mark.parametrize(("text", "held_out"), [("", 0.1), ("a", 0.1), ("abc", 0.0), ("abc", 1.0)])
def test_an_empty_part_is_refused(text, held_out):
    with pytest.raises(DataFileError):
        split_text(text, held_out)
