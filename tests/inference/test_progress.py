"""Bars on a terminal, silence elsewhere, and never anything on standard output."""

from __future__ import annotations

import sys

import pytest

from unigen.inference.progress import progress_bar


def work(show, total: int = 3) -> None:
    with progress_bar(total, "a title", show) as bar:
        for done in range(1, total + 1):
            bar(done, f"loss {done}")


def test_silent_away_from_a_terminal(capfd):
    for show in ("auto", False):
        work(show)
    assert capfd.readouterr() == ("", "")


def test_shown_when_asked_or_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    for show in (True, "auto"):
        work(show)
        out, err = capsys.readouterr()
        assert out == "" and "a title" in err and "3/3" in err and "loss 3" in err
    work(False)
    assert capsys.readouterr() == ("", "")


def test_a_single_unit_needs_no_bar(capsys):
    work(True, total=1)
    assert capsys.readouterr() == ("", "")


def test_errors_pass_through():
    with pytest.raises(ZeroDivisionError), progress_bar(5, "x", True):
        raise ZeroDivisionError
