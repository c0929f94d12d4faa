"""Oracles: the mass of integers under a Gaussian by its distribution function, and the parts by themselves."""

from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import gaussian_ddpm, gaussian_diffusion
from unigen.densities.diffusion_bound import DiffusionBound
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.dynamics.schedule import LogLinearSNR
from unigen.errors import ArgumentError
from unigen.evaluate.likelihood_report import likelihood_report
from unigen.evaluate.terminal_mismatch import terminal_mismatch
from unigen.logprob import Kind
from unigen.models.cnf import CNF
from unigen.models.diffusion import Diffusion
from unigen.models.flow_matching import FlowMatching

F64 = torch.float64
NARROW = {"mean": 0.5, "std": 0.1}  # spread of the density of the data, in which four levels are coarse


def test_integers_are_bounded_from_below_and_several_draws_of_the_noise_close_in():
    """log P(k) = log [F((k + 1) / 4) − F(k / 4)] of N(.5, .1²)."""
    program = gaussian_diffusion(LogLinearSNR(1e6, 1e-6), **NARROW)
    k = torch.tensor([1, 2]).repeat_interleave(300)[:, None].double()
    x = (k + torch.rand_like(k)) / 4
    normal = torch.distributions.Normal(0.5, 0.1)
    truth = float((normal.cdf((k + 1) / 4) - normal.cdf(k / 4)).log().mean())
    report = likelihood_report(program, x, levels=4, noises=8)
    assert (report.mass.kind, report.flow.kind) == (Kind.LOWER_BOUND, Kind.EXACT)
    one = float((report.flow.value - math.log(4)).mean())
    several = float(report.mass.value.mean())
    assert one + 0.2 < several < truth + 5 * float(report.mass.value.std()) / math.sqrt(600)
    assert report.dequantisation > 0.2
    assert truth - several < 0.25 * (truth - one)
    assert report.mass.bits_per_dim().kind is Kind.UPPER_BOUND
    many = likelihood_report(program, x[:100], levels=4)
    torch.testing.assert_close(many.mass.value, many.flow.value - math.log(4))
    assert many.dequantisation is None


def test_the_lines_are_those_of_the_parts():
    program = gaussian_diffusion(LogLinearSNR(1e3, 1e-3), **NARROW)
    x = torch.rand(8, 1, dtype=F64)
    report = likelihood_report(program, x, levels=17, data=torch.rand(50, 1, dtype=F64), seed=2)
    flow = program.log_prob(x, density=ProbabilityFlow(rtol=1e-5, atol=1e-5))
    torch.testing.assert_close(report.flow.value, flow.value)
    again = program.log_prob(x, density=DiffusionBound(64, 16)).mean()
    bound = report.terms.bound.mean()
    assert abs(bound.value - again.value) < 6 * math.hypot(bound.monte_carlo, again.monte_carlo)
    assert report.mismatch.n == 50
    other = terminal_mismatch(program, torch.rand(50, 1, dtype=F64))
    assert 0 <= report.mismatch.kl < 10 * other.prior_term
    text = str(report)
    for line in (
        "flow:",
        "bound:",
        "prior:",
        "diffusion:",
        "reconstruction:",
        "terminal mismatch",
        "integers (17 levels)",
    ):
        assert line in text
    assert "bits/dim" in text


@pytest.mark.parametrize("family", [CNF, FlowMatching, Diffusion])
def test_flows_without_a_denoiser_have_the_lines_that_apply(family):
    options = {"hidden": (8,)} if family is CNF else {"hidden": 8, "blocks": 1}
    program, x, c = family(2, context=3, **options), torch.rand(4, 2), torch.randn(4, 3)
    report = likelihood_report(program, x, c, levels=4, noises=2, bound=DiffusionBound(2, 2), seed=0)
    again = likelihood_report(program, x, c, levels=4, noises=2, bound=DiffusionBound(2, 2), seed=0)
    assert torch.equal(report.mass.value, again.mass.value)
    assert (report.terms is not None) is (family is Diffusion)
    assert report.mismatch is None
    continuous = likelihood_report(program, 3 * torch.randn(4, 2), c, bound=DiffusionBound(2, 2))
    assert continuous.mass is None
    assert "integers" not in str(continuous)


def test_misuse_is_refused():
    program, x = CNF(2, hidden=(8,)), torch.rand(4, 2)
    for options in ({"levels": 0}, {"levels": 4, "noises": 0}, {"noises": 2}):
        with pytest.raises(ArgumentError, match="levels ≥ 1"):
            likelihood_report(program, x, **options)
    with pytest.raises(ArgumentError, match="unit interval"):
        likelihood_report(program, 16 * x, levels=16)
    likelihood_report(
        gaussian_ddpm(LogLinearSNR(), 5), torch.rand(2, 1, dtype=F64), bound=DiffusionBound(2, 2)
    )
