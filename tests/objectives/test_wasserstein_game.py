"""The Wasserstein game against exact optimal transport (POT) on the same samples."""

from __future__ import annotations

from typing import Any

import ot
import pytest
import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.models.gan import GAN
from unigen.nn.critic import Critic
from unigen.nn.lipschitz import SpectralNorm, WeightClipping
from unigen.objectives.adversarial import Adversarial
from unigen.objectives.wasserstein_game import Wasserstein

ROWS = 500


def dual(x: Tensor, y: Tensor, hidden: tuple[int, ...], penalty: float, steps: int) -> float:
    """Train a critic on two samples and return what it says about their distance."""
    game, critic = Wasserstein(penalty), Critic(x.shape[1], hidden=hidden).double().read_as("potential")
    optimizer = torch.optim.Adam(critic.parameters(), lr=5e-3, betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        i, j = torch.randint(ROWS, (2, 256))
        optimizer.zero_grad()
        value = game.critic(critic(x[i]), critic(y[j])) + game.regulariser(critic, x[i], y[j], None)
        value.backward()
        optimizer.step()
        schedule.step()
    return float(critic.wasserstein(x, y))


def exact(x: Tensor, y: Tensor) -> float:
    return float(ot.emd2([], [], ot.dist(x.numpy(), y.numpy(), metric="euclidean")))


def test_the_dual_in_one_dimension_is_within_two_per_cent() -> None:
    x, y = torch.randn(ROWS, 1).double(), 2 * torch.randn(ROWS, 1).double()  # .797885 in the population
    w = exact(x, y)
    assert 0.98 * w < dual(x, y, (32,), 20.0, 400) < 1.001 * w


def test_the_dual_in_two_dimensions_is_within_two_per_cent() -> None:
    x = torch.randn(ROWS, 2).double()
    y = torch.randn(ROWS, 2).double() * torch.tensor([1.0, 0.5]).double() + torch.tensor([4.0, 2.0]).double()
    w = exact(x, y)
    assert 0.98 * w < dual(x, y, (64, 64), 100.0, 600) < 1.001 * w


@pytest.mark.parametrize("constraint", [WeightClipping(0.3), SpectralNorm()], ids=repr)
def test_a_critic_of_constrained_weights_is_made_and_reads_a_lower_bound(
    constraint: WeightClipping | SpectralNorm,
) -> None:
    game = Wasserstein(constraint=constraint)
    gan = GAN(1, 1, hidden=(4,))
    critic = Adversarial(game).players(gan)[0].loss.get_submodule("critic")
    assert isinstance(critic, Critic) and critic.constraint is constraint and critic.reading == "potential"
    x, y = torch.randn(ROWS, 1), 2 + torch.randn(ROWS, 1)
    mine = Critic(1, hidden=(16,), constraint=constraint)
    player = Adversarial(game, critic=mine).players(gan)[0]
    optimizer = torch.optim.Adam(mine.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        (game.critic(mine(x), mine(y)) + game.regulariser(mine, x, y, None)).backward()
        optimizer.step()
    assert player.loss.get_submodule("critic") is mine
    w = exact(x.double(), y.double())
    assert 0.7 * w < float(mine.wasserstein(x, y)) < 1.01 * w


def test_options_that_exclude_one_another_are_refused() -> None:
    wrong: Any = "clip"
    for make in (
        lambda: Wasserstein(0.0),
        lambda: Wasserstein(-1.0),
        lambda: Wasserstein(10.0, constraint=SpectralNorm()),
        lambda: Wasserstein(two_sided=True, constraint=WeightClipping()),
        lambda: Wasserstein(constraint=wrong),
        lambda: Wasserstein(r1=-0.1),
    ):
        with pytest.raises(ArgumentError, match="expected"):
            make()
    assert (Wasserstein().penalty, Wasserstein(constraint=SpectralNorm()).penalty) == (10.0, None)


def test_a_critic_without_the_constraint_of_the_game_is_refused() -> None:
    gan = GAN(2, 2, hidden=(4,))
    game = Wasserstein(constraint=WeightClipping(0.01))
    for critic in (
        Critic(2),
        Critic(2, constraint=WeightClipping(0.1)),
        Critic(2, constraint=SpectralNorm()),
    ):
        with pytest.raises(ArgumentError, match=r"Critic\(…, constraint=WeightClipping\(c=0.01\)\)"):
            Adversarial(game, critic=critic).players(gan)
