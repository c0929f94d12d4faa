"""Divergences and bounds to minimise; one a file."""
