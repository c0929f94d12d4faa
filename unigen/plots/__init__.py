"""Figures: images, reconstructions, training curves, latent maps, the atlas; each returns a matplotlib Figure."""

from unigen.plots.atlas import draw_atlas
from unigen.plots.curves import training_curves
from unigen.plots.images import image_grid, reconstructions
from unigen.plots.latent import latent_map

__all__ = ["draw_atlas", "image_grid", "latent_map", "reconstructions", "training_curves"]
