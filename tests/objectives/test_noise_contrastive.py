"""Noise-contrastive estimation against closed forms: the optimum of a Gaussian, and its log Z."""

from __future__ import annotations

import math

import pytest
import torch

import unigen as ug
from tests.compiled_family import compiled_equals_eager
from tests.energies import Scaled, gaussian
from unigen.densities.learned_normaliser import LearnedNormaliser
from unigen.densities.normaliser import Normalised
from unigen.errors import ArgumentError, NoDensityError, ShapeError
from unigen.models.energy import EnergyModel
from unigen.models.potential import Potential
from unigen.nn.tilt import Tilt
from unigen.objectives.noise_contrastive import NoiseContrastive


def noise() -> ug.Program:
    """N(0, 4 I) in two dimensions."""
    base = ug.FactorAnalysis(2, 1).double()
    ug.fit(base, 2.0 * torch.randn(500, 2, dtype=torch.float64), progress=False)
    return base


@pytest.mark.parametrize("ratio", [1, 3])
def test_the_gradient_vanishes_at_the_truth_and_its_log_z_alone(ratio):
    batches, n = 60, 1000
    program = Potential(Scaled(torch.eye(2, dtype=torch.float64), torch.zeros(2).double()), 2)
    log_z, base, z = math.log(2 * math.pi), noise(), {}
    for shift in (0.0, 0.3):
        constant = LearnedNormaliser(log_z + shift)
        (player,) = NoiseContrastive(base, ratio=ratio, log_z=constant).players(program)
        parameters = list(player.parameters.values())
        assert len(parameters) == 3  # precision, location and the constant: the noise is left alone
        found = []
        for _ in range(batches):
            loss = player.loss(torch.randn(n, 2, dtype=torch.float64))
            found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
        stacked = torch.stack(found)
        z[shift] = stacked.mean(0) / (stacked.std(0) / batches**0.5)
    assert z[0.0].abs().max() < 5 and z[0.3].abs().max() > 20


def test_log_z_is_learned_and_makes_log_prob_an_estimate():
    program, truth = gaussian(2)
    for p in program.parameters():
        p.requires_grad_(False)
    x = torch.linalg.cholesky(torch.linalg.inv(program.f.precision)) @ torch.randn(
        2, 4000, dtype=torch.float64
    )
    constant = LearnedNormaliser()
    objective = NoiseContrastive(noise(), ratio=2, log_z=constant)
    ug.fit(
        program,
        x.mT + 0.5,
        objective=objective,
        steps=150,
        batch_size=2000,
        lr=0.05,
        progress=False,
        compile=False,
    )
    assert abs(constant.constant.item() - truth) < 0.15
    found = program.log_prob(x.mT[:5] + 0.5, density=Normalised(constant))
    assert found.kind is ug.Kind.ESTIMATE


def test_a_normalised_program_has_no_constant():
    program = ug.FactorAnalysis(2, 1)
    (player,) = NoiseContrastive(noise()).players(program)
    assert set(player.parameters) == {f"program.{name}" for name, _ in program.named_parameters()}
    assert player.loss(torch.randn(4, 2)).dim() == 0


@pytest.mark.usefixtures("interpreted_steps")
def test_compiled_steps_equal_eager_ones():
    base = ug.FactorAnalysis(2, 1)

    def build():
        torch.manual_seed(3)
        return EnergyModel(2, energy=Tilt(2, hidden=(8,)), objective=NoiseContrastive(base, ratio=2))

    compiled_equals_eager(build)


def test_bad_input_is_refused():
    base = ug.FactorAnalysis(2, 1)
    with pytest.raises(ArgumentError, match="exact density"):
        NoiseContrastive(EnergyModel(2))
    with pytest.raises(ArgumentError, match="ratio"):
        NoiseContrastive(base, ratio=0)
    with pytest.raises(ArgumentError, match="log_z"):
        NoiseContrastive(base, log_z=torch.nn.Linear(1, 1))
    with pytest.raises(ShapeError, match="base"):
        NoiseContrastive(base).players(EnergyModel(3))
    with pytest.raises(NoDensityError, match="lower bound"):
        NoiseContrastive(base).players(ug.VAE(2, 1))
