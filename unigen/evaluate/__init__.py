"""Evaluation: two-sample tests, brackets of log p, diagnostics of guides and latents, calibration, ArviZ groups."""

from unigen.evaluate.active_units import active_units, linear_active
from unigen.evaluate.arviz import to_arviz
from unigen.evaluate.baselines import chow_liu, gaussian_tree, shrunk_gaussian
from unigen.evaluate.bracket import bracket
from unigen.evaluate.calibration import simulation_based_calibration
from unigen.evaluate.classifier_two_sample import classifier_test
from unigen.evaluate.comparison import compare
from unigen.evaluate.convergence import convergence
from unigen.evaluate.dimension import choose_latents
from unigen.evaluate.elbo_surgery import elbo_surgery
from unigen.evaluate.elbo_terms import elbo_terms
from unigen.evaluate.entropic_transport import sinkhorn
from unigen.evaluate.gaussian_transport import gaussian_transport
from unigen.evaluate.guide_quality import guide_quality
from unigen.evaluate.information_criteria import compare_loo, loo, loo_pit, waic
from unigen.evaluate.interpolation import interpolate
from unigen.evaluate.likelihood_report import likelihood_report
from unigen.evaluate.mode_coverage import mode_coverage
from unigen.evaluate.posterior_quality import posterior_quality
from unigen.evaluate.predictive_check import predictive_check
from unigen.evaluate.processes import process
from unigen.evaluate.rate_distortion import rate_distortion, rate_distortion_curve
from unigen.evaluate.straightness import straightness
from unigen.evaluate.terminal_mismatch import terminal_mismatch
from unigen.evaluate.two_sample import energy_distance, mmd, sliced_wasserstein
from unigen.evaluate.whiteness import whiteness

__all__ = [
    "active_units",
    "bracket",
    "choose_latents",
    "chow_liu",
    "classifier_test",
    "compare",
    "compare_loo",
    "convergence",
    "elbo_surgery",
    "elbo_terms",
    "energy_distance",
    "gaussian_transport",
    "gaussian_tree",
    "guide_quality",
    "interpolate",
    "likelihood_report",
    "linear_active",
    "loo",
    "loo_pit",
    "mmd",
    "mode_coverage",
    "posterior_quality",
    "predictive_check",
    "process",
    "rate_distortion",
    "rate_distortion_curve",
    "shrunk_gaussian",
    "simulation_based_calibration",
    "sinkhorn",
    "sliced_wasserstein",
    "straightness",
    "terminal_mismatch",
    "to_arviz",
    "waic",
    "whiteness",
]
