"""The families: where each is defined, and what it is, in one line."""

from __future__ import annotations

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
    "LatentSDE": (
        "unigen.models.latent_sde",
        "time series of a hidden diffusion, variational inference on paths",
    ),
    "LatentODE": ("unigen.models.latent_ode", "time series of a hidden ordinary differential equation"),
    "GAN": ("unigen.models.gan", "generative adversarial network, non-saturating"),
    "WGAN": ("unigen.models.gan", "GAN with the Wasserstein objective and gradient penalty"),
    "EnergyModel": ("unigen.models.energy", "energy-based model, contrastive divergence"),
    "RBM": ("unigen.models.rbm", "restricted Boltzmann machine, block Gibbs"),
    "Diffusion": ("unigen.models.diffusion", "score-based diffusion in continuous time"),
    "FlowMatching": ("unigen.models.flow_matching", "continuous flow by regression along interpolants"),
    "DDPM": ("unigen.models.ddpm", "discrete diffusion, a hierarchical program z_T → … → z_1 → x"),
    "SchroedingerBridge": (
        "unigen.models.schroedinger_bridge",
        "diffusion between a data set and any prior or other data set, iterative Markovian fitting",
    ),
}

# Base classes that theorems speak of, and the field's word for each.
TERMS = {"FlowProgram": "Flow"}


def term(name: str) -> str:
    """Return what a reader calls a family, given the name of its class.

    Example:
        >>> term("FlowProgram"), term("VAE")
        ('Flow', 'VAE')
    """
    return TERMS.get(name, name)
