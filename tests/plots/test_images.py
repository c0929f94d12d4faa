from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from unigen.data.digits import digits
from unigen.errors import ArgumentError, EmptyDataError, ShapeError
from unigen.plots.images import as_images, image_grid, mosaic, reconstructions


def shown(fig: Figure) -> np.ma.MaskedArray:
    """What the only image of a figure holds."""
    (image,) = fig.axes[0].images
    return image.get_array()


def test_pixels_are_the_values_given_in_reading_order() -> None:
    x = torch.rand(7, 6)
    canvas = shown(image_grid(x, shape=(2, 3), columns=4))
    assert canvas.shape == (2 * 3 - 1, 4 * 4 - 1)
    for i in range(7):
        top, left = i // 4 * 3, i % 4 * 4
        np.testing.assert_array_equal(canvas[top : top + 2, left : left + 3], x[i].reshape(2, 3).numpy())
    assert canvas.mask[2].all()  # the gap between rows
    assert canvas.mask[:, 3].all()
    assert canvas.mask[3:, 12:].all()  # no eighth image


def test_rendered_grey_is_the_value() -> None:
    """Dark is high: .75 is drawn at grey level 255 · (1 − .75), the gaps are white."""
    fig = image_grid(torch.full((4, 16), 0.75))
    fig.canvas.draw()
    grey = np.asarray(fig.canvas.buffer_rgba())[..., 0]
    values, counts = np.unique(grey, return_counts=True)
    ink = values[values < 250][counts[values < 250].argmax()]
    assert abs(int(ink) - 64) <= 1
    assert (grey == 255).any()


def test_values_outside_the_limits_are_clipped_not_rescaled() -> None:
    (image,) = image_grid(torch.tensor([[0.0, 0.5, 1.0, 7.0]])).axes[0].images
    assert image.get_clim() == (0.0, 1.0)
    (image,) = image_grid(torch.tensor([[0.0, 8.0, 16.0, 3.0]]), limits=(0, 16)).axes[0].images
    assert image.get_clim() == (0, 16)


def test_colour_images_put_channels_last_and_are_scaled() -> None:
    x = torch.rand(2, 3, 4, 5) * 2
    canvas = shown(image_grid(x, columns=2, limits=(0, 2)))
    assert canvas.shape == (4, 11, 3)
    np.testing.assert_allclose(canvas[:, 6:], x[1].movedim(0, -1).numpy() / 2, rtol=1e-6)
    np.testing.assert_array_equal(canvas[:, 5], 1.0)


def test_reconstructions_stand_beneath_their_originals() -> None:
    data = digits()
    x = data.test[:5]
    fig = reconstructions(x, {"half": x / 2, "blank": torch.zeros_like(x)}, shape=data.image_shape, title="T")
    canvas = shown(fig)
    assert canvas.shape == (3 * 9 - 1, 5 * 9 - 1)
    np.testing.assert_array_equal(canvas[:8, 18:26], x[2].reshape(8, 8).numpy())
    np.testing.assert_array_equal(canvas[9:17, 18:26], x[2].reshape(8, 8).numpy() / 2)
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ["original", "half", "blank"]
    assert list(fig.axes[0].get_yticks()) == [3.5, 12.5, 21.5]
    assert fig.axes[0].get_title(loc="left") == "T"
    single = reconstructions(x, x)
    assert single.axes[0].get_yticklabels()[1].get_text() == "reconstructed"


def test_accepts_what_models_return() -> None:
    assert as_images(torch.rand(2, 9, requires_grad=True)).shape == (2, 3, 3)
    assert as_images(torch.rand(2, 1, 4, 5)).shape == (2, 4, 5)
    assert as_images(torch.rand(2, 4, 5, dtype=torch.float64)).dtype == torch.float32
    assert mosaic(torch.zeros(1, 4, 4), columns=1).shape == (4, 4)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeError, match="shape="):
        image_grid(torch.rand(2, 8))
    with pytest.raises(ShapeError):
        image_grid(torch.rand(2, 5, 4, 4))
    with pytest.raises(EmptyDataError):
        image_grid(torch.rand(0, 4))
    with pytest.raises(ArgumentError):
        image_grid(torch.rand(2, 4), limits=(1, 1))
    with pytest.raises(ArgumentError):
        image_grid(torch.rand(2, 4), columns=-1)
    with pytest.raises(ShapeError):
        reconstructions(torch.rand(2, 4), torch.rand(3, 4))
