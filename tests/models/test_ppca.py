"""PPCA against the spectrum, a dense Gaussian, scikit-learn and its own EM."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn import decomposition

from tests import problems
from tests.programs import traces_with_symbolic_batch
from unigen.data.digits import digits
from unigen.errors import ArgumentError
from unigen.logprob import Kind
from unigen.models.ppca import PPCA
from unigen.objectives.elbo import ELBO, elbo
from unigen.objectives.iwae import IWAE
from unigen.objectives.likelihood import EM, MaximumLikelihood
from unigen.traces import log_weights


def solved(q: int = 2, eigenvalues=problems.SPECTRUM, mean: float = 0.0) -> tuple[PPCA, torch.Tensor]:
    x = problems.spectrum_data(eigenvalues, mean)
    ppca = PPCA(x.shape[1], q).double()
    ppca.solve(x)
    return ppca, x


def random_ppca(d: int = 6, q: int = 3, noise: float = 0.3) -> PPCA:
    ppca = PPCA(d, q).double()
    ppca.write(torch.randn(d, q).double(), torch.randn(d).double(), torch.tensor(noise).double())
    return ppca


def test_worked_example():
    ppca, x = solved()
    assert ppca.variance.item() == pytest.approx(2 / 3, abs=1e-12)
    assert ppca.log_prob(x).mean().value == pytest.approx(-7.526216, abs=5e-7)
    assert ppca.log_prob(x).mean().value == pytest.approx(
        problems.ppca_log_likelihood(problems.SPECTRUM, 2), abs=1e-12
    )
    variances = torch.linalg.eigvalsh(ppca.posterior(x).covariance_matrix[0])
    assert torch.allclose(variances, torch.tensor([1 / 6, 1 / 3]).double(), atol=1e-12)


@pytest.mark.parametrize(("variance", "active", "value"), [
    (0.75, 3, -7.513398), (1.5, 2, -7.909278), (3.0, 1, -8.651731), (5.0, 0, -9.418287),
])  # fmt: skip
def test_fixed_noise_collapses_directions_below_it(variance, active, value):
    """THEOREMS 2: with σ² held fixed, the optimum keeps the directions with λ > σ²."""
    x = problems.spectrum_data()
    ppca = PPCA(5, 3).double()
    with torch.no_grad():
        ppca.log_variance.fill_(np.log(variance))
        ppca.weight.copy_(torch.eye(5, 3) * 0.5 + 0.1 * torch.randn(5, 3))
    optimiser = torch.optim.LBFGS(
        [ppca.weight], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-10
    )
    loss = MaximumLikelihood().players(ppca)[0].loss

    def closure():
        optimiser.zero_grad()
        loss(x).backward()
        return loss(x)

    optimiser.step(closure)
    assert ppca.log_prob(x).mean().value == pytest.approx(value, abs=2e-6)
    assert problems.ppca_log_likelihood(problems.SPECTRUM, 3, variance) == pytest.approx(value, abs=1e-6)
    assert int((torch.linalg.svdvals(ppca.weight) > 0.1).sum()) == active


def test_marginal_and_posterior_equal_dense_gaussian():
    ppca = random_ppca()
    x = ppca.sample(20, seed=0)
    w, mean = ppca.weight.detach().numpy(), ppca.mean.detach().numpy()
    noise = np.full(6, ppca.variance.item())
    dense = problems.gaussian_log_density(x.numpy(), mean, w @ w.T + np.diag(noise))
    assert np.allclose(ppca.log_prob(x).value, dense, atol=1e-11)
    assert ppca.log_prob(x).kind is Kind.EXACT
    loc, covariance = problems.gaussian_posterior(w, noise, mean, x.numpy())
    posterior = ppca.posterior(x)
    assert np.allclose(posterior.mean.detach(), loc, atol=1e-11)
    assert np.allclose(posterior.covariance_matrix[0].detach(), covariance, atol=1e-11)
    score = -(x.numpy() - mean) @ np.linalg.inv(w @ w.T + np.diag(noise))
    assert np.allclose(ppca.score(x), score, atol=1e-9)


def test_the_bound_is_tight():
    ppca = random_ppca()
    x = ppca.sample(50, seed=1)
    exact = ppca.log_prob(x).value
    assert (elbo(ppca, x) - exact).abs().max() <= 1e-9
    weights = log_weights(lambda: ppca.model(x), lambda: ppca.guide(x), samples=7)
    assert (weights.local - exact).abs().max() <= 1e-9
    assert ELBO().players(ppca)[0].loss(x).item() == pytest.approx(-exact.mean().item(), abs=1e-9)


def test_samples_have_the_model_moments():
    ppca = random_ppca()
    n = 200_000
    x = ppca.sample(n, seed=2)
    covariance = (ppca.weight @ ppca.weight.mT + ppca.variance * torch.eye(6)).detach()
    spread = covariance.diagonal()
    z_mean = (x.mean(0) - ppca.mean) / (spread / n).sqrt()
    assert z_mean.abs().max() < 5
    se = ((covariance.square() + spread[:, None] * spread) / n).sqrt()
    assert ((torch.cov(x.mT) - covariance) / se).abs().max() < 5


@pytest.mark.parametrize("q", [1, 8, 16])
def test_digits_equal_sklearn(q):
    data = digits()
    ppca = PPCA(64, q)
    ppca.solve(data.train)
    peer = decomposition.PCA(q).fit(data.train.double().numpy())
    n = data.train.shape[0]
    # scikit-learn divides the covariance by N − 1: give it its own, then compare at equal parameters
    closed = problems.ppca_log_likelihood(
        np.linalg.eigvalsh(np.cov(data.train.double().numpy().T, bias=True)), q
    )
    assert ppca.log_prob(data.train).mean().value == pytest.approx(closed, abs=1e-3)
    assert peer.noise_variance_ * (n - 1) / n == pytest.approx(ppca.variance.item(), rel=1e-5)
    assert ppca.log_prob(data.test).mean().value == pytest.approx(
        peer.score(data.test.double().numpy()), abs=5e-3
    )


def test_em_climbs_to_the_closed_form():
    best, x = solved(mean=1.5)
    ppca = PPCA(5, 2, objective=EM()).double()
    player = ppca.objective.players(ppca)[0]
    losses = [player.update(x, None).item() for _ in range(300)]
    assert all(b <= a + 1e-12 for a, b in pairwise(losses))
    assert losses[-1] == pytest.approx(-best.log_prob(x).mean().value, abs=1e-9)


def test_gradient_reaches_the_closed_form():
    best, x = solved()
    ppca = PPCA(5, 2).double()
    loss = MaximumLikelihood().players(ppca)[0].loss
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(800):
        optimiser.zero_grad()
        value = loss(x)
        value.backward()
        optimiser.step()
    assert value.item() == pytest.approx(-best.log_prob(x).mean().value, abs=1e-4)


def test_more_features_than_examples():
    ppca = PPCA(50, 2)
    ppca.solve(torch.randn(10, 50))
    assert ppca.log_prob(torch.randn(3, 50)).value.isfinite().all()


@pytest.mark.parametrize("q", [0, 5, 6, -1])
def test_refuses_latents(q):
    with pytest.raises(ArgumentError, match="latents < features"):
        PPCA(5, q)


def test_refuses_data_on_a_plane():
    ppca = PPCA(5, 2)
    before = ppca.weight.detach().clone()
    with pytest.raises(ArgumentError, match="no maximum"):
        ppca.solve(torch.randn(100, 2) @ torch.randn(2, 5))
    assert torch.equal(ppca.weight, before)
    with pytest.raises(ArgumentError, match="no maximum"):
        ppca.solve(torch.ones(1, 5))


@pytest.mark.parametrize("objective", [MaximumLikelihood(), ELBO(), IWAE(3)])
def test_losses_trace_with_a_symbolic_batch(objective):
    assert traces_with_symbolic_batch(PPCA(5, 2), objective, torch.randn(8, 5))
