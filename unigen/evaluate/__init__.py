"""Evaluation: two-sample tests, which need only draws, baselines of log-likelihood, and ArviZ groups."""

from unigen.evaluate.arviz import to_arviz
from unigen.evaluate.baselines import chow_liu, gaussian_tree, shrunk_gaussian
from unigen.evaluate.classifier_two_sample import classifier_test
from unigen.evaluate.two_sample import energy_distance, mmd, sliced_wasserstein

__all__ = [
    "chow_liu",
    "classifier_test",
    "energy_distance",
    "gaussian_tree",
    "mmd",
    "shrunk_gaussian",
    "sliced_wasserstein",
    "to_arviz",
]
