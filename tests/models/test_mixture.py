"""Mixtures of Gaussians against SciPy, scikit-learn and Pyro's enumeration."""

from __future__ import annotations

import copy
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from sklearn import mixture
from sklearn.exceptions import ConvergenceWarning

from tests import problems
from tests.programs import traces_with_symbolic_batch
from unigen.data.digits import digits
from unigen.errors import ArgumentError, ShapeError
from unigen.logprob import Kind
from unigen.models.mixture import GaussianMixture
from unigen.objectives.elbo import ELBO
from unigen.objectives.iwae import IWAE
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.traces import log_weights

COVARIANCES = ["full", "tied", "diagonal"]
SKLEARN = {"full": "full", "tied": "tied", "diagonal": "diag"}


def random_mixture(covariance: str = "full", d: int = 3, k: int = 4) -> GaussianMixture:
    gm = GaussianMixture(d, k, covariance=covariance).double()
    with torch.no_grad():
        for p in gm.parameters():
            p.add_(0.5 * torch.randn(p.shape))
        gm.means.mul_(2)
    return gm


def covariance_matrices(gm: GaussianMixture) -> np.ndarray:
    factor = gm.scale_tril.detach()
    return (factor @ factor.mT).expand(gm.components, -1, -1).numpy()


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_density_and_responsibilities(covariance):
    gm = random_mixture(covariance)
    x = gm.sample(50, seed=0)
    weights = gm.logits.softmax(0).detach().numpy()
    sigma, means = covariance_matrices(gm), gm.means.detach().numpy()
    joint = np.stack(
        [problems.gaussian_log_density(x.numpy(), means[k], sigma[k]) + np.log(weights[k]) for k in range(4)],
        1,
    )
    log_p = gm.log_prob(x)
    assert log_p.kind is Kind.EXACT
    assert np.allclose(log_p.value, np.logaddexp.reduce(joint, 1), atol=1e-10)
    r = np.exp(joint - np.logaddexp.reduce(joint, 1)[:, None])
    assert np.allclose(gm.posterior(x).probs.detach(), r, atol=1e-10)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_bound_is_tight_and_enumeration_agrees(covariance):
    gm = random_mixture(covariance)
    x = gm.sample(20, seed=1)
    exact = gm.log_prob(x).value
    weights = log_weights(lambda: gm.model(x), lambda: gm.guide(x), samples=5)
    assert (weights.local - exact).abs().max() <= 1e-9
    enumerated = TraceEnum_ELBO(max_plate_nesting=1).loss(config_enumerate(gm.model), lambda x: None, x)
    assert enumerated == pytest.approx(-exact.sum().item(), abs=1e-8)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_integrates_to_one(covariance):
    gm = random_mixture(covariance, d=2, k=3)
    total = problems.integral_2d(
        lambda g: gm.log_prob(torch.from_numpy(g)).value.exp().numpy(), half=30, points=601
    )
    assert total == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_one_em_step_is_sklearns(covariance):
    gm = random_mixture(covariance)
    x = gm.sample(300, seed=2) + 0.3
    gm.floor = gm.shrinkage = 0.0
    gm.seeded.fill_(True)
    sigma = covariance_matrices(gm)
    start = {"full": sigma, "tied": sigma[0], "diagonal": sigma.diagonal(axis1=1, axis2=2)}[covariance]
    peer = mixture.GaussianMixture(
        4,
        covariance_type=SKLEARN[covariance],
        reg_covar=0.0,
        max_iter=1,
        weights_init=gm.logits.softmax(0).detach().numpy(),
        means_init=gm.means.detach().numpy(),
        precisions_init=1 / start if covariance == "diagonal" else np.linalg.inv(start),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # one step is what is wanted
        peer.fit(x.numpy())
    gm.em_step(x)
    assert np.allclose(gm.means.detach(), peer.means_, atol=1e-8)
    assert np.allclose(gm.log_prob(x).value, peer.score_samples(x.numpy()), atol=1e-7)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_converged_em_is_sklearns_from_the_same_start(covariance):
    """Sixty steps of both from the same weights, means and precisions end at the same parameters and density."""
    gm = random_mixture(covariance, d=2, k=3)
    x = gm.sample(400, seed=6)
    gm.floor = gm.shrinkage = 0.0
    gm.seeded.fill_(True)
    sigma = covariance_matrices(gm)
    start = {"full": sigma, "tied": sigma[0], "diagonal": sigma.diagonal(axis1=1, axis2=2)}[covariance]
    peer = mixture.GaussianMixture(
        3, covariance_type=SKLEARN[covariance], reg_covar=0.0, max_iter=60, tol=0.0,
        weights_init=gm.logits.softmax(0).detach().numpy(), means_init=gm.means.detach().numpy(),
        precisions_init=1 / start if covariance == "diagonal" else np.linalg.inv(start),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer.fit(x.numpy())
    for _ in range(60):
        gm.em_step(x)
    assert np.allclose(gm.means.detach(), peer.means_, atol=1e-6)
    assert np.allclose(gm.logits.softmax(0).detach(), peer.weights_, atol=1e-6)
    assert np.allclose(gm.log_prob(x).value, peer.score_samples(x.numpy()), atol=1e-6)
    assert np.allclose(gm.posterior(x).probs.detach(), peer.predict_proba(x.numpy()), atol=1e-6)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_weights_count_examples(covariance):
    x, counts = torch.randn(60, 3).double(), torch.randint(0, 4, (60,))
    gm = random_mixture(covariance)
    gm.seeded.fill_(True)
    twin = copy.deepcopy(gm)
    gm.em_step(x, weights=counts)
    twin.em_step(x.repeat_interleave(counts, 0))
    assert np.allclose(gm.log_prob(x).value, twin.log_prob(x).value, atol=1e-9)
    with pytest.raises(ArgumentError, match="weights"):
        gm.em_step(x, weights=-counts.double())


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_maximum_likelihood_em_never_falls(covariance):
    x = random_mixture(covariance).sample(400, seed=3)
    gm = GaussianMixture(3, 4, covariance=covariance, floor=0.0, shrinkage=0.0).double()
    values = []
    for _ in range(60):
        gm.em_step(x)
        values.append(gm.log_prob(x).mean().value)
    assert all(b >= a - 1e-10 for a, b in pairwise(values))


def test_recovers_separated_components():
    centres = torch.tensor([[0, 0, 0], [8, 0, 0], [0, 8, 0], [0, 0, 8], [8, 8, 8]]).double()
    truth = GaussianMixture(3, 5).double()
    with torch.no_grad():
        truth.means.copy_(centres)
    x = truth.sample(5000, seed=4)
    gm = GaussianMixture(3, 5, shrinkage=0.0).double()
    for _ in range(50):
        gm.em_step(x)
    gap = truth.log_prob(x).mean().value - gm.log_prob(x).mean().value
    assert gap < 0.05


def test_gradient_training_improves():
    x = random_mixture().sample(500, seed=5)
    gm = GaussianMixture(3, 4).double()
    loss = MaximumLikelihood().players(gm)[0].loss
    before = loss(x).item()
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        loss(x).backward()
        optimiser.step()
    assert loss(x).item() < before - 0.5
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in gm.parameters())


def test_digits_reach_the_figure():
    """About 64 nats held out with ten full components, where scikit-learn's default regularisation has 47."""
    data = digits()
    torch.manual_seed(0)
    gm = GaussianMixture(64, 10)
    for _ in range(10):
        gm.em_step(data.train)
    assert gm.log_prob(data.test).mean().value > 63.0


def test_state_dict_remembers_the_seeding():
    gm = GaussianMixture(2, 3)
    gm.em_step(torch.randn(50, 2))
    twin = GaussianMixture(2, 3)
    twin.load_state_dict(gm.state_dict())
    assert bool(twin.seeded)
    assert torch.equal(twin.log_prob(torch.zeros(1, 2)).value, gm.log_prob(torch.zeros(1, 2)).value)


@pytest.mark.parametrize(
    "bad",
    [{"components": 0}, {"covariance": "spherical"}, {"floor": -0.1}, {"floor": 1.0}, {"shrinkage": -1.0}],
)
def test_refuses_options(bad):
    with pytest.raises(ArgumentError):
        GaussianMixture(2, **bad)


def test_refuses_too_few_or_constant_data():
    gm = GaussianMixture(2, 4)
    with pytest.raises(ShapeError, match="at least K = 4"):
        gm.em_step(torch.randn(3, 2))
    with pytest.raises(ArgumentError, match="singular"):
        gm.em_step(torch.ones(9, 2))


@pytest.mark.parametrize("objective", [MaximumLikelihood(), ELBO(), IWAE(3)])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_losses_trace_with_a_symbolic_batch(objective, covariance):
    assert traces_with_symbolic_batch(
        GaussianMixture(5, 3, covariance=covariance), objective, torch.randn(8, 5)
    )
