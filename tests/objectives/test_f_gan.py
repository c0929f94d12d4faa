"""f-GAN bounds approach the closed forms of N(0, 1) and N(1, 1) from below, and the program descends them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.nn.critic import Critic
from unigen.nn.f_divergence import FDivergence
from unigen.nn.f_divergences import (
    JensenShannon,
    KullbackLeibler,
    PearsonChi2,
    ReverseKL,
    SquaredHellinger,
    TotalVariation,
)
from unigen.objectives.f_gan import FGAN

ROWS, FRESH = 20_000, 200_000
AFFINE = [(KullbackLeibler(), 0.5), (ReverseKL(), 0.5), (JensenShannon(), 2 * 0.111421)]
AFFINE.append((SquaredHellinger(), 2 - 2 * math.exp(-1 / 8)))


class Powers(nn.Module):
    """A polynomial of x without a network's kinks."""

    def __init__(self, degree: int) -> None:
        super().__init__()
        self.degree, self.line = degree, nn.Linear(degree, 1)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the value, shape (N, 1)."""
        return self.line(torch.cat([x**k for k in range(1, self.degree + 1)], 1))


def trained(d: FDivergence, degree: int, mean: float = 1.0) -> tuple[Critic, float, float]:
    """A critic of N(0, 1) against N(mean, 1); its bound on fresh draws, and the standard error of that."""
    game, critic = FGAN(d), Critic(1, net=Powers(degree)).double().read_as(FGAN(d).reading)
    x, y = torch.randn(ROWS, 1).double(), mean + torch.randn(ROWS, 1).double()
    optimizer = torch.optim.LBFGS(critic.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = game.critic(critic(x), critic(y))
        loss.backward()
        return loss

    optimizer.step(closure)
    x, y = torch.randn(FRESH, 1).double(), mean + torch.randn(FRESH, 1).double()
    with torch.no_grad():
        real, fake = d.activation(critic(x)), d.composed(critic(y))
    error = math.sqrt(float(real.var() + fake.var()) / FRESH)
    return critic, float(critic.divergence(x, y)), error


@pytest.mark.parametrize(("d", "exact"), AFFINE, ids=lambda part: type(part).__name__)
def test_an_affine_critic_reaches_the_divergence_and_becomes_the_log_ratio(
    d: FDivergence, exact: float
) -> None:
    critic, bound, error = trained(d, 1)
    slack = 5e-3  # what 2 parameters fitted on 20,000 rows lose, at most, and by how much fresh draws see it
    assert exact - slack - 5 * error < bound < exact + 5 * error
    x = torch.linspace(-2.0, 3.0, 11).double().unsqueeze(1)
    assert float((critic.log_ratio(x) - (0.5 - x.squeeze(1))).abs().max()) < 0.15
    if isinstance(d, JensenShannon):
        x, y = torch.randn(FRESH, 1).double(), 1 + torch.randn(FRESH, 1).double()
        assert abs(float(critic.jensen_shannon(x, y)) - 0.111421) < 2e-3 + 5 * error


@pytest.mark.parametrize("degree", [1, 2])
def test_a_polynomial_critic_gets_that_many_terms_of_the_chi_squared_divergence(degree: int) -> None:
    """p/q − 1 = Σ_k (−1)^k He_k(x − 1)/k!, so that a polynomial of degree n earns Σ_{k ≤ n} 1/k! of e − 1."""
    exact = sum(1 / math.factorial(k) for k in range(1, degree + 1))
    _, bound, error = trained(PearsonChi2(), degree)
    assert exact - 0.03 - 5 * error < bound < exact + 5 * error


def test_a_steep_affine_critic_comes_near_the_total_variation() -> None:
    exact = math.erf(0.5 / math.sqrt(2))
    critic, bound, error = trained(TotalVariation(), 1)
    assert exact - 0.02 - 5 * error < bound < exact + 5 * error
    with pytest.raises(UnsupportedQueryError, match="total variation"):
        critic.log_ratio(torch.randn(3, 1).double())


DESCENT = [
    (KullbackLeibler(), 1.0),
    (ReverseKL(), 1.0),
    (PearsonChi2(), 2 * math.e),
    (SquaredHellinger(), 0.5 * math.exp(-1 / 8)),
]


@pytest.mark.parametrize(("d", "slope"), DESCENT, ids=lambda part: type(part).__name__)
def test_the_zero_sum_game_descends_the_divergence(d: FDivergence, slope: float) -> None:
    """d/dm D(N(0, 1) ‖ N(m, 1)) at m = 1, through draws y = m + ε and the best critic for m = 1."""
    eps = torch.linspace(-11.0, 11.0, 1001, dtype=torch.float64)
    w = torch.exp(-eps.square() / 2) / math.sqrt(2 * math.pi) * (eps[1] - eps[0])
    m = torch.ones((), dtype=torch.float64, requires_grad=True)
    v = d.optimum(0.5 - (m + eps))
    count = eps.shape[0]
    game = FGAN(d, saturating=True)
    (gradient,) = torch.autograd.grad(sum(w[i] * game.generator(v[i : i + 1]) for i in range(count)), m)
    assert float(gradient) == pytest.approx(slope, rel=1e-6)


def test_what_is_no_divergence_is_refused() -> None:
    wrong: Any = "kl"
    with pytest.raises(ArgumentError, match="f-divergence"):
        FGAN(wrong)
    with pytest.raises(ArgumentError, match="r1"):
        FGAN(r1=-1.0)
