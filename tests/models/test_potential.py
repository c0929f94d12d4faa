"""A program from an energy alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import unigen as ug
from tests.energies import gaussian
from unigen.errors import ArgumentError, ShapeError
from unigen.logprob import Kind
from unigen.models.potential import Potential
from unigen.nn.tilt import Tilt


def test_energy_and_score_are_those_of_the_function():
    program, _ = gaussian(3)
    x = torch.randn(5, 3).double()
    apart, precision = x - program.f.loc.detach(), program.f.precision.detach()
    torch.testing.assert_close(program.energy(x), 0.5 * ((apart @ precision) * apart).sum(-1))
    torch.testing.assert_close(program.score(x), -apart @ precision)
    assert program.log_prob(x).kind is Kind.UNNORMALISED
    assert len(list(program.parameters())) == 2


def test_a_column_is_a_number_and_images_are_events():
    program = Potential(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), (2, 2))
    assert program.energy(torch.randn(3, 2, 2)).shape == (3,)
    assert program.sample(2, sampler=ug.Langevin(2)).shape == (2, 2, 2)


def test_laws_and_files(tmp_path):
    program = Potential(Tilt(2, hidden=(4,)), 2, sampler=ug.Langevin(steps=10, adjusted=True))
    ug.check_program(program, torch.randn(20, 2))
    again = ug.load(ug.save(program, tmp_path / "p.safetensors"))
    torch.testing.assert_close(again.energy(torch.ones(1, 2)), program.energy(torch.ones(1, 2)))


def test_bad_energies_are_refused():
    with pytest.raises(ArgumentError, match="function"):
        Potential(3.0, 2)
    with pytest.raises(ShapeError, match="one number an example"):
        Potential(lambda x: x, 2).energy(torch.zeros(3, 2))
