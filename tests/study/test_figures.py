"""The figures of a row follow from the arrays that are there; the atlas fills what was measured."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from unigen.evaluate.process_record import IMPLICIT, Process, Step, even_times
from unigen.study.figures import atlas_figure, row_figures
from unigen.study.process_arrays import to_arrays

ARRAYS = {
    "draws": np.random.default_rng(0).random((20, 64), dtype=np.float32),
    "originals": np.zeros((10, 64), np.float32),
    "reconstructions": np.ones((10, 64), np.float32),
    "latent": np.random.default_rng(1).normal(size=(30, 3)).astype(np.float32),
    "labels": np.arange(30) % 10,
}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize(
    ("left_out", "history", "captions"),
    [
        ((), {"elbo": [(1, 2.0), (2, 1.0)]}, ["draws", "reconstructions", "posterior", "training"]),
        ((), {"solve": [(1, 2.0)]}, ["draws", "reconstructions", "posterior"]),
        (("originals", "reconstructions", "latent", "labels"), {}, ["draws"]),
    ],
)
def test_figures_follow_the_arrays(tmp_path, left_out, history, captions):
    np.savez(tmp_path / "a-row.npz", **{k: v for k, v in ARRAYS.items() if k not in left_out})
    found = row_figures({"name": "A row", "history": history}, tmp_path)
    assert len(found) == len(captions)
    assert all(word in title for word, (title, _) in zip(captions, found, strict=True))


def test_a_process_is_drawn(tmp_path):
    x = torch.rand(3, 64)
    process = Process(even_times(1), (torch.randn(3, 2), x), Step.ONE_DETERMINISTIC, None, None, "", IMPLICIT)
    mine = {f"process_{name}": array for name, array in to_arrays(process).items()}
    np.savez(tmp_path / "a-row.npz", draws=ARRAYS["draws"], **mine)
    (_, _), (title, figure) = row_figures({"name": "A row", "history": {}}, tmp_path)
    assert "noise" in title and [axes.get_xlabel() for axes in figure.axes] == [
        "forward: none",
        "reverse: one deterministic step",
    ]
    np.testing.assert_allclose(
        figure.axes[1].images[-1].get_array()[:8], x[0].reshape(8, 8).numpy(), atol=1e-6
    )


def test_one_latent_dimension_has_no_map(tmp_path):
    np.savez(tmp_path / "a-row.npz", **(ARRAYS | {"latent": ARRAYS["latent"][:, :1]}))
    assert len(row_figures({"name": "A row", "history": {}}, tmp_path)) == 2


def test_the_atlas_highlights_measured_families(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "unigen.study.figures.draw_atlas", lambda graph, **options: seen.update(options, graph=graph)
    )
    rows = [{"name": "my row", "family": "PPCA"}, {"name": "other", "family": "VAE"}]
    atlas_figure({"rows": rows, "relations": [{"on": ["my row"]}]})
    assert seen["highlight"] == ["PPCA"]
    assert all(facts["label"] == str(facts["id"]) for _, _, facts in seen["graph"].edges(data=True))
