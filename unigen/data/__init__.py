"""Data: bundled real images, toy distributions with exact densities, and dequantisation."""
