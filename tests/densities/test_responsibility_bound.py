"""The bound of a mixture of bounds against the exact mixture."""

from __future__ import annotations

import pytest
import torch

from unigen.densities.responsibility_bound import ResponsibilityBound
from unigen.errors import NoDensityError
from unigen.logprob import Kind
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


def test_noise_does_not_lift_it_above_the_evidence():
    """One-sample bounds are so noisy that the log-sum-exp of them would exceed the truth; this mean does not."""

    class OneSample(PPCA):
        @property
        def has_marginal(self) -> bool:
            return False

        def guide(self, x):
            import pyro

            with self.plate(x):  # too wide, so that the weights are noisy
                pyro.sample("z", pyro.distributions.Normal(x[:, :1] * 0, 3.0).to_event(1))

    mixture = Mixture([OneSample(2, 1), OneSample(2, 1)]).double()
    x = torch.randn(20, 2).double() * 2
    truth = torch.stack([p.marginal().log_prob(x) for p in mixture.parts], -1)
    truth = (truth + mixture.logits.log_softmax(0)).logsumexp(-1).detach()
    draws = torch.stack([mixture.log_prob(x).value for _ in range(100)]) - truth
    assert mixture.kind is Kind.LOWER_BOUND
    assert (draws.mean(0) < 5 * draws.std(0) / 10 + 1e-9).all()
    stderr = mixture.log_prob(x).stderr
    assert stderr is not None and 0.3 < (stderr.mean() / draws.std(0).mean()) < 3


def test_refuses_a_program_that_is_no_mixture():
    with pytest.raises(NoDensityError, match="no mixture"):
        VAE(3, 1).log_prob(torch.zeros(1, 3), density=ResponsibilityBound())
