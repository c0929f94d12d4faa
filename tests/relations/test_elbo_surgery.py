"""Relation 5: the worked split, one broken on purpose, and the split of programs beside an independent estimate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from unigen.distributions.posteriors import FullCovariance
from unigen.errors import UnsupportedQueryError
from unigen.evaluate.elbo_surgery import elbo_surgery
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.relations.elbo_surgery import ElboSurgeryRelation
from unigen.relations.ppca_vae import axis_points

RELATION = ElboSurgeryRelation()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    by_name = {claim.name: claim for claim in evidence.claims}
    assert by_name["gain 1: rate = information + KL(q(z)‖p)"].left == pytest.approx(1.445186, abs=5e-7)
    assert by_name["at the optimum: information = ½ Σ log λ/σ²"].left == pytest.approx(1.445186, abs=5e-7)
    assert by_name["gain 0.6: KL(q(z)‖p) ≥ 0"].left > 0.1


def test_closed_forms_by_quadrature():
    """One latent with gain .6: I(x; z) and KL(q(z)‖p) as integrals over z and x."""
    spectrum = torch.tensor([2.0, 0.5]).double()
    vae = RELATION.encoder(axis_points(spectrum), 1, 0.6)
    information, divergence = RELATION.terms(vae, spectrum)
    slope = float(vae.encoder.layers[-1].weight[0, 0].detach())
    s = float(vae.posterior(torch.zeros(1, 2).double()).stddev.detach())
    width = float(np.hypot(slope * np.sqrt(2.0), s))
    q = stats.norm(0, width)
    kl = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), -9, 9)[0]
    mutual = integrate.dblquad(
        lambda z, x: stats.norm.pdf(x, 0, np.sqrt(2)) * stats.norm.pdf(z, slope * x, s)
        * (stats.norm.logpdf(z, slope * x, s) - q.logpdf(z)),
        -9, 9, lambda x: slope * x - 9 * s, lambda x: slope * x + 9 * s,
    )[0]  # fmt: skip
    assert (information, divergence) == pytest.approx((mutual, kl), abs=1e-6)


class WithoutNoise(ElboSurgeryRelation):
    """Takes the posterior means alone for the aggregated posterior."""

    def aggregate(self, a, spectrum, noise):
        return (a * spectrum) @ a.mT + 1e-3 * torch.eye(a.shape[0], dtype=a.dtype)

    def log_aggregate(self, q, z):
        narrow = torch.distributions.Normal(q.mean, 0.3 * q.stddev)
        return narrow.log_prob(z[:, None]).sum(-1).double().logsumexp(1) - np.log(z.shape[0])


class PriorForAggregate(ElboSurgeryRelation):
    """Measures the information against the prior, and so counts the divergence twice."""

    def terms(self, vae, spectrum):
        information, divergence = super().terms(vae, spectrum)
        return information + divergence, divergence


@pytest.mark.parametrize("broken", [WithoutNoise, PriorForAggregate])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check().holds


def test_programs():
    vae = VAE(4, 2, hidden=(16,))
    with torch.no_grad():
        vae.encoder.layers[-1].weight.mul_(4.0)
    x = 2 * torch.randn(300, 4)
    evidence = RELATION.check_programs(vae, vae, x)
    assert evidence.holds, evidence
    other = elbo_surgery(vae, x, samples=8, seed=3)
    assert float(evidence.details["information"]) == pytest.approx(
        other.information, abs=8 * other.stderr[1] + 1e-3
    )


def test_a_wrong_aggregate_is_seen_on_a_program():
    class Narrow(ElboSurgeryRelation):
        """Forgets the log N of the mixture in the second term only, by giving it one example's share."""

        calls = 0

        def log_aggregate(self, q, z):
            self.calls += 1
            return super().log_aggregate(q, z) + (0.2 if self.calls % 2 else 0.0)

    vae = VAE(4, 2, hidden=(16,))
    assert not Narrow().check_programs(vae, vae, torch.randn(300, 4)).holds


def test_what_it_does_not_cover_is_refused():
    for program, why in ((VAE(3, 1, posterior=FullCovariance()), "mean-field"), (PPCA(3, 1), "unconditional VAE"),
                         (VAE(3, 1, context=1), "unconditional")):  # fmt: skip
        with pytest.raises(UnsupportedQueryError, match=why):
            RELATION.check_programs(program, program, torch.zeros(4, 3))
