"""Oracles: optimal networks of Gaussian data, and the mmse integral of the diffusion term."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.diffusion_problems import GaussianNoise, ZeroTerminal, gaussian_diffusion
from unigen.dynamics.denoiser import Denoiser, denoiser_of
from unigen.dynamics.prediction import X0, Eps, Score, V, Velocity
from unigen.dynamics.schedule import LogLinearSNR, VariancePreserving, VPCosine, VPLinear
from unigen.errors import ArgumentError, ShapeError

SCHEDULES = [VPLinear(), VPCosine(), LogLinearSNR()]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_score_of_the_optimal_network_is_that_of_the_marginal(schedule):
    denoiser = gaussian_diffusion(schedule, mean=0.7, std=2.0, dims=3).denoiser
    z, t = torch.randn(6, 3, dtype=torch.float64), torch.linspace(0.05, 1, 6, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
    score = -(z - alpha * 0.7) / (alpha**2 * 4 + sigma**2)
    torch.testing.assert_close(denoiser.score(t, z), score)
    torch.testing.assert_close(
        denoiser(z, t)[0], 0.7 + 4 * alpha / (alpha**2 * 4 + sigma**2) * (z - alpha * 0.7)
    )


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@torch.no_grad()
def test_the_diffusion_term_is_the_mmse_integral(schedule):
    """½∫ mmse dSNR = ½ log((1 + s² SNR_start) / (1 + s² SNR_1)) for N(0, s²) data."""
    denoiser, n = gaussian_diffusion(schedule, std=2.0).denoiser, 200_000
    u, eps = 2 * torch.randn(n, 1, dtype=torch.float64), torch.randn(n, 1, dtype=torch.float64)
    t = denoiser.at((torch.rand(1, dtype=torch.float64) + torch.arange(n) / n) % 1)
    terms = denoiser.likelihood_weight(t) * denoiser.noise_error(u, t, eps)
    snr = torch.exp(schedule.log_snr(torch.tensor([denoiser.start, 1.0], dtype=torch.float64)))
    expected = 0.5 * torch.log((1 + 4 * snr[0]) / (1 + 4 * snr[1]))
    assert abs(float((terms.mean() - expected) / (terms.std() / math.sqrt(n)))) < 5


@torch.no_grad()
def test_theorem_13_continuous_limit():
    denoiser, n = gaussian_diffusion(LogLinearSNR(1e3, 1e-4), std=2.0).denoiser, 400_000
    u, eps = 2 * torch.randn(n, 1, dtype=torch.float64), torch.randn(n, 1, dtype=torch.float64)
    t = (torch.rand(1, dtype=torch.float64) + torch.arange(n) / n) % 1
    terms = denoiser.likelihood_weight(t) * denoiser.noise_error(u, t, eps)
    assert abs(float(terms.mean()) - 4.146950) < 5 * float(terms.std()) / math.sqrt(n)


def test_prior_and_reconstruction_terms_are_gaussian_integrals():
    schedule = LogLinearSNR(50.0, 0.3)
    denoiser = gaussian_diffusion(schedule, dims=3).denoiser
    u = torch.randn(5, 3, dtype=torch.float64)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    prior = torch.distributions.kl_divergence(
        torch.distributions.Normal(alpha[1] * u, sigma[1]), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(denoiser.prior_term(u), prior.sum(1))
    entropy = torch.distributions.Normal(0.0, sigma[0] / alpha[0]).entropy() * 3
    torch.testing.assert_close(denoiser.reconstruction_term(u), entropy.expand(5))


def test_unit_coordinates_change_the_volume():
    x = torch.randn(4000, 3, dtype=torch.float64) * torch.tensor([0.1, 1.0, 7.0]) + 5.0
    denoiser = gaussian_diffusion(LogLinearSNR(), dims=3).denoiser
    denoiser.standardise(x)
    u = denoiser.to_unit(x)
    torch.testing.assert_close(u.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(u.var(0, correction=0), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(denoiser.from_unit(u), x)
    jacobian = torch.autograd.functional.jacobian(denoiser.from_unit, u[0])
    torch.testing.assert_close(denoiser.log_volume(), torch.logdet(jacobian))
    denoiser.standardise(x, each=False)
    assert denoiser.scale.unique().numel() == 1


def test_a_constant_feature_keeps_a_positive_scale():
    x = torch.cat([torch.randn(50, 1), torch.full((50, 1), 3.0)], 1).double()
    denoiser = gaussian_diffusion(LogLinearSNR(), dims=2).denoiser
    denoiser.standardise(x)
    assert float(denoiser.scale.min()) > 1e-4


@pytest.mark.parametrize("prediction", [X0(), Eps(), V()], ids=repr)
def test_the_bound_is_differentiable_in_the_data(prediction):
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).double()

    class Timeless(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, z, t):
            return self.network(z)

    denoiser = Denoiser(Timeless(), LogLinearSNR(20.0, 0.1), prediction, (2,)).double()
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    t, eps = torch.tensor([0.1, 0.5, 0.9]).double(), torch.randn(3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda y: denoiser.bound(y, t, eps), x)


def test_misuse_is_refused():
    class Narrow(nn.Module):
        def forward(self, z, t):
            return z[:, :1]

    with pytest.raises(ArgumentError, match="without noise"):
        Denoiser(Narrow(), VPLinear(), V(), (2,), start=0.0)
    with pytest.raises(ArgumentError, match="start"):
        Denoiser(Narrow(), VPLinear(), V(), (2,), start=1.0)
    with pytest.raises(ShapeError, match="keeps the shape"):
        Denoiser(Narrow(), VPLinear(), V(), (2,))(torch.randn(3, 2), torch.rand(3))
    with pytest.raises(ArgumentError, match="Diffusion"):
        denoiser_of(nn.Linear(2, 2))
    assert Denoiser(Narrow(), VPLinear(), V(), (2,)).start == 1e-3
    assert GaussianNoise(VPLinear()).mean == 0.0


def test_a_schedule_that_turns_back_is_refused():
    class Bumpy(VariancePreserving):
        def rate(self, t):
            return 2.0 + 0.0 * t

        def integrated_rate(self, t):
            return 0.1 + torch.sin(3.0 * t)

    with pytest.raises(ArgumentError, match=r"must fall strictly.*no fall after"):
        Denoiser(nn.Identity(), Bumpy(), V(), (2,))


@pytest.mark.parametrize("prediction", [Eps(), Score(), Velocity()], ids=repr)
def test_a_prediction_that_divides_by_no_signal_is_refused(prediction):
    with pytest.raises(ArgumentError, match=r"no signal at t = 1.*V\(\)"):
        Denoiser(nn.Identity(), ZeroTerminal(), prediction, (2,))
    for fine in (X0(), V()):
        Denoiser(nn.Identity(), ZeroTerminal(), fine, (2,))
