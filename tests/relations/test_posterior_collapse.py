"""Relation 2: the worked numbers, the criterion broken on purpose, and fitted linear VAEs."""

from __future__ import annotations

import pytest
import torch

from tests import problems
from unigen.errors import NotFittedError, UnsupportedQueryError
from unigen.models.vae import VAE, linear_vae
from unigen.objectives.elbo import ELBO
from unigen.relations.linear_vae import head
from unigen.relations.posterior_collapse import PosteriorCollapse

RELATION = PosteriorCollapse()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["active"] == [3, 2, 1, 0]
    expected = [-7.513398, -7.909278, -8.651731, -9.418287]
    assert evidence.details["log_likelihood"] == pytest.approx(expected, abs=5e-7)
    oracle = [problems.ppca_log_likelihood(problems.SPECTRUM, 3, noise) for noise in (0.75, 1.5, 3.0, 5.0)]
    assert oracle == pytest.approx(expected, abs=5e-7)


def test_other_parameters():
    evidence = RELATION.check(eigenvalues=(3.0, 1.2, 0.4), latents=2, noises=(0.3, 0.9), beta=2.0)
    assert evidence.holds, evidence
    assert evidence.details["active"] == [2, 1]


class WithoutBeta(PosteriorCollapse):
    """Compares with σ² where the objective is that of a β-VAE."""

    def threshold(self, noise, beta):
        return noise


class FreeRate(PosteriorCollapse):
    """Pays nothing for the code's entropy, so that no latent collapses where it should."""

    def bound(self, vae, x, beta):
        return super().bound(vae, x, 0.5 * beta)


@pytest.mark.parametrize(("broken", "beta"), [(WithoutBeta, 2.0), (FreeRate, 1.0)])
def test_a_broken_identity_is_seen(broken, beta):
    assert not broken().check(noises=(1.5,), beta=beta).holds


def trained(noise: float, beta: float, latents: int = 3) -> tuple[VAE, torch.Tensor]:
    x = problems.spectrum_data().repeat(100, 1)
    vae = RELATION.train(x, latents, noise, beta)
    vae.objective, vae.fitted = ELBO(beta=beta), True
    return vae, x


@pytest.mark.parametrize(("noise", "beta"), [(1.4, 1.0), (0.6, 2.5)])
def test_programs(noise, beta):
    vae, x = trained(noise, beta)
    evidence = RELATION.check_programs(vae, vae, x)
    assert evidence.holds, evidence
    assert evidence.left == 2.0


def test_a_collapse_too_many_is_seen():
    vae, x = trained(1.4, 1.0)
    with torch.no_grad():
        vae.decoder.layers[-1].weight.mul_(1e-3)
    assert not RELATION.check_programs(vae, vae, x).holds
    vae, x = trained(3.9, 1.0)
    with torch.no_grad():
        vae.decoder.layers[-1].weight.normal_()
    assert not RELATION.check_programs(vae, vae, x).holds


def test_what_the_theorem_does_not_cover_is_refused():
    with pytest.raises(UnsupportedQueryError, match="affine"):
        RELATION.check_programs(*[VAE(3, 1)] * 2, torch.zeros(4, 3))
    with pytest.raises(NotFittedError, match="at the optimum"):
        RELATION.check_programs(*[linear_vae(3, 1)] * 2, torch.zeros(4, 3))
    assert head(linear_vae(3, 1)).mode == "learned"
