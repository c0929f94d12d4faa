from __future__ import annotations

import pytest

from unigen.errors import EmptyDataError
from unigen.plots.games import coverage_figure, game_figure


def test_each_kind_of_curve_has_its_panel() -> None:
    curve = [(1, 1.0), (2, 2.0), (3, 0.5)]
    history = dict.fromkeys(
        ["critic", "generator", "critic on data", "generator gradient norm", "modes", "high quality"], curve
    )
    fig = game_figure(history, title="a game")
    assert [axes.get_ylabel() for axes in fig.axes] == [
        "critic",
        "gradient norm",
        "loss",
        "modes",
        "share, nats",
    ]
    assert [axes.get_yscale() for axes in fig.axes] == ["linear", "log", "linear", "linear", "linear"]
    assert [len(axes.lines) for axes in fig.axes] == [1, 1, 2, 1, 1]
    assert list(fig.axes[2].lines[0].get_ydata()) == [1.0, 2.0, 0.5]
    assert fig.axes[0].get_title(loc="left") == "a game"


def test_a_record_without_a_game_is_refused() -> None:
    with pytest.raises(EmptyDataError, match="GameWatch"):
        game_figure({"elbo": [(1, 1.0)]})


def test_counts_are_drawn_in_decreasing_order_beside_an_even_share() -> None:
    axes = coverage_figure([3, 0, 5], 12).axes[0]
    assert [patch.get_height() for patch in axes.patches] == [5, 3, 0]
    assert axes.lines[0].get_ydata()[0] == 4.0
    with pytest.raises(EmptyDataError):
        coverage_figure([], 3)
