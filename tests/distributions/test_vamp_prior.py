"""VampPrior: density by hand, mass one, shared encoder, files, traced steps, starting values."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.distributions import Normal

import unigen as ug
from unigen.distributions.vamp_prior import VampPrior
from unigen.errors import ArgumentError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.logprob import Kind
from unigen.testing.check import check_program

F64 = torch.float64


def small(**options) -> ug.VAE:
    return ug.VAE(4, 2, prior=VampPrior(components=5), hidden=(8,), **options)


def test_density_is_the_mean_of_the_posteriors_at_the_pseudo_inputs():
    vae, z = small().double(), torch.randn(7, 2, dtype=F64)
    loc, raw = vae.encoder(vae.prior.pseudo_inputs).chunk(2, -1)
    q = vae.posterior(vae.prior.pseudo_inputs.detach())
    torch.testing.assert_close(q.mean, loc)
    by_hand = Normal(loc, q.stddev).log_prob(z[:, None]).sum(-1).logsumexp(1) - math.log(5)
    torch.testing.assert_close(vae.prior().log_prob(z), by_hand)
    assert raw.shape == (5, 2)


def test_mass_is_one():
    vae = small().double()
    grid = torch.linspace(-12, 12, 601, dtype=F64)
    z = torch.cartesian_prod(grid, grid)
    with torch.no_grad():
        assert abs(float(vae.prior().log_prob(z).exp().sum()) * (24 / 600) ** 2 - 1) < 1e-6


def test_draws_have_the_moments_of_the_mixture():
    vae = small()
    p = vae.prior()
    z = p.sample((20_000,))
    assert ((z.mean(0) - p.mean) / (p.variance / 20_000).sqrt()).abs().max() < 5


def test_every_law_holds_and_nothing_is_held_twice():
    vae = small()
    assert check_program(vae, budget=40_000)["bounds"].held
    assert vae.formula == "p(x, z) = p(x | z) p_VampPrior(z);  q(z | x)" and vae.kind is Kind.LOWER_BOUND
    names = [name for name in vae.state_dict() if "encoder" in name]
    assert names and all(name.startswith("encoder.") for name in names)
    assert len(list(vae.parameters())) == len(list(vae.named_parameters(remove_duplicate=False)))


def test_a_copy_uses_its_own_encoder():
    vae = small()
    twin = copy.deepcopy(vae)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    z = torch.zeros(1, 2)
    assert not torch.equal(vae.prior().log_prob(z), twin.prior().log_prob(z))
    assert twin.prior().component_distribution.mean.abs().max() == 0


def test_saved_and_loaded_it_is_the_same(tmp_path):
    vae = small()
    ug.fit(vae, torch.randn(40, 4), steps=3, seed=0)
    again = ug.load(ug.save(vae, tmp_path / "vamp"))
    z = torch.randn(3, 2)
    assert torch.equal(again.prior().log_prob(z), vae.prior().log_prob(z))
    assert torch.equal(again.sample(5, seed=1), vae.sample(5, seed=1))


@pytest.mark.parametrize("context", [0, 3])
def test_the_traced_step_equals_the_eager_one(context):
    x, c = torch.randn(16, 4, dtype=F64), torch.randn(16, 3, dtype=F64) if context else None
    found = []
    for compiled in (True, False):
        torch.manual_seed(3)
        vae = small(context=context).double()
        player = ug.ELBO().players(vae)[0]
        optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
        parts = (player.loss, player.parameters, optimizer)
        step = CompiledStep(*parts, example=(x, c), compiler=interpreted) if compiled else EagerStep(*parts)
        for size in (16, 16, 9):
            step(x[:size], None if c is None else c[:size])
        found.append(torch.cat([p.detach().flatten() for p in vae.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-10)


def test_gradients_reach_the_encoder_through_the_prior():
    vae = small()
    grads = torch.autograd.grad(
        vae.prior().log_prob(torch.zeros(1, 2)).sum(), [vae.prior.pseudo_inputs, *vae.encoder.parameters()]
    )
    assert all(bool((g != 0).any()) for g in grads)


def test_pseudo_inputs_start_at_examples():
    vae, x = small(context=2), torch.randn(30, 4)
    c = torch.randn(30, 2)
    vae.prior.initialise(x, c)
    which = torch.cdist(vae.prior.pseudo_inputs, x).argmin(1)
    assert torch.equal(vae.prior.pseudo_inputs, x[which]) and len(set(which.tolist())) == 5
    assert torch.equal(vae.prior.pseudo_contexts, c[which])
    vae.prior.initialise(x[:2], c[:2])  # fewer examples than components
    assert set(torch.cdist(vae.prior.pseudo_inputs, x).argmin(1).tolist()) == {0, 1}


def test_it_fits_clusters_that_a_normal_prior_does_not():
    """Data on two far clusters, one latent: with the VampPrior the bound is within reach of the density."""
    x = torch.tensor([[-4.0], [4.0]])[torch.randint(0, 2, (500,))] + 0.3 * torch.randn(500, 1)
    vae = ug.VAE(1, 1, prior=VampPrior(components=12), hidden=(16,), likelihood=ug.Gaussian(0.1))
    ug.fit(vae, x, steps=500, lr=1e-2, seed=0)
    mixture = torch.stack([Normal(m, 0.3).log_prob(x[:, 0]) for m in (-4.0, 4.0)]).logsumexp(0) - math.log(2)
    bound = vae.log_prob(x).mean().value
    assert mixture.mean() - 0.6 < bound < mixture.mean() + 0.1
    draws = vae.sample(1000)
    assert float(((draws.abs() - 4).abs() < 1.5).float().mean()) > 0.9


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="components"):
        VampPrior(0)
    with pytest.raises(ArgumentError, match="needs the program"):
        VampPrior(3)()
    prior = VampPrior(3)
    ug.VAE(4, 2, prior=prior, hidden=(8,))
    with pytest.raises(ArgumentError, match="belongs to one program"):
        ug.VAE(4, 2, prior=prior, hidden=(8,))
