"""What stands in the boxes: the states themselves, at their heads, with one colour a point all the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection
from torch import Tensor

from unigen.errors import ArgumentError, EmptyDataError
from unigen.evaluate.process_record import IMPLICIT, Process, Step, even_times
from unigen.plots.processes import TRAILS, process_figure


def made(
    *shapes: tuple[int, ...], n: int = 30, forward: bool = True, beside: Process | None = None
) -> Process:
    """A process whose states, from data to noise, have these shapes."""
    there = tuple(torch.randn(n, *shape) for shape in shapes)
    back = tuple(torch.randn(n, *shape) for shape in reversed(shapes))
    step = Step.SDE if len(shapes) > 2 else Step.ONE_STOCHASTIC
    times = even_times(len(shapes) - 1)
    if forward:
        return Process(times, back, step, there, step, "A sentence.", beside=beside)
    return Process(times, back, step, None, None, "A sentence.", IMPLICIT)


def heads(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_text()]


def scatters(axes: Any) -> list[PathCollection]:
    return [each for each in axes.collections if isinstance(each, PathCollection)]


def test_points_are_drawn_where_they_are_and_keep_their_colour() -> None:
    process = made((2,), (2,), (2,), (2,), (2,), n=100)
    left, right = process_figure({"a name": process}).axes
    assert left.get_ylabel() == "a name" and left.get_title(loc="left") == "A sentence."
    assert (left.get_xlabel(), right.get_xlabel()) == ("forward: SDE", "reverse: SDE")
    assert heads(left) == ["data", "t = 0.25", "t = 0.5", "t = 0.75", "noise"]
    assert heads(right) == ["noise", "t = 0.75", "t = 0.5", "t = 0.25", "draws"]
    assert process.forward is not None
    for axes, states in ((left, process.forward), (right, process.reverse)):
        boxes, slopes = scatters(axes), []
        assert len(boxes) == 5
        for k, (box, state) in enumerate(zip(boxes, states, strict=True)):
            at = np.asarray(box.get_offsets()) - [k * 1.3, 0.0]
            inside = ((at > 0.001) & (at < 0.999)).all(1)
            assert inside.mean() > 0.9 and at.min() > -1e-6 and at.max() < 1 + 1e-6
            for i in (0, 1):
                slope, offset = np.polyfit(state[inside, i].numpy(), at[inside, i], 1)
                np.testing.assert_allclose(
                    slope * state[inside, i].numpy() + offset, at[inside, i], atol=1e-5
                )
                slopes.append(slope)
            np.testing.assert_array_equal(box.get_facecolor(), boxes[0].get_facecolor())
        assert max(slopes) == pytest.approx(min(slopes), rel=1e-4) and min(slopes) > 0  # one window for all


def test_lines_follow_points_through_every_state() -> None:
    process = made(*[(2,)] * 9, n=100)
    left = process_figure({"a": process}, columns=3).axes[0]
    lines = next(each for each in left.collections if isinstance(each, LineCollection))
    paths, boxes = lines.get_segments(), scatters(left)
    assert len(paths) == TRAILS and len(boxes) == 3 and {len(path) for path in paths} == {9}
    for box, k in zip(boxes, (0, 4, 8), strict=True):
        np.testing.assert_allclose(
            [path[k] for path in paths], np.asarray(box.get_offsets())[:TRAILS], atol=1e-6
        )


def test_a_family_without_a_way_back_says_so() -> None:
    left, right = process_figure({"GAN": made((2,), (3,), forward=False)}).axes
    assert heads(left)[0].replace("\n", " ") == "no forward process: the likelihood is implicit"
    assert left.get_xlabel() == "forward: none" and not scatters(left)
    assert heads(right) == ["latent, 3 (first two)", "draws"]


def test_latents_on_a_line_stand_on_a_line_and_classes_are_spread() -> None:
    process = made((2,), (1,))
    classes = Process(
        even_times(1),
        (torch.arange(30.0) % 3, torch.randn(30, 2)),
        Step.ONE_STOCHASTIC,
        None,
        None,
        "",
        IMPLICIT,
    )
    left, _, _, right = process_figure({"PPCA": process, "mixture": classes}).axes
    data, latents = (np.asarray(box.get_offsets()) for box in scatters(left))
    assert process.forward is not None and data[:, 0].std() > 0.1
    assert latents[:, 0] == pytest.approx(4 * 1.3 + 0.5)
    order = process.forward[1][:, 0].argsort().numpy()
    assert (np.diff(latents[order, 1]) >= 0).all()
    spread = np.asarray(scatters(right)[0].get_offsets())
    assert len(np.unique(spread[:, 1].round(9))) == 3 and len(np.unique(spread[:, 0].round(6))) == 10


def test_states_of_another_shape_have_a_window_of_their_own() -> None:
    far = (100 * torch.randn(60, 3), torch.randn(60, 2))
    process = Process(
        even_times(1),
        far,
        Step.ONE_STOCHASTIC,
        (torch.randn(60, 2), 100 * torch.randn(60, 3)),
        Step.ONE_STOCHASTIC,
        "",
    )
    for axes in process_figure({"VAE": process}).axes:
        for box, left in zip(scatters(axes), (0.0, 4 * 1.3), strict=True):
            at = np.asarray(box.get_offsets()) - [left, 0.0]
            assert (at.std(0) > 0.1).all() and ((at > 0.0) & (at < 1.0)).all(1).mean() > 0.8


def test_images_are_columns_of_pictures_and_latents_strips() -> None:
    x = torch.rand(6, 64)
    process = Process(
        even_times(2), (torch.randn(6, 5), torch.rand(6, 64), x), Step.CHAIN, None, None, "", IMPLICIT
    )
    right = process_figure({"digits": process}, pictures=2).axes[1]
    strips, pictures = right.images[:2], right.images[2:]
    assert [s.get_array().shape for s in strips] == [(1, 5)] * 2
    np.testing.assert_allclose(strips[1].get_array()[0], process.reverse[0][1].numpy())
    assert [p.get_array().shape for p in pictures] == [(17, 8)] * 2
    np.testing.assert_allclose(pictures[1].get_array()[:8], x[0].reshape(8, 8).numpy(), atol=1e-7)
    np.testing.assert_allclose(pictures[1].get_array()[9:], x[1].reshape(8, 8).numpy(), atol=1e-7)
    assert heads(right) == ["latent, 5", "t = 0.5", "draws"]
    classes = Process(
        even_times(1), (torch.tensor([4.0, 7.0]), x[:2]), Step.ONE_STOCHASTIC, None, None, "", IMPLICIT
    )
    assert heads(process_figure({"a": classes}).axes[1])[:2] == ["4", "7"]


def test_a_shape_makes_pictures_of_vectors_and_colour_images_are_drawn() -> None:
    right = process_figure({"a": made((6,), (6,))}, shape=(2, 3)).axes[1]
    assert right.images[0].get_array().shape == (2 * 3 + 2, 3)
    right = process_figure({"a": made((3, 4, 4), (3, 4, 4))}, pictures=1).axes[1]
    assert right.images[0].get_array().shape == (4, 4, 3)


def test_series_are_curves() -> None:
    process = made((20, 1), (50, 2))
    left = process_figure({"SDE": process}).axes[0]
    curves = [line for line in left.lines if len(line.get_xdata()) > 2]
    assert sorted({len(line.get_xdata()) for line in curves}) == [20, 50] and len(curves) == 10
    assert process.forward is not None
    found, wanted = np.asarray(curves[0].get_ydata()), process.forward[0][0, :, 0].numpy()
    assert np.corrcoef(found, wanted)[0, 1] == pytest.approx(1.0)
    assert heads(left) == ["data", "latent, 50×2"]


def test_a_process_beside_another_has_a_row_of_its_own() -> None:
    ode = Process(even_times(1), (torch.randn(9, 2),) * 2, Step.ODE, (torch.randn(9, 2),) * 2, Step.ODE, "")
    fig = process_figure(
        {"diffusion": made((2,), (2,), (2,), beside=ode), "GAN": made((2,), (2,))}, title="all"
    )
    assert [axes.get_ylabel() for axes in fig.axes[::2]] == ["diffusion", "and its ODE", "GAN"]
    assert fig.get_suptitle() == "all" and "one colour" in fig.get_supxlabel()


def test_nothing_to_draw_is_refused() -> None:
    process = made((2,), (2,))
    with pytest.raises(EmptyDataError):
        process_figure({})
    wrong: list[dict[str, Any]] = [{"columns": 1}, {"pictures": 0}, {"limits": (1.0, 1.0)}]
    for options in wrong:
        with pytest.raises(ArgumentError, match=next(iter(options))):
            process_figure({"a": process}, **options)


def test_states_that_stand_still_are_drawn() -> None:
    still = (torch.zeros(4, 2), torch.zeros(4, 2))
    fig = process_figure({"a": Process(even_times(1), still, Step.ODE, still, Step.ODE, "")})
    offsets: Tensor = torch.as_tensor(np.asarray(scatters(fig.axes[0])[0].get_offsets()))
    assert bool(offsets.isfinite().all())
