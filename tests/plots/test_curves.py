from __future__ import annotations

import numpy as np
import pytest

from unigen.errors import ArgumentError, EmptyDataError
from unigen.inference.record import Record
from unigen.plots.curves import moving_average, training_curves


def test_lines_hold_the_values_given() -> None:
    fig = training_curves({"train": [3.0, 2.0, 1.5], "validation": [(0, 3.2), (2, 1.7)]})
    (axes,) = fig.axes
    train, validation = axes.get_lines()
    np.testing.assert_array_equal(train.get_xydata(), [[0, 3.0], [1, 2.0], [2, 1.5]])
    np.testing.assert_array_equal(validation.get_xydata(), [[0, 3.2], [2, 1.7]])
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train", "validation"]


def test_axes_say_what_they_show() -> None:
    fig = training_curves({"loss": [1.0]}, ylabel="bits/dim", xlabel="epoch", title="Run")
    (axes,) = fig.axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("epoch", "bits/dim", "Run")
    assert training_curves({"loss": [1.0, 0.5]}, log=True).axes[0].get_yscale() == "log"


def test_references_are_lines_with_a_name() -> None:
    (axes,) = training_curves({"loss": [2.0, 1.0]}, references={"entropy": 0.9}).axes
    assert list(axes.get_lines()[1].get_ydata()) == [0.9, 0.9]
    assert [text.get_text() for text in axes.texts] == ["entropy"]


def test_gradient_norms_and_learning_rates_have_panels_of_their_own() -> None:
    history = {
        "learning rate": [(0, 1e-3), (1, 1e-4)],
        "loss": [(0, 2.0), (1, 1.0)],
        "gradient norm": [(1, 3.0)],
    }
    fig = training_curves(history)
    assert [axes.get_ylabel() for axes in fig.axes] == ["loss (nats)", "learning rate", "gradient norm"]
    assert [axes.get_yscale() for axes in fig.axes] == ["linear", "log", "log"]
    assert [axes.get_xlabel() for axes in fig.axes] == ["", "", "step"]
    assert len(training_curves({"gradient norm": [1.0, 2.0]}).axes) == 1


def test_moving_average_is_numpys_inside_and_leaves_lines_and_ends_alone() -> None:
    values = np.random.default_rng(0).normal(size=50).tolist()
    inside = np.convolve(values, np.ones(7) / 7, mode="valid")
    np.testing.assert_allclose(moving_average(values, 7)[3:-3], inside, atol=1e-12)
    line = [2.0 * i for i in range(20)]
    np.testing.assert_allclose(moving_average(line, 9), line, atol=1e-12)
    assert moving_average(values, 1) == pytest.approx(values)


def test_smoothing_keeps_the_raw_curve_in_sight() -> None:
    values = np.random.default_rng(0).normal(size=50).tolist()
    raw, smooth = training_curves({"loss": values}, smooth=5).axes[0].get_lines()
    np.testing.assert_array_equal(raw.get_ydata(), values)
    np.testing.assert_allclose(smooth.get_ydata(), moving_average(values, 5))
    assert raw.get_alpha() < 0.5


def test_draws_the_record_of_a_run() -> None:
    record = Record()
    record.add("loss", 1, 2.0)
    record.add("loss", 5, 1.0)
    np.testing.assert_array_equal(record.plot().axes[0].get_lines()[0].get_xydata(), [[1, 2.0], [5, 1.0]])


def test_draws_to_a_file(tmp_path) -> None:
    training_curves({"loss": [2.0, 1.0]}).savefig(tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_refused() -> None:
    with pytest.raises(EmptyDataError):
        training_curves({})
    with pytest.raises(EmptyDataError, match="loss"):
        training_curves({"loss": []})
    with pytest.raises(ArgumentError):
        training_curves({"loss": [1.0]}, smooth=0)
