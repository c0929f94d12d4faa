"""Families of q: densities and moments against SciPy's Gaussian with the covariance written out; a program as q."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import unigen as ug
from tests.problems import gaussian_log_density
from unigen.errors import NoDensityError
from unigen.inference.guides import FIRST_SCALE, Diagonal, Guide, LowRank, Multivariate, OfProgram

F64, M, D = torch.float64, 3, 5
FAMILIES = [Diagonal, LowRank, Multivariate]


@torch.no_grad()
def shaken(family: type[Guide], m: int = M, d: int = D) -> Guide:
    guide = family(torch.zeros(m, d, dtype=F64))
    for p in guide.parameters():
        p.add_(0.5 * torch.randn_like(p))
    return guide


def covariance(guide: Guide) -> Tensor:
    """What the formula of the family says, (M, D, D)."""
    s = guide.log_scale.exp()
    if isinstance(guide, LowRank):
        return guide.factor @ guide.factor.mT + torch.diag_embed(s**2)
    if isinstance(guide, Multivariate):
        lower = torch.diag_embed(s) @ (guide.lower.tril(-1) + torch.eye(s.shape[1], dtype=F64))
        return lower @ lower.mT
    return torch.diag_embed(s**2)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_the_density_is_that_of_the_formula(family):
    guide, u = shaken(family), torch.randn(7, M, D, dtype=F64)
    q = guide.distribution()
    assert q.batch_shape == (M,) and q.event_shape == (D,) and q.has_rsample
    c = covariance(guide).detach().numpy()
    for m in range(M):
        truth = stats.multivariate_normal(guide.loc[m].detach().numpy(), c[m]).logpdf(u[:, m].numpy())
        np.testing.assert_allclose(q.log_prob(u)[:, m].detach().numpy(), truth, rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_draws_have_the_moments_of_the_formula(family):
    n, guide = 20_000, shaken(family)
    with torch.no_grad():
        u, c = guide.distribution().rsample(torch.Size((n,))), covariance(guide)
        spread = c.diagonal(dim1=-2, dim2=-1).sqrt()
        assert float(((u.mean(0) - guide.loc) / spread).abs().max()) < 5 / n**0.5
        for m in range(M):
            error = (u[:, m].mT.cov() - c[m]) / (spread[m, :, None] * spread[m])
            assert float(error.abs().max()) < 5 * (2 / n) ** 0.5


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_it_starts_narrow_about_zero_and_every_parameter_gets_a_gradient(family):
    guide = family(torch.zeros(2, D, dtype=F64))
    assert torch.equal(guide.loc, torch.zeros(2, D, dtype=F64))
    start = covariance(guide).diagonal(dim1=-2, dim2=-1).sqrt()
    assert bool((start / FIRST_SCALE - 1 < 0.5).all() and (start >= FIRST_SCALE - 1e-12).all())
    q = guide.distribution()
    q.rsample(torch.Size((4,))).square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in guide.parameters())
    assert all(p.dim() > 0 and p.dtype is F64 for p in guide.parameters())


@pytest.mark.parametrize(("d", "rank"), [(1, 1), (4, 2), (5, 3), (9, 3), (10, 4)])
def test_the_low_rank_is_the_root_rounded_up(d, rank):
    assert LowRank(torch.zeros(2, d)).factor.shape == (2, d, rank)


def of_ppca(loc: float = 0.0, log_scale: float = math.log(FIRST_SCALE)) -> tuple[OfProgram, Tensor]:
    program = ug.PPCA(features=D, latents=2)
    guide = OfProgram(torch.zeros(1, D, dtype=F64), program)
    with torch.no_grad():
        guide.loc.fill_(loc)
        guide.log_scale.fill_(log_scale)
    w = program.weight.detach()
    return guide, w @ w.mT + program.variance.detach() * torch.eye(D, dtype=F64)


def test_a_program_as_q_is_moved_and_scaled():
    """u = m + s v: N(m, s² C) where v ~ N(0, C)."""
    guide, c = of_ppca(2.0, -1.0)
    u = torch.randn(6, 1, D, dtype=F64)
    q = guide.distribution()
    truth = (np.full(D, 2.0), math.exp(-2.0) * c.numpy())
    np.testing.assert_allclose(
        q.log_prob(u)[:, 0].detach().numpy(),
        gaussian_log_density(u[:, 0].numpy(), *truth),
        rtol=1e-8,
    )
    assert q.batch_shape == (1,) and q.event_shape == (D,)
    n = 20_000
    with torch.no_grad():
        draws = q.rsample(torch.Size((n,)))[:, 0]
    spread = (math.exp(-2.0) * c.diagonal()).sqrt()
    assert float(((draws.mean(0) - 2.0) / spread).abs().max()) < 5 / n**0.5
    assert float((draws.var(0) / spread**2 - 1).abs().max()) < 5 * (2 / n) ** 0.5


def test_a_flow_as_q_has_mass_one():
    guide = OfProgram(torch.zeros(1, 1, dtype=F64), ug.NSF(features=1, transforms=1, hidden=(4,)))
    with torch.no_grad():
        for p in guide.parameters():
            p.add_(0.3 * torch.randn_like(p))
        v = torch.linspace(-10, 10, 20_001, dtype=F64)[:, None, None]
        u = guide.loc + guide.log_scale.exp() * v
        mass = torch.trapezoid(guide.distribution().log_prob(u)[:, 0].exp(), u[:, 0, 0])
    assert float(mass) == pytest.approx(1.0, abs=1e-5)
    assert guide.program.dtype is F64
    guide.distribution().rsample(torch.Size((8,))).square().sum().backward()
    assert all(p.grad is not None for p in guide.parameters())


def test_programs_that_can_be_no_guide_are_refused():
    like = torch.zeros(1, 2)
    for program in (ug.VAE(2, 1), ug.GaussianMixture(2, components=2)):
        with pytest.raises(NoDensityError, match=r"exact density and draws with gradients.*NSF"):
            OfProgram(like, program)
