from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from sklearn.decomposition import PCA

from unigen.errors import ArgumentError, EmptyDataError, ShapeError
from unigen.plots.latent import latent_map, principal_plane
from unigen.plots.style import COLOURS


def test_principal_plane_is_scikit_learns_up_to_sign() -> None:
    torch.manual_seed(0)
    z = torch.randn(40, 5).double() * torch.tensor([3.0, 1.0, 0.5, 2.0, 0.1])
    points, share = principal_plane(z)
    pca = PCA(2)
    expected = pca.fit_transform(z.numpy())
    np.testing.assert_allclose(points.abs().numpy(), np.abs(expected), atol=1e-10)
    np.testing.assert_allclose(share.numpy(), pca.explained_variance_ratio_, atol=1e-12)
    mirrored, _ = principal_plane(-z)
    torch.testing.assert_close(mirrored, -points)


def test_points_and_colours_match_vectors_and_labels() -> None:
    torch.manual_seed(0)
    z, labels = torch.randn(30, 2), torch.arange(30) % 3
    (axes,) = latent_map(z, labels, names=["a", "b", "c"]).axes
    (scatter,) = axes.collections
    drawn = {
        tuple(np.round(point, 5)): to_hex(colour).upper()
        for point, colour in zip(scatter.get_offsets(), scatter.get_facecolors(), strict=True)
    }
    for point, label in zip(z.double().numpy(), labels.tolist(), strict=True):
        assert drawn[tuple(np.round(point, 5))] == COLOURS[label]
    assert [text.get_text() for text in axes.texts] == ["a", "b", "c"]
    np.testing.assert_allclose(axes.texts[1].get_position(), z[labels == 1].median(0).values.tolist())


def test_axes_say_what_they_show() -> None:
    (axes,) = latent_map(torch.randn(9, 2), title="Map").axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("z₁", "z₂", "Map")
    assert not axes.texts
    assert axes.get_aspect() == 1.0
    z = torch.diag(torch.tensor([3.0, 1.0, 0.0])).repeat(2, 1)
    (axes,) = latent_map(torch.cat([z, -z])).axes
    assert axes.get_xlabel() == "PC 1 (90 % of variance)"
    assert axes.get_ylabel() == "PC 2 (10 % of variance)"


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeError):
        latent_map(torch.randn(5, 1))
    with pytest.raises(ShapeError):
        latent_map(torch.randn(5, 2), torch.zeros(4))
    with pytest.raises(EmptyDataError):
        latent_map(torch.randn(1, 2))
    with pytest.raises(ArgumentError, match=r"0 … 1"):
        latent_map(torch.randn(3, 2), torch.tensor([0, 1, 2]), names=["a", "b"])
    with pytest.raises(ArgumentError):
        latent_map(torch.randn(3, 2), torch.tensor([0, 1, -1]))
