"""The bound of a mixture of bounds against the exact mixture."""

from __future__ import annotations

import math

import pytest
import torch

from unigen.densities.density import Density
from unigen.densities.responsibility_bound import ResponsibilityBound
from unigen.errors import NoDensityError
from unigen.logprob import Kind, LogProb
from unigen.models.flow import MAF
from unigen.models.mixture_of_programs import Mixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE


def test_with_exact_components_it_is_the_density():
    mixture = Mixture([PPCA(3, 1), MAF(3, hidden=(4,))]).double()
    x = torch.randn(10, 3).double()
    found = mixture.log_prob(x, density=ResponsibilityBound(Kind.EXACT))
    assert (found.value - mixture.log_prob(x).value).abs().max() <= 1e-9
    assert found.kind is Kind.EXACT and found.stderr is None and found.dims == 3


class Noisy(Density):
    """log p(x) + a normal error: a bound in the mean, whose exponential is far too large."""

    kind = Kind.LOWER_BOUND

    def log_prob(self, program, x, context=None):
        exact = program.marginal(context).log_prob(x)
        return LogProb(exact + 2 * torch.randn_like(exact), self.kind, torch.full_like(exact, 2.0))


def test_noise_does_not_lift_it_above_the_evidence():
    """The log-sum-exp of such bounds exceeds the truth; with responsibilities from another evaluation it cannot."""
    parts = [PPCA(2, 1).double() for _ in range(3)]
    truth = torch.stack([p.marginal().log_prob(x := torch.ones(1, 2).double()) for p in parts], -1)
    truth = (truth - math.log(3)).logsumexp(-1).detach()
    for p in parts:
        p.density = Noisy()
    mixture = Mixture(parts).double()
    rows = x.expand(4000, 2)
    found = mixture.log_prob(rows)
    naive = (torch.stack([p.log_prob(rows).value for p in parts], -1) - math.log(3)).logsumexp(-1)
    stderr = found.value.std() / 4000**0.5
    assert found.value.mean() < truth + 5 * stderr
    assert naive.mean() > truth + 0.5  # what the log-sum-exp of one evaluation would say
    assert found.stderr is not None and ((found.stderr > 1) & (found.stderr <= 2)).all()


def test_refuses_a_program_that_is_no_mixture():
    with pytest.raises(NoDensityError, match="no mixture"):
        VAE(3, 1).log_prob(torch.zeros(1, 3), density=ResponsibilityBound())
