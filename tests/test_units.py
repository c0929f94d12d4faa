"""Hand computations, the formulas of the papers that report such numbers, and masses by quadrature."""

from __future__ import annotations

import math

import pytest
import torch

from unigen import units
from unigen.data.dequantise import Dequantise
from unigen.errors import ArgumentError, KindError
from unigen.logprob import Kind, LogProb

F64 = torch.float64


def test_bits_and_nats_by_hand():
    assert units.bits(1.0) == pytest.approx(1.4426950408889634, abs=1e-15)  # log₂ e
    assert units.nats(3.0) == pytest.approx(2.0794415416798357, abs=1e-15)  # log 8
    assert units.nats(units.bits(-1.25)) == -1.25
    assert torch.equal(units.bits(torch.tensor([math.log(2.0)], dtype=F64)), torch.ones(1, dtype=F64))


def test_bits_per_dim_by_hand():
    """88.04 nats over 784 binary pixels: 88.04 / (784 · 0.693147) = 88.04 / 543.427396 = 0.162009 bits a pixel.

    RealNVP's 3.49 bits/dim on CIFAR-10: 3.49 · 3072 · 0.693147 = 7431.4 nats of mass; with 256 levels, log 256 =
    5.545177, the density of pixels on [0, 1) is higher by 3072 · 5.545177 = 17034.8 nats: 9603.4 nats.
    """
    assert units.bits_per_dim(-88.04, 784) == pytest.approx(0.162009, abs=5e-7)
    assert units.log_p_of_bits(3.49, 3072) == pytest.approx(-7431.4, abs=0.05)
    assert units.log_p_of_bits(3.49, 3072, 256) == pytest.approx(9603.4, abs=0.05)
    assert units.bits_per_dim(units.log_p_of_bits(3.49, 3072, 256), 3072, 256) == pytest.approx(
        3.49, abs=1e-12
    )
    assert units.log_mass(0.0, 2, 17) == pytest.approx(-2 * 2.833213344056216)  # log 17


def test_perplexity_by_hand():
    """1.52 nats a character is exp 1.52 = 4.572225; three tokens with p = ½, ¼, ⅛: (64)^{1/3} = 4."""
    assert units.perplexity(-1.52) == pytest.approx(4.572225, abs=5e-7)
    assert units.perplexity(-math.log(64), 3) == pytest.approx(4.0, abs=1e-12)
    tokens = torch.tensor([1.0, 2.0])
    assert torch.allclose(
        units.perplexity(torch.tensor([-1.0, -1.0]), tokens), torch.tensor([math.e, math.e**0.5])
    )


def test_perplexity_of_log_prob():
    """log p = −4 and −8 nats over 4 tokens: exp(6/4) = 4.481689; se of the mean √(8/2) = 2, times 4.481689 / 4."""
    found = LogProb(
        torch.tensor([-4.0, -8.0]), Kind.LOWER_BOUND, torch.tensor([0.3, 0.4]), dims=4
    ).perplexity()
    assert found.value == pytest.approx(4.481689, abs=5e-7) and found.unit == "perplexity"
    assert found.stderr == pytest.approx(2 * 4.481689 / 4, abs=1e-6)
    assert found.monte_carlo == pytest.approx(0.25 * 4.481689 / 4, abs=1e-6)  # √(0.09 + 0.16) / 2
    assert found.kind is Kind.UPPER_BOUND and found.n == 2
    assert str(LogProb(torch.tensor([-1.0, -1.0]), Kind.EXACT).perplexity(1)).endswith(
        "perplexity (exact, n=2)"
    )
    with pytest.raises(ArgumentError):
        LogProb(torch.zeros(1), Kind.EXACT).perplexity()
    with pytest.raises(ArgumentError):
        LogProb(torch.zeros(1), Kind.EXACT, dims=3).perplexity(0)
    with pytest.raises(KindError):
        LogProb(torch.zeros(1), Kind.UNNORMALISED, dims=3).perplexity()


def test_a_density_flat_within_bins_has_exactly_the_mass():
    """p(y) = L · P(⌊L y⌋): log p(y) − log L is log P(k) at every y, and the bound is tight."""
    mass = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64)
    y = Dequantise(4)(torch.arange(4, dtype=F64))
    log_p = torch.log(4 * mass)[(4 * y).long()]
    torch.testing.assert_close(units.log_mass(log_p, 1, 4), mass.log(), rtol=0, atol=1e-14)
    entropy = -(mass * mass.log2()).sum()
    assert float((mass * units.bits_per_dim(log_p, 1, 4)).sum()) == pytest.approx(float(entropy), abs=1e-14)


