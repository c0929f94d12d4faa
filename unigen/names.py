"""Where each public name lives; the one table behind ``unigen.<name>``, the families list and loading."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any

from unigen.errors import UnknownNameError
from unigen.families import FAMILIES


def _flat(names: dict[str, str]) -> dict[str, str]:
    """Return the module of every name, from the names of every module."""
    return {name: module for module, each in names.items() for name in each.split()}


PARTS: dict[str, str] = _flat(
    {
        "unigen.distributions.likelihoods": "Gaussian Bernoulli Categorical",
        "unigen.objectives.elbo": "ELBO",
        "unigen.objectives.path_elbo": "PathELBO",
        "unigen.objectives.iwae": "IWAE",
        "unigen.objectives.annealing": "LinearWarmup Cyclical",
        "unigen.objectives.free_bits": "FreeBits",
        "unigen.objectives.baselines": "LeaveOneOut LearnedBaseline",
        "unigen.distributions.concrete": "ConcretePrior ConcretePosterior",
        "unigen.nn.straight_through": "StraightThrough",
        "unigen.objectives.pyro_elbo": "PyroELBO",
        "unigen.objectives.likelihood": "MaximumLikelihood ClosedForm EM",
        "unigen.objectives.ard": "ARD",
        "unigen.objectives.denoising": "DenoisingScoreMatching SubsampledELBO",
        "unigen.objectives.weighting": "LikelihoodWeighting NoiseWeighting VWeighting DataWeighting ScoreWeighting "
        "VelocityWeighting",
        "unigen.objectives.snr_weightings": "MinSNRWeighting TruncatedSNRWeighting P2Weighting SigmoidWeighting "
        "EDMWeighting",
        "unigen.dynamics.times": "UniformTimes LowDiscrepancyTimes AntitheticTimes",
        "unigen.dynamics.edm": "EDMOutput",
        "unigen.dynamics.time_density": "UniformTime UniformLogSNR LogNormalNoise",
        "unigen.objectives.minimal_variance": "MinimalVariance",
        "unigen.objectives.contrastive": "ContrastiveDivergence",
        "unigen.objectives.gibbs_contrast": "GibbsContrastiveDivergence",
        "unigen.objectives.pseudo_likelihood": "PseudoLikelihood",
        "unigen.samplers.gibbs": "Gibbs",
        "unigen.densities.normaliser": "Normalised Enumeration",
        "unigen.densities.annealed": "AnnealedNormaliser",
        "unigen.densities.smc_normaliser": "SMCNormaliser",
        "unigen.objectives.score_matching": "ScoreMatching",
        "unigen.objectives.sliced_score_matching": "SlicedScoreMatching",
        "unigen.objectives.noisy_score_matching": "NoisyScoreMatching",
        "unigen.objectives.noise_contrastive": "NoiseContrastive",
        "unigen.densities.mean_field": "NaiveMeanField",
        "unigen.densities.belief_propagation": "BeliefPropagation",
        "unigen.distributions.visible_units": "BernoulliUnits GaussianUnits",
        "unigen.objectives.adversarial": "Adversarial",
        "unigen.objectives.games": "Minimax NonSaturating LeastSquares Hinge",
        "unigen.objectives.f_gan": "FGAN",
        "unigen.objectives.wasserstein_game": "Wasserstein",
        "unigen.nn.f_divergences": "KullbackLeibler ReverseKL PearsonChi2 SquaredHellinger JensenShannon "
        "TotalVariation LeCam",
        "unigen.nn.lipschitz": "WeightClipping SpectralNorm",
        "unigen.nn.kernels": "GaussianKernel DistanceKernel",
        "unigen.objectives.moment_matching": "MomentMatching EnergyDistance",
        "unigen.objectives.adversarial_inference": "AdversariallyLearnedInference",
        "unigen.samplers.ancestral": "Ancestral",
        "unigen.samplers.decoding": "Decoding",
        "unigen.samplers.beam_search": "BeamSearch",
        "unigen.samplers.langevin": "Langevin",
        "unigen.samplers.underdamped": "UnderdampedLangevin",
        "unigen.samplers.reverse_sde": "ReverseSDE",
        "unigen.samplers.probability_flow": "ProbabilityFlowODE",
        "unigen.samplers.ddim": "DDIM",
        "unigen.samplers.ddpm": "DDPMAncestral",
        "unigen.samplers.edm": "EDM",
        "unigen.samplers.dpm_solver": "DPMSolver",
        "unigen.samplers.predictor_corrector": "PredictorCorrector",
        "unigen.samplers.grids": "EqualTimes EqualLogSNR KarrasTimes GivenTimes",
        "unigen.densities.importance": "Importance",
        "unigen.densities.ais": "AIS",
        "unigen.densities.probability_flow": "ProbabilityFlow",
        "unigen.densities.diffusion_bound": "DiffusionBound",
        "unigen.densities.unnormalised": "Unnormalised",
        "unigen.dynamics.schedule": "VPLinear VPCosine LogLinearSNR",
        "unigen.dynamics.vp_constant": "VPConstant",
        "unigen.dynamics.variance_exploding": "VE SubVP",
        "unigen.dynamics.learned_snr": "LearnedSNR",
        "unigen.nn.tilt": "Tilt",
        "unigen.nn.noise": "ConstantNoise DiagonalNoise",
        "unigen.nn.autonomous": "Autonomous",
        "unigen.distributions.count_likelihoods": "Poisson NegativeBinomial",
        "unigen.distributions.continuous_bernoulli": "ContinuousBernoulli",
        "unigen.distributions.parametric": "Parametric",
        "unigen.distributions.columns": "Columns",
        "unigen.nn.conv": "ConvEncoder ConvDecoder",
        "unigen.nn.unet": "UNet",
        "unigen.objectives.semi_supervised": "SemiSupervised",
        "unigen.objectives.vector_quantisation": "VectorQuantisation",
        "unigen.distributions.vamp_prior": "VampPrior",
        "unigen.distributions.posteriors": "MeanField FullCovariance MixturePosterior",
        "unigen.distributions.mixture_likelihood": "MixtureOfGaussians",
        "unigen.distributions.logistic_likelihood": "MixtureOfLogistics",
        "unigen.dynamics.prediction": "X0 Eps V Score Velocity",
        "unigen.objectives.flow_likelihood": "FlowLikelihood RNODE",
        "unigen.objectives.flow_matching": "ConditionalFlowMatching",
        "unigen.samplers.interpolant_sde": "InterpolantSDE",
        "unigen.samplers.twisted_smc": "TwistedSMC",
        "unigen.samplers.annealed_smc": "AnnealedSMC",
        "unigen.objectives.drop_context": "DropContext",
        "unigen.dynamics.classifier_free": "ClassifierFree",
        "unigen.dynamics.classifier_guidance": "ClassifierGuidance",
        "unigen.dynamics.posterior_guidance": "DPS",
        "unigen.nn.noisy_classifier": "NoisyClassifier",
        "unigen.dynamics.interpolant": "Linear Trigonometric VP InterpolantSchedule",
        "unigen.dynamics.coupling": "Independent MinibatchOT Rectified",
        "unigen.dynamics.ode_solver": "Adaptive",
        "unigen.dynamics.fixed_steps": "FixedSteps",
        "unigen.dynamics.divergence": "ExactDivergence Hutchinson",
        "unigen.recipe": "Cosine",
        "unigen.distributions.transforms": "Affine Additive Spline",
        "unigen.distributions.layers": "Coupling Autoregressive Inverse Standardise Quantile Logit",
        "unigen.distributions.channel_layers": "ActNorm LULinear Permutation Squeeze FactorOut",
        "unigen.distributions.zuko_layer": "Zuko",
        "unigen.dynamics.reference": "BrownianMotion OrnsteinUhlenbeck",
        "unigen.nn.affine_in_time": "AffineInTime",
        "unigen.objectives.bridge_matching": "IndependentBridge MarkovianFitting",
    }
)

OTHERS: dict[str, str] = _flat(
    {
        "unigen.program": "Program",
        "unigen.logprob": "LogProb Kind",
        "unigen.objectives.objective": "Objective Player",
        "unigen.samplers.sampler": "Sampler",
        "unigen.densities.density": "Density",
        "unigen.objectives.annealing": "Annealing",
        "unigen.distributions.concrete": "Concrete",
        "unigen.objectives.baselines": "Baseline",
        "unigen.recipe": "Recipe",
        "unigen.objectives.games": "Game",
        "unigen.nn.f_divergence": "FDivergence",
        "unigen.nn.critic": "Critic",
        "unigen.inference.game_watch": "GameWatch",
        "unigen.evaluate.mode_coverage": "ModeCoverage",
        "unigen.samplers.rejection": "Rejection",
        "unigen.samplers.importance_resampling": "ImportanceResampling",
        "unigen.samplers.latent_langevin": "LatentLangevin",
        "unigen.dynamics.neural_ode": "NeuralODE",
        "unigen.dynamics.bridge": "Bridge",
        "unigen.distributions.empirical": "Empirical",
        "unigen.dynamics.edm": "EDMInput",
        "unigen.dynamics.rescheduled": "Rescheduled match_snr",
        "unigen.inference.count_evaluations": "CountEvaluations",
        "unigen.data.dequantise": "Dequantise",
        "unigen.data.vocabulary": "Characters TokenizerVocabulary",
        "unigen.data.windows": "Windows",
        "unigen.data.series": "align_series",
        "unigen.evaluate.sliding_window": "sliding_log_prob",
        "unigen.inference.muon": "Muon",
        "unigen.distributions.parametric": "likelihood",
        "unigen.models.vae": "linear_vae",
        "unigen.distributions.orders": "scan_orders",
        "unigen.models.function": "from_functions",
        "unigen.models.ising": "Ising",
        "unigen.models.potential": "Potential",
        "unigen.densities.learned_normaliser": "LearnedNormaliser",
        "unigen.models.bayesian": "bayesian",
        "unigen.models.with_missing": "Incomplete with_missing",
        "unigen.models.labelled": "Labelled",
        "unigen.models.guided": "Guided",
        "unigen.dynamics.guidance": "Guidance",
        "unigen.dynamics.observation": "Observation LinearObservation Inpainting",
        "unigen.samplers.weighted_draws": "WeightedDraws",
        "unigen.inference.noisy_classifier": "fit_noisy_classifier",
        "unigen.inference.infer": "infer",
        "unigen.inference.markov": "NUTS HMC",
        "unigen.inference.langevin_chains": "MALA ULA Underdamped",
        "unigen.inference.tempering": "Tempering",
        "unigen.inference.mcmc": "mcmc",
        "unigen.models.product_of_experts": "ProductOfExperts",
        "unigen.inference.variational": "Variational Laplace",
        "unigen.inference.draws": "Draws",
        "unigen.inference.predictive": "PosteriorPredictive",
        "unigen.inference.fit": "fit",
        "unigen.inference.reflow": "reflow",
        "unigen.inference.record": "Record",
        "unigen.inference.persist": "save load",
        "unigen.evaluate.arviz": "to_arviz",
        "unigen.evaluate.dimension": "choose_latents",
        "unigen.evaluate.processes": "process",
        "unigen.evaluate.process_record": "Process",
        "unigen.distributions.rotation": "principal varimax procrustes",
        "unigen.relations.relate": "relate convert verify",
        "unigen.relations.relation": "relation",
        "unigen.relations.diffusion_flow_matching": "to_flow_matching to_diffusion",
        "unigen.relations.atlas": "atlas",
        "unigen.testing.check": "check_program",
        "unigen.errors": "UnigenError",
    }
)

# No rows of the study: programs around any program, and programs over the times of irregular series.
LIFTED = ("Incomplete", "Labelled", "Guided", "ProductOfExperts", "Potential")

MODULES = ("data", "plots", "errors", "estimators", "evaluate", "relations", "nn", "testing")


def programs() -> dict[str, str]:
    """Return the module of every class of programs that is written down by name and constructor arguments."""
    return {name: module for name, (module, _) in FAMILIES.items()} | {name: OTHERS[name] for name in LIFTED}


def modules() -> dict[str, str]:
    """Return the module of every public name."""
    return {name: module for name, (module, _) in FAMILIES.items()} | PARTS | OTHERS


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return a hint that names the known name nearest to a misspelt one, or another hint.

    Example:
        >>> did_you_mean("ppac", ["PCA", "PPCA", "VAE"])
        "did you mean 'PPCA'?"
    """
    spelt = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(spelt), n=1, cutoff=0.6)
    return f"did you mean '{spelt[close[0]]}'?" if close else otherwise


def resolve(name: str, among: dict[str, str] | None = None) -> Any:
    """Return the object behind a public name.

    Raises:
        UnknownNameError: There is none; the message lists the names.
    """
    table = modules() if among is None else among
    if name not in table:
        expected = f"one of {', '.join(sorted(table))}"
        raise UnknownNameError(got=repr(name), expected=expected, hint=did_you_mean(name, table))
    return getattr(importlib.import_module(table[name]), name)


def family(name: str) -> Any:
    """Return the class of a family by its name, whatever the case.

    Raises:
        UnknownNameError: There is no such family; the message lists them.
    """
    exact = {known.lower(): known for known in FAMILIES}
    if name.lower() not in exact:
        hint = did_you_mean(name, FAMILIES, "unigen families")
        expected = f"one of {', '.join(FAMILIES)}"
        raise UnknownNameError("unknown family", got=repr(name), expected=expected, hint=hint)
    return resolve(exact[name.lower()])
