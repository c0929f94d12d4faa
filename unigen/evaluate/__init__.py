"""Evaluation: two-sample tests, which need only draws, and ArviZ groups."""

from unigen.evaluate.arviz import to_arviz
from unigen.evaluate.classifier_two_sample import classifier_test
from unigen.evaluate.two_sample import energy_distance, mmd, sliced_wasserstein

__all__ = ["classifier_test", "energy_distance", "mmd", "sliced_wasserstein", "to_arviz"]
