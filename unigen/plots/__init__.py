"""Figures: samples, reconstructions, training curves, latent maps, the atlas of families."""
