from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from unigen.nn.f_divergence import FDivergence
from unigen.nn.f_divergences import (
    JensenShannon,
    KullbackLeibler,
    LeCam,
    PearsonChi2,
    ReverseKL,
    SquaredHellinger,
    TotalVariation,
)

# D_φ(N(0, 1) ‖ N(1, 1)) in closed form where there is one; 2 JSD is twice the number of theorem 20
EXACT = {
    "KullbackLeibler": 0.5,
    "ReverseKL": 0.5,
    "PearsonChi2": math.e - 1,
    "SquaredHellinger": 2 - 2 * math.exp(-1 / 8),
    "JensenShannon": 2 * 0.111421,
    "TotalVariation": 2 * stats.norm.cdf(0.5) - 1,
}
SMOOTH = [KullbackLeibler(), ReverseKL(), PearsonChi2(), SquaredHellinger(), JensenShannon(), LeCam()]
ALL = [*SMOOTH, TotalVariation(), TotalVariation(hard=True)]


def quadrature() -> tuple[Tensor, Tensor, Tensor]:
    """Weights of p = N(0, 1) and q = N(1, 1) on a grid, and log p/q there."""
    x = torch.linspace(-12.0, 13.0, 20_001, dtype=torch.float64)
    ratio = 0.5 - x
    p = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi) * (x[1] - x[0])
    return p, p * torch.exp(-ratio), ratio


def bound(d: FDivergence, v: Tensor, p: Tensor, q: Tensor) -> float:
    return float((p * d.activation(v)).sum() - (q * d.composed(v)).sum())


@pytest.mark.parametrize("d", ALL, ids=repr)
def test_the_divergence_of_two_gaussians_is_its_closed_form(d: FDivergence) -> None:
    p, q = stats.norm(0, 1).pdf, stats.norm(1, 1).pdf

    def integrand(x: float) -> float:
        return q(x) * float(d.phi(torch.tensor(p(x) / q(x), dtype=torch.float64)))

    value = integrate.quad(integrand, -11, 0.5, epsabs=1e-12)[0] + integrate.quad(integrand, 0.5, 12)[0]
    known = EXACT.get(type(d).__name__)
    if known is None:  # Le Cam: ∫ (p − q)² / (p + q) itself
        known = integrate.quad(lambda x: (p(x) - q(x)) ** 2 / (p(x) + q(x)), -11, 12)[0]
    assert value == pytest.approx(known, abs=2e-6)
    pw, qw, ratio = quadrature()
    assert bound(d, d.optimum(ratio), pw, qw) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("d", ALL, ids=repr)
def test_any_other_critic_gives_a_lower_bound(d: FDivergence) -> None:
    p, q, ratio = quadrature()
    best = d.optimum(ratio)
    if not d.gives_ratio:
        best = (3 * ratio).clamp(-1, 1)
    top = bound(d, d.optimum(ratio), p, q)
    for other in (0.8 * best, best + 0.1, best + 0.1 * ratio.sin(), 1.2 * best):
        assert bound(d, other, p, q) < top


@pytest.mark.parametrize("d", SMOOTH, ids=repr)
def test_the_conjugate_is_the_supremum_and_the_optimum_its_slope(d: FDivergence) -> None:
    log_ratio = torch.linspace(-2.0, 2.0, 41, dtype=torch.float64)
    u = torch.linspace(-6.0, 6.0, 400_001, dtype=torch.float64).exp()
    r = log_ratio.exp().requires_grad_(True)
    (slope,) = torch.autograd.grad(d.phi(r).sum(), r)
    t = d.activation(d.optimum(log_ratio))
    torch.testing.assert_close(t, slope, atol=1e-10, rtol=1e-10)
    supremum = torch.stack([(u * each - d.phi(u)).max() for each in t])
    torch.testing.assert_close(d.conjugate(t), supremum, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("d", ALL, ids=repr)
def test_the_composed_conjugate_is_the_conjugate_of_the_activation(d: FDivergence) -> None:
    v = torch.linspace(-3.0, 0.99, 50, dtype=torch.float64)
    torch.testing.assert_close(d.composed(v), d.conjugate(d.activation(v)), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("d", ALL, ids=repr)
def test_the_ratio_is_read_back_from_the_optimum(d: FDivergence) -> None:
    log_ratio = torch.linspace(-3.0, 3.0, 61, dtype=torch.float64)
    read = d.log_ratio(d.optimum(log_ratio))
    torch.testing.assert_close(read, log_ratio if d.gives_ratio else log_ratio.sign(), atol=1e-9, rtol=0)


def test_no_reading_is_infinite_or_not_a_number() -> None:
    v = torch.tensor([-50.0, -2.0, 0.0, 1.0, 50.0])
    for d in ALL:
        assert bool(d.log_ratio(v).isfinite().all())
    for d in (JensenShannon(), TotalVariation(), LeCam(), PearsonChi2()):
        assert bool(d.activation(10 * v).isfinite().all() and d.composed(10 * v).isfinite().all())
