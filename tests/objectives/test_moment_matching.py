from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.fit import fit
from unigen.inference.persist import load, save
from unigen.inference.step import EagerStep
from unigen.models.gan import GAN
from unigen.models.vae import VAE
from unigen.nn.kernels import DistanceKernel, GaussianKernel
from unigen.nn.mlp import MLP
from unigen.objectives.moment_matching import EnergyDistance, MomentMatching
from unigen.objectives.objective import Objective


def line(slope: float, shift: float) -> GAN:
    """x = slope z + shift."""
    net = MLP(1, 1, hidden=())
    with torch.no_grad():
        net.layers[0].weight.fill_(slope)
        net.layers[0].bias.fill_(shift)
    return GAN(1, 1, generator=net)


@pytest.mark.parametrize(
    ("objective", "shift", "exact"),
    [
        (MomentMatching(GaussianKernel((1.0,), relative=False)), 1.0, 0.177268),
        (EnergyDistance(), 2.0, 1.944260),
    ],
    ids=repr,
)
def test_the_loss_is_the_closed_form_of_theorem_22(objective: Objective, shift: float, exact: float) -> None:
    loss = objective.players(line(1.0, shift).double())[0].loss
    with torch.no_grad():
        found = torch.stack([loss(torch.randn(100, 1).double()) for _ in range(200)])
    assert abs(float(found.mean()) - exact) < 5 * float(found.std()) / math.sqrt(200)


@pytest.mark.parametrize("objective", [MomentMatching(), EnergyDistance()], ids=repr)
def test_a_generator_without_a_critic_finds_the_data(objective: Objective) -> None:
    x, gan = 1.0 + 0.5 * torch.randn(1000, 1), line(1.0, 0.0)
    record = fit(gan, x, objective=objective, steps=200, lr=2e-2, ema=0.95, progress=False, seed=0)
    draws = gan.sample(20_000, seed=0)
    assert abs(float(draws.mean()) - 1.0) < 0.1 and abs(float(draws.std()) - 0.5) < 0.1
    assert len(record.history) == 1


def test_the_traced_step_equals_the_eager_one() -> None:
    for objective in (MomentMatching(), EnergyDistance()):
        results = []
        for traced in (False, True):
            torch.manual_seed(0)
            gan = GAN(2, 2, hidden=(6,)).double()
            (player,) = objective.players(gan)
            optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
            example = (torch.randn(6, 2).double(), None)
            if traced:
                step = CompiledStep(
                    player.loss, player.parameters, optimizer, example=example, compiler=interpreted
                )
                assert step.traces == 1
            else:
                step = EagerStep(player.loss, player.parameters, optimizer)
            torch.manual_seed(1)
            for n in (6, 9):
                step(torch.randn(n, 2).double(), None)
            results.append([p.detach().clone() for p in gan.parameters()])
        for eager, compiled in zip(*results, strict=True):
            torch.testing.assert_close(compiled, eager, atol=1e-9, rtol=0)


def test_a_program_that_carries_the_objective_is_saved_and_loaded(tmp_path: Path) -> None:
    kernel = GaussianKernel((0.5, 2.0), relative=False)
    for objective in (MomentMatching(kernel), EnergyDistance(1.5), MomentMatching(DistanceKernel(0.5))):
        gan = GAN(2, 2, hidden=(4,), objective=objective)
        again = load(save(gan, tmp_path / "gan.safetensors"))
        assert repr(again.objective) == repr(objective)
        torch.testing.assert_close(again.sample(3, seed=0), gan.sample(3, seed=0))


def test_what_cannot_be_matched_is_refused() -> None:
    with pytest.raises(ArgumentError, match="differentiable"):
        EnergyDistance().players(VAE(3, 2, likelihood=Bernoulli()))
    with pytest.raises(UnsupportedQueryError, match="context"):
        MomentMatching().players(GAN(2, 2, context=1))
    wrong: Any = "rbf"
    with pytest.raises(ArgumentError, match="GaussianKernel"):
        MomentMatching(wrong)
    with pytest.raises(ArgumentError, match=r"\(0, 2\)"):
        EnergyDistance(2.0)
