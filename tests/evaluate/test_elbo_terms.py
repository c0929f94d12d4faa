"""Oracles: all three terms of a Gaussian in closed form, example by example; THEOREM 13."""

from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import gaussian_ddpm, gaussian_diffusion
from unigen.densities.diffusion_bound import DiffusionBound
from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.dynamics.time_density import LogNormalNoise, UniformLogSNR
from unigen.errors import ArgumentError
from unigen.evaluate.elbo_terms import elbo_terms
from unigen.logprob import Kind
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA

F64 = torch.float64
COPIES = 1000  # of one example, whose mean then has a small error


def check(program, exact, **options):
    """The diffusion term of x = ±2 under N(0, 4), where the error depends on x² alone, linearly: that of the whole."""
    x = torch.tensor([[2.0], [-2.0]], dtype=F64).repeat(COPIES // 2, 1)
    mean = elbo_terms(program, x, density=DiffusionBound(64, 6, **options)).diffusion.mean()
    assert abs(-mean.value - exact) < 5 * mean.monte_carlo + 1e-4 * exact
    assert mean.monte_carlo < 0.005 * exact


@pytest.mark.parametrize("density", [None, UniformLogSNR(), LogNormalNoise(0.0, 1.5)], ids=repr)
@pytest.mark.parametrize("schedule", [LogLinearSNR(1e3, 1e-2), VPLinear()], ids=repr)
def test_every_term_of_a_gaussian(schedule, density):
    """Diffusion term of u for N(0, s²): ½ [log (1 + s² r) + (1 − u²/s²) / (1 + s² r)] from SNR r to r."""
    s2, program, x = (
        4.0,
        gaussian_diffusion(schedule, std=2.0),
        torch.tensor([[0.0], [2.0], [-3.0]], dtype=F64),
    )
    ends = torch.tensor([program.denoiser.start, 1.0], dtype=F64)
    snr, alpha, sigma = torch.exp(schedule.log_snr(ends)), schedule.alpha(ends), schedule.sigma(ends)
    options = {} if density is None else {"density": density}
    terms = elbo_terms(program, x, density=DiffusionBound(256, 40, **options))
    u2 = x[:, 0] ** 2
    primitive = [0.5 * (torch.log(1 + s2 * r) + (1 - u2 / s2) / (1 + s2 * r)) for r in snr]
    prior = 0.5 * (alpha[1] ** 2 * u2 + sigma[1] ** 2 - 1 - torch.log(sigma[1] ** 2))
    reconstruction = 0.5 * torch.log(2 * math.pi * math.e / snr[0])
    torch.testing.assert_close(terms.prior.value, -prior)
    torch.testing.assert_close(terms.reconstruction.value, -reconstruction.expand(3))
    assert bool(
        ((terms.diffusion.value + primitive[0] - primitive[1]).abs() < 5.5 * terms.diffusion.stderr).all()
    )
    assert float(terms.diffusion.stderr.max()) < 1.0


def test_theorem_13():
    """N(0, 4), SNR 1e3 → 1e-4 log-linear: T steps, and the limit."""
    schedule = LogLinearSNR(1e3, 1e-4)
    check(gaussian_diffusion(schedule, std=2.0), 4.146950)
    for moves, exact in ((5, 24.956), (10, 9.3197), (50, 4.7983), (100, 4.4562)):
        check(gaussian_ddpm(schedule, moves + 1, std=2.0), exact)


def test_only_the_ends_of_the_log_snr_matter():
    check(gaussian_diffusion(VPCosine(1e3, 1e-4), std=2.0), 4.146950, density=UniformLogSNR())


@pytest.mark.parametrize(
    "build", [gaussian_diffusion, lambda s: gaussian_ddpm(s, 5)], ids=["Diffusion", "DDPM"]
)
def test_the_sum_is_the_bound(build):
    program, x = build(LogLinearSNR(1e3, 1e-2)), torch.randn(6, 1, dtype=F64)
    program.initialise(3 * torch.randn(50, 1, dtype=F64) + 1)
    terms, bound = elbo_terms(program, x, seed=3), program.log_prob(x, density=DiffusionBound(), seed=3)
    torch.testing.assert_close(terms.bound.value, bound.value)
    torch.testing.assert_close(terms.bound.stderr, bound.stderr)
    assert (terms.bound.kind, terms.prior.kind, terms.diffusion.kind) == (
        Kind.LOWER_BOUND, Kind.EXACT, Kind.ESTIMATE,
    )  # fmt: skip
    bits = terms.bits_per_dim(levels=16)
    assert sum(float(bits[name]) for name in ("prior", "diffusion", "reconstruction")) == pytest.approx(
        float(bits["bound"])
    )
    assert float(bits["bound"]) == pytest.approx(float(bound.bits_per_dim(levels=16)))
    assert bits["bound"].kind is Kind.UPPER_BOUND
    assert "ELBO" in str(terms)


def test_standardised_conditional_programs_in_several_dimensions():
    program = Diffusion((2, 2), network=Halve(), context=3)
    program.initialise(5 * torch.randn(50, 2, 2))
    x, c = torch.randn(4, 2, 2), torch.randn(1, 3)
    terms = elbo_terms(program, x, c, seed=0)
    torch.testing.assert_close(
        terms.bound.value, program.log_prob(x, c, density=DiffusionBound(), seed=0).value
    )
    assert terms.prior.dims == 4


class Halve(torch.nn.Module):
    def forward(self, z, t, c):
        return 0.5 * z + c.mean() * 0.0


def test_only_a_diffusion_has_these_terms():
    with pytest.raises(ArgumentError, match="Diffusion"):
        elbo_terms(PPCA(3, 1), torch.randn(2, 3))
