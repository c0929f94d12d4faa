"""What the theorems about linear VAEs share: whether a program is one, and its parts and terms in closed form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unigen.distributions.likelihoods import Gaussian
from unigen.distributions.posteriors import MeanField
from unigen.distributions.standard import StandardNormal
from unigen.models.vae import VAE
from unigen.nn.mlp import MLP
from unigen.program import Program

if TYPE_CHECKING:
    from unigen.relations.relation import Relation

AFFINE = "encoder and decoder are affine"
STANDARD = "the prior is N(0, I)"
ONE_SIGMA = "the likelihood is Gaussian with one σ for all features"


def as_linear_vae(relation: Relation, program: Program) -> VAE:
    """Return the program as a linear VAE.

    Raises:
        UnsupportedQueryError: It is not one; the message names the failing assumption.
    """
    if not isinstance(program, VAE) or program.context_features:
        raise relation.refuse("an unconditional VAE", program)
    for network in (program.encoder, program.decoder):
        if not isinstance(network, MLP) or len(network.layers) != 1:
            raise relation.refuse(AFFINE, program, hint="linear_vae(features, latents)")
    if not isinstance(program.head, MeanField):
        raise relation.refuse("a mean-field posterior", program, hint="posterior=MeanField()")
    if not isinstance(program.prior, StandardNormal):
        raise relation.refuse(STANDARD, program, hint="linear_vae(features, latents)")
    head = program.likelihood
    if not isinstance(head, Gaussian) or head.mode in ("network", "per_feature"):
        raise relation.refuse(ONE_SIGMA, program, hint="likelihood=Gaussian('learned')")
    return program


def affine(network: nn.Module) -> nn.Linear:
    """Return the only layer of an affine perceptron."""
    assert isinstance(network, MLP)
    layer = network.layers[-1]
    assert isinstance(layer, nn.Linear)
    return layer


def weight(vae: VAE) -> Tensor:
    """W, shape (D, q)."""
    return affine(vae.decoder).weight


def head(vae: VAE) -> Gaussian:
    """The likelihood."""
    assert isinstance(vae.likelihood, Gaussian)
    return vae.likelihood


def scale(vae: VAE) -> Tensor:
    """σ, shape (1,)."""
    return head(vae).sigma.to(vae.dtype)


def rate(vae: VAE, x: Tensor) -> Tensor:
    """Return KL(q(z | x) ‖ N(0, I)), shape (N,), in nats."""
    q = vae.posterior_of(x)
    return 0.5 * (q.mean.square() + q.variance - 1 - q.variance.log()).sum(-1)


def elbo(vae: VAE, x: Tensor) -> Tensor:
    """Return the ELBO of a linear VAE in closed form, shape (N,), in nats."""
    q, w, variance = vae.posterior_of(x), weight(vae), scale(vae).square()
    residual = x - q.mean @ w.mT - affine(vae.decoder).bias
    spread = (q.variance * w.square().sum(0)).sum(-1)
    normaliser = 0.5 * x.shape[1] * (2 * math.pi * variance).log()
    return -normaliser - (residual.square().sum(-1) + spread) / (2 * variance) - rate(vae, x)


def marginal_covariance(vae: VAE) -> Tensor:
    """Return WWᵀ + σ²I, shape (D, D)."""
    w = weight(vae)
    return w @ w.mT + scale(vae).square() * torch.eye(w.shape[0], dtype=w.dtype, device=w.device)


def cosine(a: Tensor, b: Tensor) -> float:
    """Return the smallest cosine of an angle between the spans of the columns of two matrices."""
    one, two = (torch.linalg.qr(w.detach().double()).Q for w in (a, b))
    return torch.linalg.svdvals(one.mT @ two).min().item()
