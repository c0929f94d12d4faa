"""Training through a quantiser: the loss term by term, and gradients passed straight through the codes, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.distributions import Normal

import unigen as ug
from unigen.errors import ArgumentError
from unigen.models.vqvae import VQVAE
from unigen.objectives.vector_quantisation import VectorQuantisation

F64 = torch.float64
TINY = {"features": 3, "positions": 2, "codes": 4, "width": 2, "hidden": (8,)}


def made(**options: Any) -> VQVAE:
    return VQVAE(**TINY, **options).double().eval()


def prior() -> ug.Transformer:
    return ug.Transformer(2, 4, width=8, heads=2, layers=1)


def loss_of(program: VQVAE, commitment: float) -> Any:
    (player,) = VectorQuantisation(commitment).players(program)
    assert player.name == "bound" and player.measure
    return player.loss


def test_the_loss_is_the_bound_and_the_commitment() -> None:
    program, x = made(), torch.randn(6, 3, dtype=F64)
    v = program.vectors(x)
    distance = torch.cdist(v, program.codebook.entries).min(-1).values.square().sum(-1)
    found = loss_of(program, 0.7)(x)
    assert found.shape == ()
    torch.testing.assert_close(found, (0.7 * distance - program.log_prob(x).value).mean())


def test_the_bound_by_hand() -> None:
    """−log N(x; decoder(e), σ²) + 2 log 4 under the uniform prior over two positions of four codes."""
    program, x = made(likelihood=ug.Gaussian(0.5)), torch.randn(6, 3, dtype=F64)
    nearest = torch.cdist(program.vectors(x), program.codebook.entries).argmin(-1)
    e = program.codebook.entries[nearest]
    by_hand = -Normal(program.decoder(e.flatten(1)), 0.5).log_prob(x).sum(1) + 2 * math.log(4)
    torch.testing.assert_close(loss_of(program, 0.0)(x), by_hand.mean())


def test_the_encoder_gets_the_codes_gradient_and_the_pull_of_the_commitment() -> None:
    """∂/∂v = ∂(−log p(x | e))/∂e + 2 κ (v − e): what reaches the encoder's output, whatever the prior says."""
    program, x, kappa = made(prior=prior(), likelihood=ug.Gaussian(0.5)), torch.randn(6, 3, dtype=F64), 0.7
    v = program.vectors(x).detach()
    e = (
        program.codebook.entries[torch.cdist(v, program.codebook.entries).argmin(-1)]
        .detach()
        .requires_grad_(True)
    )
    nll = -Normal(program.decoder(e.flatten(1)), 0.5).log_prob(x).sum()
    (through,) = torch.autograd.grad(nll, e)
    expected = (through + 2 * kappa * (v - e.detach())) / 6
    leaf = v.clone().requires_grad_(True)
    program.vectors = lambda x, context=None: leaf
    (found,) = torch.autograd.grad(loss_of(program, kappa)(x), leaf)
    torch.testing.assert_close(found, expected)


def test_the_commitment_weighs_its_term_alone() -> None:
    program, x = made(), torch.randn(6, 3, dtype=F64)
    zero, one, two = (loss_of(program, k)(x) for k in (0.0, 1.0, 2.0))
    torch.testing.assert_close(two - one, one - zero)
    assert bool(one > zero)


def test_the_prior_is_trained_by_the_codes_and_trains_nothing_else() -> None:
    program, x = made(prior=prior()), torch.randn(6, 3, dtype=F64)
    parts = [*program.prior.parameters()]
    ours = torch.autograd.grad(loss_of(program, 1.0)(x), parts)
    log_prior = program.prior.density_of(program.encode(x), None).value
    theirs = torch.autograd.grad(-log_prior.mean(), parts)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_a_program_without_a_quantiser_and_a_negative_weight_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"no quantiser.*ELBO"):
        VectorQuantisation().players(ug.VAE(3, 1))
    for commitment in (-1.0, math.nan):
        with pytest.raises(ArgumentError, match=r"commitment.*≥ 0"):
            VectorQuantisation(commitment)
