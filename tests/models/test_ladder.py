"""Ladder VAE: quadrature, products of Gaussians, any depth, traced steps, files."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

import unigen as ug
from tests.programs import traces_with_symbolic_batch
from unigen.errors import ArgumentError
from unigen.logprob import Kind
from unigen.models.ladder import LadderVAE, product
from unigen.objectives.elbo import elbo
from unigen.queries import seeded
from unigen.testing.check import check_program

F64 = torch.float64


def small(*latents: int) -> LadderVAE:
    return LadderVAE(3, latents, hidden=(8,), summary=4)


def test_a_product_of_gaussians_is_proportional_to_both():
    m, s, m_hat, s_hat = (torch.randn(5, dtype=F64).exp() for _ in range(4))
    loc, scale = product(m, s, m_hat, s_hat)
    z = torch.randn(4, 1, dtype=F64)
    ratio = Normal(m, s).log_prob(z) + Normal(m_hat, s_hat).log_prob(z) - Normal(loc, scale).log_prob(z)
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))


def test_the_importance_bound_reaches_quadrature():
    program = LadderVAE(2, (1, 1), hidden=(8,), summary=4, likelihood=ug.Gaussian(0.7)).double()
    x = torch.randn(4, 2, dtype=F64)
    grid = torch.linspace(-9, 9, 501, dtype=F64)[:, None]
    with torch.no_grad():
        loc, scale = program._prior(0, grid)
        p_1 = (Normal(loc, scale).log_prob(grid.mT) + Normal(0.0, 1.0).log_prob(grid)).logsumexp(0)
        p_x = Normal(program.decoder(grid)[:, None], 0.7).log_prob(x).sum(-1)
        exact = (p_x + p_1[:, None]).logsumexp(0) + 2 * math.log(18 / 500)
    scored = program.log_prob(x, density=ug.Importance(20_000))
    assert scored.stderr is not None and scored.kind is Kind.LOWER_BOUND
    assert ((scored.value - exact).abs() < 6 * scored.stderr).all()
    assert (elbo(program, x, samples=500) < exact + 0.1).all()


def test_the_elbo_by_hand():
    program, x = small(2, 1).double(), torch.randn(5, 3, dtype=F64)
    with seeded(3, torch.device("cpu")):
        ours = elbo(program, x)
    d_1 = torch.nn.functional.silu(program.upwards[0](x))
    d_2 = torch.nn.functional.silu(program.upwards[1](d_1))

    def normal(raw: torch.Tensor) -> Normal:
        loc, rho = raw.chunk(2, -1)
        return Normal(loc, torch.nn.functional.softplus(rho) + 1e-3)

    with seeded(3, torch.device("cpu")), torch.no_grad():
        q_2 = normal(program.recognition[1](d_2))
        z_2 = q_2.rsample()
        p_1, seen = normal(program.downwards[0](z_2)), normal(program.recognition[0](d_1))
        tau, tau_hat = p_1.scale**-2, seen.scale**-2
        q_1 = Normal((p_1.loc * tau + seen.loc * tau_hat) / (tau + tau_hat), (tau + tau_hat) ** -0.5)
        p_x = program.likelihood(program.decoder(q_1.rsample()), (3,))
        kl = kl_divergence(q_2, Normal(0.0, 1.0)).sum(-1) + kl_divergence(q_1, p_1).sum(-1)
        by_hand = p_x.log_prob(x) - kl
    torch.testing.assert_close(ours, by_hand)


@pytest.mark.parametrize("latents", [(2,), (3, 2, 2, 2)], ids=str)
def test_any_depth_trains_samples_scores_and_is_one_graph(latents):
    program, x = small(*latents), torch.randn(60, 3) @ torch.randn(3, 3)
    assert [s.name for s in program.structure.latents] == [f"z_{k}" for k in range(len(latents), 0, -1)]
    assert traces_with_symbolic_batch(program, ug.ELBO(), x[:6])
    curve = [v for _, v in ug.fit(program, x, steps=60, lr=1e-2, seed=0).history["elbo"]]
    assert sum(curve[-10:]) < sum(curve[:10])
    assert program.sample(4).shape == (4, 3) and program.log_prob(x[:5]).value.isfinite().all()
    assert program.encode(x[:5]).shape == (5, latents[-1]) and program.reconstruct(x[:5]).shape == (5, 3)


def test_every_law_holds():
    check_program(small(2, 1), budget=20_000)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    program = small(2, 1)
    again = ug.load(ug.save(program, tmp_path / "ladder"))
    assert torch.equal(again.sample(3, seed=0), program.sample(3, seed=0))


def test_a_discrete_likelihood_is_read_in_codes():
    program = LadderVAE(2, (2, 1), likelihood=ug.Categorical(4), hidden=(8,), summary=4)
    assert program.upwards[0].in_features == 8
    x = torch.randint(0, 4, (5, 2))
    assert program.log_prob(x).value.isfinite().all() and program.sample(2).max() <= 3


def test_no_levels_are_refused():
    for latents in ((), (2, 0)):
        with pytest.raises(ArgumentError, match="at least one level"):
            LadderVAE(3, latents)
