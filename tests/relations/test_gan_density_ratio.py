"""Relation 20: the critic is the log density ratio, and the identity broken on purpose."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, stats
from torch import nn

from unigen.errors import UnsupportedQueryError
from unigen.models.gan import GAN
from unigen.nn.mlp import MLP
from unigen.relations import gan_density_ratio
from unigen.relations.gan_density_ratio import GANtoDensityRatio

RELATION = GANtoDensityRatio()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["log_ratio"] == "0.5 − 1 x"
    assert evidence.details["jsd"] == pytest.approx(0.111421, abs=1e-6)
    assert evidence.details["value"] == pytest.approx(-1.163451, abs=1e-6)


@pytest.mark.parametrize("mean", [0.3, 1.7])
def test_other_means_and_seeds_against_scipy(mean):
    evidence = RELATION.check(mean=mean, seed=3)
    assert evidence.holds, evidence
    p, q = stats.norm(0, 1).pdf, stats.norm(mean, 1).pdf

    def integrand(x):
        m = 0.5 * (p(x) + q(x))
        return 0.5 * (p(x) * math.log(p(x) / m) + q(x) * math.log(q(x) / m))

    jsd = integrate.quad(integrand, -12, 14, epsabs=1e-12, limit=200)[0]
    assert evidence.details["jsd"] == pytest.approx(jsd, abs=2e-6)


class LeastSquares(GANtoDensityRatio):
    """A critic trained by least squares: D* = p/(p + q), not its logit."""

    def critic_loss(self, real, fake):
        return (real - 1).square().mean() + fake.square().mean()


class Unlogged(GANtoDensityRatio):
    """Forgets the draws' half of the value."""

    def value(self, p, q, f):
        return -float((p * nn.functional.softplus(-f)).sum())


@pytest.mark.parametrize("broken", [LeastSquares(), Unlogged()])
def test_a_broken_identity_is_seen(broken):
    assert not broken.check().holds


def affine(slope, shift):
    net = MLP(2, 2, hidden=())
    with torch.no_grad():
        net.layers[0].weight.copy_(slope * torch.eye(2))
        net.layers[0].bias.fill_(shift)
    return GAN(2, 2, generator=net)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_the_divergence_of_a_generator_whose_law_is_known(shift):
    gan, data = affine(1.0, shift), torch.randn(4000, 2)
    evidence = RELATION.check_programs(gan, gan, data)
    assert evidence.holds, evidence
    one = RELATION.check(mean=math.sqrt(2) * shift).details["jsd"] if shift else 0.0  # along the diagonal
    found, error = (float(evidence.details["jsd"].split()[i]) for i in (2, 4))
    assert one - 0.02 - 5 * error < found < one + 5 * error


def test_logits_that_are_no_log_ratio_are_seen(monkeypatch):
    mended = gan_density_ratio._recalibrated
    monkeypatch.setattr(
        gan_density_ratio, "_recalibrated", lambda *args: tuple(3 * logits for logits in mended(*args))
    )
    gan = affine(1.0, 0.7)
    assert not RELATION.check_programs(gan, gan, torch.randn(4000, 2)).holds


def test_programs_it_cannot_measure_are_refused():
    with pytest.raises(UnsupportedQueryError, match="rows of data"):
        RELATION.check_programs(affine(1.0, 0.0), affine(1.0, 0.0), torch.randn(20, 2))
    conditional = GAN(2, 2, context=1)
    with pytest.raises(UnsupportedQueryError, match="unconditional"):
        RELATION.check_programs(conditional, conditional, torch.randn(500, 2))
