"""Relation 34: an energy is a critic, a generator its partner, and the identity broken on purpose."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, stats

from unigen.errors import UnsupportedQueryError
from unigen.models.energy import EnergyModel
from unigen.models.gan import GAN
from unigen.relations.gan_energy import GANtoEnergy
from unigen.relations.relate import relate

RELATION = GANtoEnergy()


@pytest.mark.parametrize(("theta", "data", "width"), [(1.5, 1.2, 0.7), (0.4, 0.6, 1.7), (4.0, 2.0, 0.5)])
def test_worked_examples_against_scipy(theta, data, width):
    evidence = RELATION.check(theta=theta, data=data, width=width)
    assert evidence.holds, evidence
    z = integrate.quad(lambda x: math.exp(-0.5 * theta * x * x), -12, 12)[0]
    assert evidence.details["log_z"] == pytest.approx(math.log(z), abs=1e-6)

    def integrand(x):
        log_q = stats.norm.logpdf(x, 0, width)
        return math.exp(log_q) * (log_q + 0.5 * theta * x * x + math.log(z))

    assert evidence.details["kl"] == pytest.approx(integrate.quad(integrand, -15, 15)[0], abs=1e-6)


class AgainstTheData(GANtoEnergy):
    """The critic's draws are forgotten: the energy is only pulled down on data."""

    def game_slope(self, x, theta, data, draws):
        return super().game_slope(x, theta, data, 0 * draws)


class NoEntropy(GANtoEnergy):
    """A generator without the entropy collapses onto the lowest energy: E_q[−E] is no bound on log Z."""

    def bound(self, x, theta, q):
        return float((q * (-0.5 * theta * x.square())).sum())


class NoRatio(GANtoEnergy):
    """The energy alone pulled back to the latent, without the generator's density."""

    def pulled_back(self, theta, width, z):
        return -0.5 * theta * (width * z).square()


class Saturating(GANtoEnergy):
    """The game of another critic, whose gradient is not that of the likelihood."""

    def critic_loss(self, real, fake):
        return torch.nn.functional.softplus(-real).mean() + torch.nn.functional.softplus(fake).mean()


@pytest.mark.parametrize("broken", [AgainstTheData(), NoEntropy(), NoRatio()], ids=lambda r: type(r).__name__)
def test_a_broken_identity_is_seen(broken):
    assert not broken.check().holds


def programs():
    torch.manual_seed(1)
    return GAN(3, 2, hidden=(8,)).double(), EnergyModel(3, hidden=(16,)).double()


def test_programs():
    gan, energy = programs()
    x = torch.randn(60, 3, dtype=torch.float64)
    evidence = RELATION.check_programs(gan, energy, x)
    assert evidence.holds, evidence
    assert len(evidence.claims) == 3 and evidence.details["rows"] == 60
    assert not Saturating().check_programs(gan, energy, x).claims[0].holds
    assert evidence == RELATION.check_programs(gan, energy, x)  # the same draws
    assert 34 in {each.id for each in relate(energy, gan, x).evidence}


def test_a_wrong_score_is_seen(monkeypatch):
    gan, energy = programs()
    right = EnergyModel.score
    monkeypatch.setattr(EnergyModel, "score", lambda self, x: 1.1 * right(self, x))
    claims = RELATION.check_programs(gan, energy, torch.randn(40, 3, dtype=torch.float64)).claims
    assert claims[0].holds and not claims[1].holds


def test_conditional_programs_are_refused():
    with pytest.raises(UnsupportedQueryError, match="unconditional"):
        RELATION.check_programs(GAN(3, 2, context=1), EnergyModel(3), torch.randn(5, 3))
