"""The ELBO against closed forms, enumeration and Pyro's own estimators."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

from tests import problems
from tests.programs import Conditional, Nested, SharedMean, Switch, Toy
from unigen.errors import ArgumentError
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.objectives.elbo import ELBO, ELBOLoss, elbo


def rows(n: int = 4) -> torch.Tensor:
    return torch.linspace(-1, 2, n, dtype=torch.float64)[:, None]


def test_exact_guide_gives_the_evidence():
    x = rows()
    truth = [problems.toy_evidence(v) for v in x[:, 0].tolist()]
    assert np.allclose(elbo(PPCAToy(), x), truth, atol=1e-12)


class PPCAToy(Toy):
    """The toy with its exact posterior, and no analytic KL to add noise: the guide is a multivariate normal."""

    def guide(self, x):
        with self.plate(x):
            covariance = torch.full((1, 1), 0.5, dtype=torch.float64)
            return pyro.sample("z", pyro.distributions.MultivariateNormal(x / 2, covariance))


def test_prior_as_guide_in_closed_form():
    x = rows()
    value = elbo(Toy(), x, samples=100_000)
    truth = -0.5 * math.log(2 * math.pi) - 0.5 * (1 + x[:, 0] ** 2)
    spread = (0.5 + x[:, 0] ** 2).sqrt() / 100_000**0.5  # sd of (x − z)²/2
    assert ((value - truth) / spread).abs().max() < 5


def replicate(function, times: int) -> tuple[float, float]:
    values = torch.tensor([float(function()) for _ in range(times)], dtype=torch.float64)
    return values.mean().item(), (values.std() / times**0.5).item()


@pytest.mark.parametrize("make", [lambda: VAE(3, 2, hidden=(8,)), Nested, lambda: PPCA(3, 1)])
@pytest.mark.parametrize("peer", [Trace_ELBO, TraceMeanField_ELBO])
def test_agrees_with_pyro_in_expectation(make, peer):
    program, x = make(), torch.randn(5, 3)
    loss, estimator = ELBOLoss(program, ELBO()), peer()
    with torch.no_grad():
        ours = replicate(lambda: loss(x), 400)
        theirs = replicate(lambda: estimator.loss(program.model, program.guide, x) / 5, 400)
    assert abs(ours[0] - theirs[0]) < 5 * math.hypot(ours[1], theirs[1]) + 1e-5


def test_shared_latents_agree_with_pyro():
    program, x = SharedMean(), torch.randn(6, 1)
    loss = ELBO().players(program)[0].loss
    with torch.no_grad():
        ours = replicate(lambda: loss(x), 600)
        theirs = replicate(lambda: Trace_ELBO().loss(program.model, program.guide, x) / 6, 600)
    assert abs(ours[0] - theirs[0]) < 5 * math.hypot(ours[1], theirs[1])


def test_minibatches_are_unbiased_for_the_full_data():
    """Averaged over all minibatches of two, the loss and its gradient are those of the full data."""
    program, x = SharedMean(), torch.randn(4, 1)
    program.data_size = 4
    loss = ELBO(samples=2000).players(program)[0].loss
    parameters = list(program.parameters())

    def gradient(batch) -> torch.Tensor:
        grads = torch.autograd.grad(loss(batch), parameters)
        return torch.cat([g.reshape(-1) for g in grads])

    full = torch.stack([gradient(x) for _ in range(20)])
    parts = torch.stack([(gradient(x[:2]) + gradient(x[2:])) / 2 for _ in range(20)])
    stderr = ((full.var(0) + parts.var(0)) / 20).sqrt() + 1e-6
    assert ((full.mean(0) - parts.mean(0)) / stderr).abs().max() < 6


def test_without_latents_it_is_the_likelihood():
    program = Conditional()
    x, c = torch.randn(5, 2), torch.randn(5, 3)
    loss = ELBO().players(program)[0].loss
    assert loss(x, c).item() == pytest.approx(-program.log_prob(x, c).mean().value, abs=1e-6)


def test_beta_weighs_all_but_the_observation():
    program, x = Toy(), rows()
    torch.manual_seed(0)
    one = ELBO(beta=1.0, analytic=False).players(program)[0].loss(x)
    torch.manual_seed(0)
    zero = ELBO(beta=0.0, analytic=False).players(program)[0].loss(x)
    torch.manual_seed(0)
    four = ELBO(beta=4.0, analytic=False).players(program)[0].loss(x)
    assert four.item() == pytest.approx(zero.item() + 4 * (one - zero).item(), abs=1e-9)
    vae = VAE(3, 2, hidden=(8,))
    y = torch.randn(6, 3)
    q = vae.posterior(y)
    kl = torch.distributions.kl_divergence(q.base_dist, torch.distributions.Normal(0.0, 1.0)).sum(-1).mean()
    torch.manual_seed(0)
    low = ELBO(beta=1.0).players(vae)[0].loss(y)
    torch.manual_seed(0)
    high = ELBO(beta=3.0).players(vae)[0].loss(y)
    assert (high - low).item() == pytest.approx(2 * kl.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("samples", "analytic", "beta"), [(1, True, 1.0), (1, False, 1.0), (3, True, 1.0), (2, False, 2.5)]
)
def test_gradient_through_a_discrete_guide(samples, analytic, beta):
    """Against enumeration: a pathwise gradient alone would miss how q moves its mass."""
    program, x = Switch(), torch.tensor([[-0.5], [1.2], [0.1]])
    loss = ELBO(samples, analytic=analytic, beta=beta).players(program)[0].loss
    exact = program.exact_elbo(x)
    log_q = (program.logits[0] + x * program.logits[1]).log_softmax(-1)
    recon = (log_q.exp() * torch.distributions.Normal(program.means, 1.0).log_prob(x)).sum(-1)
    truth = torch.autograd.grad(-(recon + beta * (exact - recon)).mean(), list(program.parameters()))
    draws = [torch.autograd.grad(loss(x.repeat(200, 1)), list(program.parameters())) for _ in range(100)]
    for i, expected in enumerate(truth):
        each = torch.stack([d[i] for d in draws])
        z = (each.mean(0) - expected) / (each.std(0) / 10 + 1e-7)
        assert z.abs().max() < 5, i
    with torch.no_grad():
        value, stderr = replicate(lambda: loss(x), 500)
    assert abs(value + (recon + beta * (exact - recon)).mean().item()) < 5 * stderr + 1e-6


@pytest.mark.parametrize("options", [{"samples": 0}, {"beta": -1.0}])
def test_refuses(options):
    with pytest.raises(ArgumentError):
        ELBO(**options)


def test_one_player_trains_everything():
    vae = VAE(3, 2, hidden=(8,))
    (player,) = ELBO().players(vae)
    assert player.name == "elbo" and player.update is None
    assert {id(p) for p in player.parameters.values()} == {id(p) for p in vae.parameters()}
    player.loss(torch.randn(4, 3)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.parameters())
    assert repr(ELBO(beta=2.0)) == (
        "ELBO(samples=1, analytic=True, beta=2.0, enumerate=False, free_bits=0.0, gradient=None, "
        "baseline=LeaveOneOut())"
    )
