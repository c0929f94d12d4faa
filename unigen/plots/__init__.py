"""Figures: images, reconstructions, training curves, latent maps, the atlas; each returns a matplotlib Figure."""

from unigen.plots.atlas import draw_atlas
from unigen.plots.curves import training_curves
from unigen.plots.games import game_figure
from unigen.plots.images import image_grid, reconstructions
from unigen.plots.interpolation import interpolation
from unigen.plots.latent import latent_map
from unigen.plots.processes import process_figure
from unigen.plots.schedules import log_snr_curves

__all__ = [
    "draw_atlas",
    "game_figure",
    "image_grid",
    "interpolation",
    "latent_map",
    "log_snr_curves",
    "process_figure",
    "reconstructions",
    "training_curves",
]
