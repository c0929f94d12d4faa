"""Relation 31: the ascent to the closed form, steps that are no EM steps, and the families that have one."""

from __future__ import annotations

import pytest
import torch

from unigen.errors import UnsupportedQueryError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.objectives.elbo import elbo
from unigen.relations.em_vi import EMasVI, free_energy

RELATION = EMasVI()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["last"] == pytest.approx(-7.526216, abs=1e-6)
    assert evidence.details["first"] < -7.6


@pytest.mark.parametrize("seed", [1, 2])
def test_other_parameters(seed):
    assert RELATION.check(eigenvalues=(6.0, 2.0, 0.5, 0.3), latents=2, seed=seed).holds


def test_free_energy_is_the_elbo():
    ppca, x = PPCA(4, 2).double(), torch.randn(6, 4).double()
    q = ppca.posterior(x)
    value = free_energy(ppca, x, q.mean, q.covariance_matrix[0])
    torch.testing.assert_close(value, elbo(ppca, x).mean())  # tight: one draw says it


class HardStep(EMasVI):
    """Regresses on the posterior means alone, as if the codes were known."""

    def step(self, ppca, x):
        mean = ppca.posterior(x).mean.detach()
        weight = torch.linalg.lstsq(mean, x).solution.mT
        residual = (x - mean @ weight.mT).square().mean()
        ppca.write(weight, x.mean(0), residual.clamp_min(1e-6))


class WrongPosterior(EMasVI):
    """Uses a q that is too wide, so that no E-step closes the gap."""

    def code(self, mean, covariance):
        return mean, 1.3 * covariance


@pytest.mark.parametrize("broken", [HardStep, WrongPosterior])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check(steps=20).holds


@pytest.mark.parametrize(
    "program",
    [PPCA(4, 2), FactorAnalysis(4, 2), GaussianMixture(4, 3, shrinkage=0.0, floor=1e-9)],
    ids=lambda p: p.name,
)
def test_programs(program):
    x = torch.randn(300, 4) @ torch.randn(4, 4)
    evidence = RELATION.check_programs(program, program, x)
    assert evidence.holds, evidence
    assert len(evidence.claims) == 6


class Descending(PPCA):
    def em_step(self, x, weights=None, precision=None):
        super().em_step(x)
        with torch.no_grad():
            self.log_variance.add_(0.5)


def test_a_step_that_loses_likelihood_is_seen():
    program = Descending(4, 2)
    assert not RELATION.check_programs(program, program, torch.randn(300, 4) * torch.arange(1, 5)).holds


def test_refuses():
    for program in (VAE(3, 1), GaussianMixture(3, 2)):
        with pytest.raises(UnsupportedQueryError, match="an EM step, of the likelihood alone"):
            RELATION.check_programs(program, program, torch.zeros(4, 3))
