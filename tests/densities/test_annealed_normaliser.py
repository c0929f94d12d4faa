"""Annealing up and down on a path that needs no program, and its weights taken apart."""

from __future__ import annotations

import math

import torch

from unigen.densities.annealed_normaliser import anneal_down, anneal_up, effective_chains, log_mean


class Gaussians:
    """N(0, 1) at β = 0 and exp(−½ k x²), unnormalised, at β = 1; a transition is an exact draw, or none at all."""

    log_z_base = 0.5 * math.log(2 * math.pi)

    def __init__(self, k: float = 4.0, moves: bool = True) -> None:
        self.k, self.moves = k, moves

    def precision(self, beta: float) -> float:
        return 1 + beta * (self.k - 1)

    def start(self, n: int) -> torch.Tensor:
        return torch.randn(n, dtype=torch.float64)

    def state(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def log_density(self, state: torch.Tensor, beta: float) -> torch.Tensor:
        return -0.5 * self.precision(beta) * state.square()

    def transition(self, state: torch.Tensor, beta: float) -> torch.Tensor:
        return torch.randn_like(state) / self.precision(beta) ** 0.5 if self.moves else state


TRUTH = -0.5 * math.log(4.0)  # log Z − log Z_0: the worked example ½x² → 2x²
BETAS = [0.0, 0.2, 0.5, 1.0]


def test_weights_average_to_the_ratio_of_normalisers_from_both_ends():
    up, ends = anneal_up(Gaussians(), BETAS, 20_000)
    value, stderr = log_mean(up)
    assert abs(float(value) - TRUTH) < 5 * float(stderr)
    assert abs(float(ends.var()) - 0.25) < 5 * 0.25 * (2 / 20_000) ** 0.5
    down = anneal_down(Gaussians(), BETAS, torch.randn(20_000, dtype=torch.float64) / 2)
    value, stderr = log_mean(down)
    assert abs(float(value) + TRUTH) < 5 * float(stderr)
    assert up.dtype is down.dtype is torch.float64
    assert float(up.mean()) < TRUTH < -float(down.mean())  # by Jensen, 20,000 chains make it sure


def test_without_moves_the_weight_is_that_of_importance_sampling():
    path = Gaussians(moves=False)
    up, x = anneal_up(path, BETAS, 7)
    torch.testing.assert_close(up, path.log_density(x, 1.0) - path.log_density(x, 0.0))
    torch.testing.assert_close(anneal_down(path, BETAS, x), -up)


def test_the_error_of_the_mean_is_that_of_many_repetitions():
    values, errors = [], []
    for _ in range(300):
        value, stderr = log_mean(anneal_up(Gaussians(), BETAS, 100)[0])
        values.append(float(value))
        errors.append(float(stderr))
    spread = torch.tensor(values).std().item()
    assert abs(spread / (sum(errors) / 300) - 1) < 0.25  # 5 / √(2 · 300), and the skew of the weights
    assert log_mean(torch.zeros(1))[1] is None


def test_effective_chains():
    assert abs(effective_chains(torch.zeros(9)) - 9) < 1e-4
    assert abs(effective_chains(torch.tensor([0.0, -100.0])) - 1) < 1e-4
