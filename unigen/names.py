"""Where each public name lives; the one table behind ``unigen.<name>``, the families list and loading."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any

from unigen.errors import UnknownNameError

FAMILIES: dict[str, tuple[str, str]] = {
    # name: (module, what it is)
    "PCA": ("unigen.models.pca", "principal components, the noiseless limit of PPCA"),
    "PPCA": ("unigen.models.ppca", "probabilistic PCA, closed form"),
    "FactorAnalysis": (
        "unigen.models.factor_analysis",
        "linear-Gaussian with one noise variance a feature, EM",
    ),
    "GaussianMixture": ("unigen.models.mixture", "mixture of Gaussians, EM"),
    "Mixture": ("unigen.models.mixture_of_programs", "mixture of any programs, EM or enumerated ELBO"),
    "VAE": ("unigen.models.vae", "variational autoencoder"),
    "VQVAE": ("unigen.models.vqvae", "vector-quantised autoencoder, any prior over the codes"),
    "LadderVAE": ("unigen.models.ladder", "hierarchical autoencoder of any depth, top-down posterior"),
    "Flow": ("unigen.models.flow", "normalizing flow of layers of one's own"),
    "NICE": ("unigen.models.flow", "additive coupling flow"),
    "RealNVP": ("unigen.models.flow", "affine coupling flow"),
    "NSF": ("unigen.models.flow", "neural spline flow"),
    "MAF": ("unigen.models.flow", "masked autoregressive flow"),
    "IAF": ("unigen.models.flow", "inverse autoregressive flow"),
    "Glow": ("unigen.models.glow", "multi-scale flow on images, invertible 1×1 convolutions"),
    "MADE": ("unigen.models.made", "masked autoregressive density"),
    "Transformer": ("unigen.models.transformer", "causal Transformer over tokens or pixels, autoregressive"),
    "PixelCNN": ("unigen.models.pixelcnn", "gated masked convolutions over images, autoregressive"),
    "CNF": ("unigen.models.cnf", "continuous normalizing flow, a neural ODE"),
    "HiddenMarkov": ("unigen.models.hidden_markov", "hidden Markov model, the path summed out"),
    "StateSpace": ("unigen.models.state_space", "linear-Gaussian state-space model, by the Kalman filter"),
    "DeepMarkov": ("unigen.models.deep_markov", "state-space model with neural transition and emission"),
    "GAN": ("unigen.models.gan", "generative adversarial network, non-saturating"),
    "WGAN": ("unigen.models.gan", "GAN with the Wasserstein objective and gradient penalty"),
    "EnergyModel": ("unigen.models.energy", "energy-based model, contrastive divergence"),
    "Diffusion": ("unigen.models.diffusion", "score-based diffusion in continuous time"),
    "FlowMatching": ("unigen.models.flow_matching", "continuous flow by regression along interpolants"),
    "DDPM": ("unigen.models.ddpm", "discrete diffusion, a hierarchical program z_T → … → z_1 → x"),
    "SchroedingerBridge": (
        "unigen.models.schroedinger_bridge",
        "diffusion between a data set and any prior or other data set, iterative Markovian fitting",
    ),
}

PARTS: dict[str, str] = {
    "Gaussian": "unigen.distributions.likelihoods",
    "Bernoulli": "unigen.distributions.likelihoods",
    "Categorical": "unigen.distributions.likelihoods",
    "ELBO": "unigen.objectives.elbo",
    "IWAE": "unigen.objectives.iwae",
    "LinearWarmup": "unigen.objectives.annealing",
    "Cyclical": "unigen.objectives.annealing",
    "FreeBits": "unigen.objectives.free_bits",
    "LeaveOneOut": "unigen.objectives.baselines",
    "LearnedBaseline": "unigen.objectives.baselines",
    "ConcretePrior": "unigen.distributions.concrete",
    "ConcretePosterior": "unigen.distributions.concrete",
    "StraightThrough": "unigen.nn.straight_through",
    "PyroELBO": "unigen.objectives.pyro_elbo",
    "MaximumLikelihood": "unigen.objectives.likelihood",
    "ClosedForm": "unigen.objectives.likelihood",
    "EM": "unigen.objectives.likelihood",
    "ARD": "unigen.objectives.ard",
    "DenoisingScoreMatching": "unigen.objectives.denoising",
    "ContrastiveDivergence": "unigen.objectives.contrastive",
    "Adversarial": "unigen.objectives.adversarial",
    "NonSaturating": "unigen.objectives.adversarial",
    "Wasserstein": "unigen.objectives.adversarial",
    "Ancestral": "unigen.samplers.ancestral",
    "Decoding": "unigen.samplers.decoding",
    "BeamSearch": "unigen.samplers.beam_search",
    "Langevin": "unigen.samplers.langevin",
    "ReverseSDE": "unigen.samplers.reverse_sde",
    "ProbabilityFlowODE": "unigen.samplers.probability_flow",
    "DDIM": "unigen.samplers.ddim",
    "DDPMAncestral": "unigen.samplers.ddpm",
    "EDM": "unigen.samplers.edm",
    "DPMSolver": "unigen.samplers.dpm_solver",
    "PredictorCorrector": "unigen.samplers.predictor_corrector",
    "EqualTimes": "unigen.samplers.grids",
    "EqualLogSNR": "unigen.samplers.grids",
    "KarrasTimes": "unigen.samplers.grids",
    "GivenTimes": "unigen.samplers.grids",
    "Importance": "unigen.densities.importance",
    "AIS": "unigen.densities.ais",
    "ProbabilityFlow": "unigen.densities.probability_flow",
    "DiffusionBound": "unigen.densities.diffusion_bound",
    "Unnormalised": "unigen.densities.unnormalised",
    "VPLinear": "unigen.dynamics.schedule",
    "VPCosine": "unigen.dynamics.schedule",
    "LogLinearSNR": "unigen.dynamics.schedule",
    "VPConstant": "unigen.dynamics.vp_constant",
    "VE": "unigen.dynamics.variance_exploding",
    "SubVP": "unigen.dynamics.variance_exploding",
    "LearnedSNR": "unigen.dynamics.learned_snr",
    "Tilt": "unigen.nn.tilt",
    "Poisson": "unigen.distributions.count_likelihoods",
    "NegativeBinomial": "unigen.distributions.count_likelihoods",
    "ContinuousBernoulli": "unigen.distributions.continuous_bernoulli",
    "Parametric": "unigen.distributions.parametric",
    "Columns": "unigen.distributions.columns",
    "ConvEncoder": "unigen.nn.conv",
    "ConvDecoder": "unigen.nn.conv",
    "SemiSupervised": "unigen.objectives.semi_supervised",
    "VectorQuantisation": "unigen.objectives.vector_quantisation",
    "VampPrior": "unigen.distributions.vamp_prior",
    "MeanField": "unigen.distributions.posteriors",
    "FullCovariance": "unigen.distributions.posteriors",
    "MixturePosterior": "unigen.distributions.posteriors",
    "MixtureOfGaussians": "unigen.distributions.mixture_likelihood",
    "MixtureOfLogistics": "unigen.distributions.logistic_likelihood",
    "X0": "unigen.dynamics.prediction",
    "Eps": "unigen.dynamics.prediction",
    "V": "unigen.dynamics.prediction",
    "Score": "unigen.dynamics.prediction",
    "Velocity": "unigen.dynamics.prediction",
    "SubsampledELBO": "unigen.objectives.denoising",
    "FlowLikelihood": "unigen.objectives.flow_likelihood",
    "RNODE": "unigen.objectives.flow_likelihood",
    "ConditionalFlowMatching": "unigen.objectives.flow_matching",
    "InterpolantSDE": "unigen.samplers.interpolant_sde",
    "Linear": "unigen.dynamics.interpolant",
    "Trigonometric": "unigen.dynamics.interpolant",
    "VP": "unigen.dynamics.interpolant",
    "InterpolantSchedule": "unigen.dynamics.interpolant",
    "Independent": "unigen.dynamics.coupling",
    "MinibatchOT": "unigen.dynamics.coupling",
    "Rectified": "unigen.dynamics.coupling",
    "Adaptive": "unigen.dynamics.ode_solver",
    "FixedSteps": "unigen.dynamics.fixed_steps",
    "ExactDivergence": "unigen.dynamics.divergence",
    "Hutchinson": "unigen.dynamics.divergence",
    "Cosine": "unigen.recipe",
    "Affine": "unigen.distributions.transforms",
    "Additive": "unigen.distributions.transforms",
    "Spline": "unigen.distributions.transforms",
    "Coupling": "unigen.distributions.layers",
    "Autoregressive": "unigen.distributions.layers",
    "Inverse": "unigen.distributions.layers",
    "Standardise": "unigen.distributions.layers",
    "Quantile": "unigen.distributions.layers",
    "Logit": "unigen.distributions.layers",
    "ActNorm": "unigen.distributions.channel_layers",
    "LULinear": "unigen.distributions.channel_layers",
    "Permutation": "unigen.distributions.channel_layers",
    "Squeeze": "unigen.distributions.channel_layers",
    "FactorOut": "unigen.distributions.channel_layers",
    "Zuko": "unigen.distributions.zuko_layer",
    "BrownianMotion": "unigen.dynamics.reference",
    "OrnsteinUhlenbeck": "unigen.dynamics.reference",
    "AffineInTime": "unigen.nn.affine_in_time",
    "IndependentBridge": "unigen.objectives.bridge_matching",
    "MarkovianFitting": "unigen.objectives.bridge_matching",
}

OTHERS: dict[str, str] = {
    "Program": "unigen.program",
    "LogProb": "unigen.logprob",
    "Kind": "unigen.logprob",
    "Objective": "unigen.objectives.objective",
    "Player": "unigen.objectives.objective",
    "Sampler": "unigen.samplers.sampler",
    "Density": "unigen.densities.density",
    "Annealing": "unigen.objectives.annealing",
    "Concrete": "unigen.distributions.concrete",
    "Baseline": "unigen.objectives.baselines",
    "Recipe": "unigen.recipe",
    "NeuralODE": "unigen.dynamics.neural_ode",
    "Bridge": "unigen.dynamics.bridge",
    "Empirical": "unigen.distributions.empirical",
    "Rescheduled": "unigen.dynamics.rescheduled",
    "match_snr": "unigen.dynamics.rescheduled",
    "CountEvaluations": "unigen.inference.count_evaluations",
    "Dequantise": "unigen.data.dequantise",
    "Characters": "unigen.data.vocabulary",
    "TokenizerVocabulary": "unigen.data.vocabulary",
    "Windows": "unigen.data.windows",
    "sliding_log_prob": "unigen.evaluate.sliding_window",
    "Muon": "unigen.inference.muon",
    "likelihood": "unigen.distributions.parametric",
    "linear_vae": "unigen.models.vae",
    "scan_orders": "unigen.distributions.orders",
    "from_functions": "unigen.models.function",
    "bayesian": "unigen.models.bayesian",
    "Incomplete": "unigen.models.with_missing",
    "Labelled": "unigen.models.labelled",
    "with_missing": "unigen.models.with_missing",
    "infer": "unigen.inference.infer",
    "NUTS": "unigen.inference.markov",
    "HMC": "unigen.inference.markov",
    "Variational": "unigen.inference.variational",
    "Laplace": "unigen.inference.variational",
    "Draws": "unigen.inference.draws",
    "PosteriorPredictive": "unigen.inference.predictive",
    "fit": "unigen.inference.fit",
    "reflow": "unigen.inference.reflow",
    "Record": "unigen.inference.record",
    "save": "unigen.inference.persist",
    "load": "unigen.inference.persist",
    "to_arviz": "unigen.evaluate.arviz",
    "choose_latents": "unigen.evaluate.dimension",
    "principal": "unigen.distributions.rotation",
    "varimax": "unigen.distributions.rotation",
    "procrustes": "unigen.distributions.rotation",
    "relate": "unigen.relations.relate",
    "relation": "unigen.relations.relation",
    "convert": "unigen.relations.relate",
    "to_flow_matching": "unigen.relations.diffusion_flow_matching",
    "to_diffusion": "unigen.relations.diffusion_flow_matching",
    "atlas": "unigen.relations.atlas",
    "verify": "unigen.relations.relate",
    "check_program": "unigen.testing.check",
    "UnigenError": "unigen.errors",
}

LIFTED = ("Incomplete", "Labelled")  # programs around any program: no families of their own

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
