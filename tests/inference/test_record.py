"""The record of a run: curves, last values, one line of text, a figure with every curve."""

from __future__ import annotations

import matplotlib.pyplot as plt

from unigen.inference.record import Record


def record() -> Record:
    made = Record("VAE", "ELBO()", steps=2, seconds=1.25, best_step=1, stopped="all steps done")
    for step, value in ((1, 3.0), (2, 2.5)):
        made.add("elbo", step, value)
    made.add("validation", 2, 2.75)
    return made


def test_curves_and_last_values():
    assert record().history == {"elbo": [(1, 3.0), (2, 2.5)], "validation": [(2, 2.75)]}
    assert record().final == {"elbo": 2.5, "validation": 2.75}
    assert Record().final == {} and Record().history is not Record().history


def test_text():
    text = "Record(VAE: 2 steps in 1.2 s, elbo=2.5, validation=2.75, best step 1; all steps done)"
    assert repr(record()) == text


def test_figure_holds_every_curve():
    figure = record().plot()
    drawn = [list(line.get_ydata()) for axes in figure.axes for line in axes.get_lines()]
    assert [3.0, 2.5] in drawn and [2.75] in drawn
    plt.close(figure)