def test_the_mean_density_of_a_bin_is_its_mass():
    """p(y) = 6 y (1 − y), L = 5: P(k) = [3y² − 2y³] over the bin; E_u p / L by Gauss–Legendre is exact for a cubic.

    P(0) = 3/25 − 2/125 = 0.104; Jensen: E_u log p − log L = −2.5345 against log 0.104 = −2.2634.
    """
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(40)
    u, w = torch.as_tensor((nodes + 1) / 2), torch.as_tensor(weights / 2)
    k = torch.arange(5, dtype=F64)
    p = lambda y: 6 * y * (1 - y)  # noqa: E731
    y = (k[:, None] + u) / 5
    mass = (w * p(y)).sum(1) / 5
    edge = torch.arange(6, dtype=F64) / 5
    exact = (3 * edge**2 - 2 * edge**3).diff()
    torch.testing.assert_close(mass, exact, rtol=0, atol=1e-14)
    assert float(mass[0]) == pytest.approx(0.104, abs=1e-14)
    bound = (w * units.log_mass(p(y).log(), 1, 5)).sum(1)
    assert bool((bound <= exact.log()).all())
    # over the first bin E log 6 + E log y + E log(1 − y) = 1.791759 + (log ⅕ − 1) + 5 (−0.8 log 0.8 − 0.2), less log 5;
    # 40 nodes leave 4e-4 at the singularity of log y
    assert float(bound[0]) == pytest.approx(1.791759 - 2.609438 - 0.107426 - 1.609438, abs=1e-3)


def test_logit_correction_is_the_formula_of_the_maf_paper():
    """Papamakarios et al. 2017, eq. 26: bits = −log p(z)/(D log 2) − log₂(1 − 2α) + 8 + mean(log₂ σ + log₂(1 − σ))."""
    alpha, d = 0.05, 6
    y, log_p_z = torch.rand(4, d, dtype=F64), torch.randn(4, dtype=F64)
    z = torch.logit(alpha + (1 - 2 * alpha) * y)
    sigma = torch.sigmoid(z)
    paper = (
        -log_p_z / (d * math.log(2))
        - math.log2(1 - 2 * alpha)
        + 8
        + (sigma.log2() + (1 - sigma).log2()).mean(1)
    )
    ours = units.bits_per_dim(log_p_z + units.logit_correction(y, alpha), d, 256)
    torch.testing.assert_close(ours, paper, rtol=0, atol=1e-12)


@pytest.mark.parametrize("margin", [0.0, 1e-6, 0.05])
def test_logit_correction_is_the_jacobian(margin):
    y = torch.rand(5, dtype=F64) * 0.98 + 0.01
    f = lambda v: torch.logit(margin + (1 - 2 * margin) * v)  # noqa: E731
    _, brute = torch.linalg.slogdet(torch.autograd.functional.jacobian(f, y))
    assert float(units.logit_correction(y, margin)) == pytest.approx(float(brute), abs=1e-10)
    # at y = ½: dz/dy = (1 − 2α) / ¼, so log 4 + log(1 − 2α) a dimension
    half = units.logit_correction(torch.full((2,), 0.5, dtype=F64), margin)
    assert float(half) == pytest.approx(2 * (math.log(4) + math.log(1 - 2 * margin)), abs=1e-12)


def test_standardise_correction_is_the_jacobian():
    """s = (2, ½, 4): −log 2 + log 2 − log 4 = −1.386294."""
    scale = torch.tensor([2.0, 0.5, 4.0], dtype=F64)
    assert float(units.standardise_correction(scale)) == pytest.approx(-1.386294, abs=5e-7)
    y = torch.randn(3, dtype=F64)
    own = torch.distributions.Normal(torch.ones(3, dtype=F64), scale).log_prob(y).sum()
    standard = torch.distributions.Normal(0.0, 1.0).log_prob((y - 1) / scale).sum()
    assert float(own) == pytest.approx(float(standard + units.standardise_correction(scale)), abs=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: units.check_dims(None),
        lambda: units.check_dims(0),
        lambda: units.check_dims(3, 0),
        lambda: units.standardise_correction(torch.tensor([1.0, 0.0])),
        lambda: units.logit_correction(torch.tensor([0.5, 1.0])),
        lambda: units.logit_correction(torch.tensor([0.5]), 0.5),
        lambda: units.logit_correction(torch.tensor([-0.5]), 0.05),
    ],
)
def test_refusals(call):
    with pytest.raises(ArgumentError):
        call()
