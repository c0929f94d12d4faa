"""Evaluation: two-sample tests, likelihood comparison, ArviZ, calibration."""
