"""Programs as scikit-learn estimators, with scikit-learn's names, for pipelines and searches; imports scikit-learn."""

from unigen.estimators.density import DensityEstimator
from unigen.estimators.factor_analysis import FactorAnalysis
from unigen.estimators.gaussian_mixture import GaussianMixture
from unigen.estimators.latent import LatentEstimator
from unigen.estimators.pca import PCA
from unigen.estimators.ppca import PPCA
from unigen.estimators.program import ProgramEstimator

__all__ = [
    "PCA",
    "PPCA",
    "DensityEstimator",
    "FactorAnalysis",
    "GaussianMixture",
    "LatentEstimator",
    "ProgramEstimator",
]
