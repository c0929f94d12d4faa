"""VQ-VAE: the bound against the sum over all codes, both stages, traced steps, files, priors that do not fit."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import unigen as ug
from unigen.errors import ShapeError, SupportError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.logprob import Kind
from unigen.models.vqvae import VQVAE
from unigen.testing.check import check_program

F64 = torch.float64
TINY = {"features": 3, "positions": 2, "codes": 4, "width": 2, "hidden": (8,)}


def tokens() -> ug.Transformer:
    return ug.Transformer(2, 4, width=8, heads=2, layers=1)


def clusters(n: int) -> torch.Tensor:
    """Sixteen clusters, the signs of four coins: two of them always agree."""
    coins = torch.randint(0, 2, (n, 3)).float() * 2 - 1
    return coins * torch.tensor([1.0, 2.0, 3.0]) + 0.1 * torch.randn(n, 3)


@pytest.mark.parametrize("prior", [None, tokens], ids=["uniform", "Transformer"])
def test_the_bound_is_one_term_of_the_sum_over_all_codes(prior):
    program = VQVAE(**TINY, prior=prior and prior()).double()
    x = torch.randn(6, 3, dtype=F64)
    every = torch.tensor(list(itertools.product(range(4), repeat=2)), dtype=F64)
    with torch.no_grad():
        p_z = program.prior.log_prob(every).value if prior else torch.full((16,), -2 * math.log(4), dtype=F64)
        raw = program.decoder(program.codebook.lookup(every).flatten(1))
        joint = program.likelihood(raw, (3,)).log_prob(x[:, None]) + p_z
    z = program.encode(x)
    index = (z @ torch.tensor([4.0, 1.0], dtype=F64)).long()
    bound = program.log_prob(x)
    torch.testing.assert_close(bound.value, joint[torch.arange(6), index])
    assert bound.kind is Kind.LOWER_BOUND is program.kind
    assert (bound.value < joint.logsumexp(1)).all()


def test_every_law_holds():
    program = VQVAE(**TINY, prior=tokens())
    assert check_program(program, budget=20_000)["bounds"].held is not False
    assert program.formula == "p(x, z) = p(x | z) p_Transformer(z);  q(z | x)"


@pytest.mark.parametrize(
    ("prior", "context"), [(None, 0), (tokens, 0), (tokens, 2)], ids=["uniform", "tokens", "tokens, context"]
)
def test_the_traced_step_equals_the_eager_one(prior, context):
    x, c = torch.randn(16, 3, dtype=F64), torch.randn(16, 2, dtype=F64) if context else None
    found = []
    for compiled in (True, False):
        torch.manual_seed(3)
        program = VQVAE(**TINY, prior=prior and prior(), context=context).double()
        program.initialise(x, c)
        player = program.objective.players(program)[0]
        optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
        parts = (player.loss, player.parameters, optimizer)
        step = CompiledStep(*parts, example=(x, c), compiler=interpreted) if compiled else EagerStep(*parts)
        torch.manual_seed(4)
        for size in (16, 16, 9):
            step(x[:size], None if c is None else c[:size])
        found.append(torch.cat([p.detach().flatten() for p in [*program.parameters(), *program.buffers()]]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-10)


def test_both_stages_are_learnt_in_one_fit_and_the_prior_is_fitted_on_alone():
    x, test = clusters(800), clusters(800)
    prior = ug.Transformer(2, 8, width=8, heads=2, layers=1)
    program = VQVAE(3, positions=2, codes=8, width=2, hidden=(32,), prior=prior, likelihood=ug.Gaussian(0.3))
    untrained = [p.detach().clone() for p in prior.parameters()]
    ug.fit(program, x, steps=500, lr=5e-3, seed=0)
    assert (program.reconstruct(test) - test).square().mean() < 0.25 * test.var(0).mean()
    codes = program.encode(x)
    before = program.prior.log_prob(codes).mean().value
    assert all(not torch.equal(a, b) for a, b in zip(untrained, prior.parameters(), strict=True))
    ug.fit(program.prior, codes, steps=200, lr=5e-3, seed=0)
    used = torch.unique(codes, dim=0, return_counts=True)[1].double() / 800
    entropy = float(torch.special.entr(used).sum())
    after = program.prior.log_prob(codes).mean().value
    assert -entropy - 0.2 < after <= -entropy + 1e-3 and after > before
    draws = program.decode(program.prior.sample(500, seed=0))
    assert torch.cdist(draws, test).min(1).values.mean() < 0.8


def test_saved_and_loaded_it_is_the_same(tmp_path):
    program = VQVAE(**TINY, prior=tokens())
    ug.fit(program, clusters(50), steps=3, seed=0)
    again = ug.load(ug.save(program, tmp_path / "vq"))
    x = clusters(5)
    assert torch.equal(again.log_prob(x).value, program.log_prob(x).value)
    assert torch.equal(again.sample(5, seed=0), program.sample(5, seed=0))


def test_a_grid_of_codes_under_a_prior_over_images():
    prior = ug.PixelCNN((1, 2, 2), ug.Categorical(4), width=8, layers=2)
    program = VQVAE((1, 4, 4), positions=(1, 2, 2), codes=4, width=2, prior=prior, hidden=(8,))
    ug.fit(program, torch.rand(20, 1, 4, 4), steps=2, seed=0)
    x = program.sample(3)
    assert x.shape == (3, 1, 4, 4) and program.encode(x).shape == (3, 1, 2, 2)
    assert program.decode(program.encode(x)).shape == x.shape
    assert program.log_prob(x).value.shape == (3,)


def test_a_prior_that_does_not_fit_the_codes_is_refused():
    with pytest.raises(ShapeError, match="prior Transformer does not fit the codes"):
        VQVAE(3, positions=3, codes=4, prior=tokens())
    with pytest.raises(SupportError, match=r"prior Transformer is not one over the codes.*expected 0 … 4"):
        VQVAE(3, positions=2, codes=5, prior=tokens())
    with pytest.raises(SupportError, match="prior NSF"):
        VQVAE(3, positions=2, codes=4, prior=ug.NSF(2, transforms=1, hidden=(4,)))
