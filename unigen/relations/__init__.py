"""Theorems that link families, as objects that convert parameters where they can and measure by how much they hold."""
