"""ELBO surgery: the population's numbers on PPCA, quadrature of the aggregate on few points, refusals."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from tests.evaluate.test_rate_distortion import at
from tests.programs import Nested, Switch, Toy
from unigen.errors import ArgumentError, EmptyDataError, KindError, UnsupportedQueryError
from unigen.evaluate.elbo_surgery import elbo_surgery
from unigen.models.energy import EnergyModel
from unigen.models.vae import VAE


def test_ppca_of_the_spectrum():
    """1.445186 + 0 for the population; N = 2,000 draws leave a bias of at most (1 + χ²)/2N ≈ 2e-3 nats."""
    program = at(2 / 3)
    x = program.sample(2000)
    found = elbo_surgery(program, x, samples=4, seed=0)
    spread = 2000**-0.5  # the rate of these data: sd of ½|m|² is below 1
    assert abs(found.rate - 1.445186) < 5 * spread
    assert abs(found.information - 1.445186) < 5 * found.stderr[1] + 5 * spread + 3e-3
    assert -5 * found.stderr[2] - 1e-3 < found.marginal_kl < 5 * found.stderr[2] + 1e-2
    assert found.rate == pytest.approx(found.information + found.marginal_kl, abs=1e-9)
    assert "log N" in str(found)


def test_few_points_by_quadrature():
    """Three examples under the toy's exact guide: both terms by the trapezoid rule over z."""
    x = torch.tensor([[-2.0], [0.5], [1.0]]).double()
    found = elbo_surgery(Toy(exact=True), x, samples=500)
    z = np.linspace(-9, 9, 20_001)
    q = stats.norm.pdf(z, x.numpy() / 2, 0.5**0.5)
    mix = q.mean(0)
    information = np.trapezoid(q * np.log(q / mix), z).mean()
    marginal = np.trapezoid(mix * np.log(mix / stats.norm.pdf(z)), z)
    assert abs(found.information - information) < 5 * found.stderr[1]
    assert abs(found.marginal_kl - marginal) < 5 * found.stderr[2]
    assert found.stderr[1] < 0.05 and found.information < math.log(3)


def test_a_guide_that_ignores_the_data_carries_no_information():
    found = elbo_surgery(Toy(), torch.randn(20, 1).double())
    assert abs(found.information) < 1e-12 and abs(found.marginal_kl) < 1e-12


def test_separate_posteriors_reach_the_ceiling(monkeypatch):
    monkeypatch.setattr(sys.modules["unigen.evaluate.elbo_surgery"], "CHUNK", 10)
    x = 100 * torch.arange(6).double()[:, None]
    assert elbo_surgery(Toy(exact=True), x).information == pytest.approx(math.log(6), abs=1e-9)


def test_refusals():
    x = torch.zeros(3, 1).double()
    with pytest.raises(ArgumentError):
        elbo_surgery(Toy(), x, samples=1)
    with pytest.raises(EmptyDataError):
        elbo_surgery(Toy(), x[:1])
    with pytest.raises(UnsupportedQueryError, match="one latent"):
        elbo_surgery(Nested(), torch.zeros(3, 3))
    with pytest.raises(UnsupportedQueryError):
        elbo_surgery(VAE(3, 2, hidden=(4,), context=1), torch.zeros(3, 3))
    with pytest.raises(KindError):
        elbo_surgery(VAE(3, 2, hidden=(4,), prior=EnergyModel(2, hidden=(4,))), torch.zeros(3, 3))
    assert elbo_surgery(Switch(), torch.randn(30, 1)).n == 30  # a discrete code has an information too
