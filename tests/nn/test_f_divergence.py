"""The bound of a critic on finite sets, where expectations are sums: below the divergence, and tight at its optimum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
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

F64 = torch.float64
P, Q = torch.tensor([5, 1, 3, 1]), torch.tensor([2, 4, 3, 1])  # tenths: p and q of four points
ROWS = [torch.repeat_interleave(torch.arange(4), counts) for counts in (P, Q)]
RATIO = P.to(F64) / Q


class Neyman(FDivergence):
    """Σ (p − q)²/p: φ(u) = (1 − u)²/u, φ*(t) = 2 − 2 √(1 − t); one of a user's own, T = 1 − exp(−v)."""

    label = "Neyman χ²"

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def phi(self, u: Tensor) -> Tensor:
        return (1 - u).square() / u

    def activation(self, v: Tensor) -> Tensor:
        return 1 - (-v).exp()

    def conjugate(self, t: Tensor) -> Tensor:
        return 2 - 2 * (1 - t).sqrt()

    def composed(self, v: Tensor) -> Tensor:
        return 2 - 2 * (-v / 2).exp()

    def optimum(self, log_ratio: Tensor) -> Tensor:
        return 2 * log_ratio  # φ'(u) = 1 − 1/u²

    def log_ratio(self, v: Tensor) -> Tensor:
        return v / 2


ALL = [
    KullbackLeibler(), ReverseKL(), PearsonChi2(), SquaredHellinger(), JensenShannon(), LeCam(), Neyman(),
]  # fmt: skip


@pytest.mark.parametrize("d", ALL, ids=repr)
def test_the_best_critic_earns_the_divergence_itself(d: FDivergence) -> None:
    """Ten rows of data and ten draws in the very shares of p and q: the means are expectations."""
    exact = float((Q * d.phi(RATIO)).sum()) / 10
    v = d.optimum(RATIO.log())
    found = d.bound(v[ROWS[0]], v[ROWS[1]])
    assert found.shape == () and float(found) == pytest.approx(exact, abs=1e-10) and exact > 0.1


@pytest.mark.parametrize("d", ALL, ids=repr)
def test_no_other_critic_earns_more(d: FDivergence) -> None:
    best = d.optimum(RATIO.log())
    top = d.bound(best[ROWS[0]], best[ROWS[1]])
    for _ in range(50):
        v = best + 0.3 * torch.randn(4, dtype=F64)
        assert d.bound(v[ROWS[0]], v[ROWS[1]]) < top + 1e-12


@pytest.mark.parametrize("d", ALL, ids=repr)
def test_the_gradient_vanishes_at_the_best_critic(d: FDivergence) -> None:
    v = d.optimum(RATIO.log()).requires_grad_(True)
    (slope,) = torch.autograd.grad(d.bound(v[ROWS[0]], v[ROWS[1]]), v)
    assert float(slope.abs().max()) < 1e-12
    torch.testing.assert_close(d.log_ratio(v.detach()), RATIO.log())


def test_numbers_of_rows_may_differ() -> None:
    real, fake = torch.randn(7, dtype=F64), torch.randn(3, dtype=F64)
    d = KullbackLeibler()
    assert float(d.bound(real, fake)) == pytest.approx(float(real.mean() - (fake - 1).exp().mean()))


def test_options_are_shown_and_most_give_the_ratio() -> None:
    assert repr(KullbackLeibler()) == "KullbackLeibler()" and repr(Neyman(2.0)) == "Neyman(weight=2.0)"
    assert Neyman.gives_ratio and not TotalVariation().gives_ratio


def test_a_divergence_says_all_of_itself() -> None:
    class Half(FDivergence):
        def phi(self, u: Tensor) -> Tensor:
            return u

    make: Any = Half
    with pytest.raises(TypeError, match="activation"):
        make()
