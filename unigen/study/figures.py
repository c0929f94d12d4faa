"""The report's figures, from the arrays that the study keeps beside each program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unigen.plots.atlas import draw_atlas
from unigen.plots.curves import training_curves
from unigen.plots.images import image_grid, reconstructions
from unigen.plots.latent import latent_map
from unigen.plots.processes import process_figure
from unigen.relations.atlas import atlas
from unigen.study.process_arrays import from_arrays
from unigen.study.worker import PROCESS, slug

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def row_figures(row: dict[str, Any], folder: Path) -> list[tuple[str, Figure]]:
    """Return (caption, figure) for draws, reconstructions, the latent map, the process and the curves of one row."""
    with np.load(folder / f"{slug(row['name'])}.npz", allow_pickle=False) as file:
        kept = {name: file[name] for name in file.files}
    mine = {name: array for name, array in kept.items() if name.startswith(PROCESS)}
    process = from_arrays({name.removeprefix(PROCESS): array for name, array in mine.items()})
    arrays = {name: torch.from_numpy(array) for name, array in kept.items() if name not in mine}
    figures = [("100 draws, unselected", image_grid(arrays["draws"], columns=10, size=0.36))]
    if "reconstructions" in arrays:
        pair = reconstructions(arrays["originals"], arrays["reconstructions"], size=0.36)
        figures.append(("test images above, reconstructions below", pair))
    if "latent" in arrays and arrays["latent"].dim() == 2 and arrays["latent"].shape[1] > 1:
        labels = arrays["labels"].long()
        figures.append(("posterior means of the test images", latent_map(arrays["latent"], labels, size=3.4)))
    if process is not None:
        title = "three test images to noise, and noise to three draws"
        figures.append((title, process_figure({row["name"]: process})))
    curves = {name: curve for name, curve in row["history"].items() if len(curve) > 1}
    if curves:
        pairs = {name: [(int(a), float(b)) for a, b in curve] for name, curve in curves.items()}
        figures.append(("training", training_curves(pairs, smooth=9)))
    return figures


def atlas_figure(results: dict[str, Any]) -> Figure:
    """Return the graph of families; those on which this study measured a relation are filled."""
    graph = atlas()
    families = {row["name"]: row["family"] for row in results["rows"]}
    measured = {families[name] for each in results["relations"] for name in each["on"]}
    return draw_atlas(graph, highlight=sorted(measured & set(graph.nodes)))
