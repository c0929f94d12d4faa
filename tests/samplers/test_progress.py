"""Bars for long draws: after a second, on a terminal or when asked for, and never a trace elsewhere."""

from __future__ import annotations

import sys

import pytest

from unigen.errors import ArgumentError
from unigen.models.diffusion import Diffusion
from unigen.samplers import progress
from unigen.samplers.ddim import DDIM
from unigen.samplers.reverse_sde import ReverseSDE


def draw(show: object, sampler: type = DDIM) -> None:
    Diffusion(2, hidden=8, blocks=1).sample(2, sampler=sampler(4, progress=show))


def test_silent_away_from_a_terminal_and_for_short_walks(capfd):
    for show in ("auto", True, False, None):
        draw(show)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sampler", [DDIM, ReverseSDE])
def test_shown_where_a_walk_is_long(sampler, capsys, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    for show in (True, "auto"):
        draw(show, sampler)
        out, err = capsys.readouterr()
        assert out == ""
        assert sampler.__name__ in err
        assert "4/4" in err
    draw(False, sampler)
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_taken_away_by_an_error(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with pytest.raises(ZeroDivisionError), progress.telling(True, "x") as tell:
        assert tell is not None
        tell(0, 3)
        bars = tell._bars
        raise ZeroDivisionError
    assert not bars.live.is_started


@pytest.mark.parametrize("show", ["yes", 3, 0.5])
def test_the_option_is_one_of_four(show):
    with pytest.raises(ArgumentError, match="progress"):
        DDIM(progress=show)
