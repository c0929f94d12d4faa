"""Relation 7: closed form, quadrature, programs with an exact and with an approximate guide, and the wrong average."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import distributions as dist

from tests.programs import SharedMean
from unigen.errors import UnsupportedQueryError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.flow import NSF
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.relations.latent_score import LatentScore, curve

RELATION = LatentScore()


class Loose(PPCA):
    """PPCA with a guide that is half a standard deviation off and too wide."""

    def guide(self, x):
        with self.plate(x):
            m = self.weight.mT @ self.weight + self.variance * torch.eye(self.latents, dtype=x.dtype)
            mean = torch.linalg.solve(m, ((x - self.mean) @ self.weight).mT).mT
            return pyro.sample("z", dist.Normal(mean + 0.2, 1.2).to_event(1))


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["norm_of_the_scores"] > 1


def test_other_parameters():
    assert RELATION.check(eigenvalues=(3.0, 1.0, 0.2), latents=1, noise=0.5).holds


def test_left_side_by_differences():
    x, h = torch.tensor([-1.0, 0.2, 1.7]).double(), 1e-5
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)

    def log_p(v):
        return torch.log(torch.exp(-((v[:, None] - curve(z)) ** 2) / 0.18 - z**2 / 2).sum(1))

    torch.testing.assert_close(
        RELATION.sides(x, 0.3)[0], (log_p(x + h) - log_p(x - h)) / (2 * h), rtol=0, atol=1e-6
    )


class PriorMean(LatentScore):
    """Averages over the prior."""

    def latent_mean(self, ppca, x):
        return torch.zeros(x.shape[0], ppca.latents, dtype=x.dtype)


class PriorWeights(LatentScore):
    def weigh(self, z, residual, noise):
        return torch.softmax(-z.square().expand_as(residual) / 2, 1)


class Unweighted(LatentScore):
    def normalise(self, log_w):
        return torch.full_like(log_w, 1 / log_w.shape[0])


@pytest.mark.parametrize("broken", [PriorMean, PriorWeights])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check().holds


def programs():
    ppca, fa, mixture = PPCA(4, 2), FactorAnalysis(4, 2), GaussianMixture(4, 3)
    return [ppca, fa, mixture, Loose(4, 2)]


@pytest.mark.parametrize("program", programs(), ids=lambda p: p.name)
def test_programs(program):
    evidence = RELATION.check_programs(program, program, torch.randn(3, 4))
    assert evidence.holds, evidence


def test_a_mean_without_weights_is_seen_where_the_guide_is_not_exact():
    program = Loose(4, 2)
    assert not Unweighted().check_programs(program, program, torch.randn(3, 4)).holds


def test_refuses():
    for program, why in ((NSF(2), "a latent variable"), (SharedMean(), "a latent variable"),
                         (VAE(4, 2), r"log p\(x\) is known exactly")):  # fmt: skip
        with pytest.raises(UnsupportedQueryError, match=why):
            RELATION.check_programs(program, program, torch.zeros(2, *program.event_shape))
