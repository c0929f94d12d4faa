"""Relation 10: the worked example, other parameters, programs, and the identity broken on purpose."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import LogLinearSNR
from unigen.errors import UnsupportedQueryError
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.relations.denoising_tweedie import DenoisingTweedie
from unigen.relations.noisy_mixture import NoisyMixture

RELATION = DenoisingTweedie()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["floor_a_dimension"] == pytest.approx(0.523113, abs=2e-6)


def test_other_parameters():
    assert RELATION.check(spacing=2.0, std=0.5, schedule=LogLinearSNR(), start=0.0, batches=10).holds


class NoVariance(DenoisingTweedie):
    """Adds the score without its factor sigma²."""

    def tweedie(self, z, score, alpha, sigma):
        return (z + score) / alpha


class NoFloor(DenoisingTweedie):
    """Takes the least loss for that of a single Gaussian of the grid's variance."""

    def floor(self, line, start, points=1000):
        t = torch.linspace(start, 1.0, points, dtype=torch.float64)
        alpha, sigma, _ = line.levels(t)
        total = alpha**2 * (line.std**2 + float(line.centres.square().mean())) + sigma**2
        return float((1 - sigma**2 / total).mean())


@pytest.mark.parametrize("broken", [NoVariance(), NoFloor()])
def test_a_broken_identity_fails(broken):
    assert not broken.check(batches=5).holds


def test_on_a_program():
    program = Diffusion(2, hidden=16, blocks=1)
    x = torch.randn(60, 2)
    ug.fit(program, x, steps=20, progress=False, compile=False)
    evidence = RELATION.check_programs(program, program, x)
    assert evidence.holds, evidence


def test_what_remembers_its_data_reaches_their_floor_and_leaks_below_that_of_others():
    x = torch.randn(40, 2, dtype=torch.float64)
    schedule = LogLinearSNR(1e3, 1e-3)
    program = Diffusion(
        2, network=NoisyMixture(schedule, x, 0.0), schedule=schedule, prediction=Eps()
    ).double()
    evidence = RELATION.check_programs(program, program, x)
    assert evidence.holds
    assert evidence.claims[0].left == pytest.approx(0.0, abs=1e-12)


def test_other_programs_are_refused():
    ppca = PPCA(3, 1)
    with pytest.raises(UnsupportedQueryError, match="unconditional Diffusion"):
        RELATION.check_programs(ppca, ppca, torch.randn(4, 3))
