from __future__ import annotations

import pytest
import torch

from unigen.errors import ShapeError
from unigen.plots.interpolation import interpolation


def test_rows_are_pairs_and_columns_the_way():
    path = torch.linspace(0, 1, 5)[:, None, None].expand(5, 2, 16).clone()
    path[:, 1] = 1 - path[:, 1]
    image = interpolation(path).axes[0].images[0].get_array()
    assert image.shape == (9, 24)
    first, second = image[1, 1::5], image[6, 1::5]
    assert first.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert second.tolist() == first.tolist()[::-1]


def test_points_in_the_plane_are_drawn_as_paths():
    path = torch.randn(5, 3, 2)
    axes = interpolation(path, title="between").axes[0]
    assert len(axes.lines) == 3
    assert torch.allclose(torch.tensor(axes.lines[1].get_xydata()), path[:, 1].double())


def test_a_path_without_pairs_is_refused():
    with pytest.raises(ShapeError, match=r"\(K, N, \*event\)"):
        interpolation(torch.randn(5, 2))
