from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests.conditional_problems import SCHEDULE, MixturePosterior, gaussian_prior, labelled_diffusion
from unigen.dynamics.observation import Inpainting, LinearObservation
from unigen.dynamics.posterior_guidance import DPS, remaining_spread, twist
from unigen.errors import ArgumentError, ShapeError
from unigen.nn.residual import ResidualMLP

OBSERVATION = LinearObservation(torch.tensor([[1.0, 0.5]]).double(), torch.tensor([1.2]).double(), 0.4)
ONE = torch.ones(1, dtype=torch.float64)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_the_gradient_is_that_of_the_likelihood_at_the_mean(spread):
    """By central differences, at a spread that depends on t."""
    denoiser, t = labelled_diffusion(0).denoiser, torch.tensor(0.5).double()
    likelihood = OBSERVATION.in_unit(denoiser.loc, denoiser.scale)
    z, h = torch.randn(4, 2).double(), 1e-5
    value, slope, pair = twist(denoiser, likelihood, z, t, None, spread)
    r = spread * SCHEDULE.sigma(t)  # variance preserving: r_t = sigma

    def at(z: torch.Tensor) -> torch.Tensor:
        return likelihood(denoiser(z, t)[0], r)

    torch.testing.assert_close(value, at(z))
    torch.testing.assert_close(pair[0], denoiser(z, t)[0])
    for i in range(2):
        step = h * torch.eye(2).double()[i]
        torch.testing.assert_close(slope[:, i], (at(z + step) - at(z - step)) / (2 * h), rtol=1e-6, atol=1e-6)


def test_what_remains_unknown_of_standard_normal_data():
    """Var(u | z_t) = sigma² / (alpha² + sigma²) = 1 / (1 + SNR)."""
    t = torch.linspace(0.0, 1.0, 7).double()
    wanted = 1.0 / (1.0 + torch.exp(SCHEDULE.log_snr(t)))
    torch.testing.assert_close(remaining_spread(t, SCHEDULE).square(), wanted)


def test_allowing_for_the_spread_is_exact_for_standard_normal_data():
    """The guided score is that of p_t(z | y), whose u given y is normal with the posterior's moments."""
    prior = gaussian_prior(0.0, 1.0, 2)
    truth = MixturePosterior(ONE, torch.zeros(1, 2).double(), ONE, OBSERVATION)
    guided, z = ug.Guided(prior, DPS(OBSERVATION, spread=1.0)).denoiser, torch.randn(5, 2).double()
    for t in torch.tensor([0.1, 0.5, 0.9]).double():
        alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
        covariance = alpha**2 * truth.covariances[0] + sigma**2 * torch.eye(2).double()
        wanted = -torch.linalg.solve(covariance, (z - alpha * truth.means[0]).T).T
        torch.testing.assert_close(guided.score(t, z), wanted, rtol=1e-7, atol=1e-7)


def test_draws_of_standard_normal_data_are_of_the_posterior_and_without_the_spread_are_not():
    """z-tests of the mean of n draws by the same sampler: one passes at 5 standard errors, the other is far off."""
    n, prior = 4000, gaussian_prior(0.0, 1.0, 2)
    truth = MixturePosterior(ONE, torch.zeros(1, 2).double(), ONE, OBSERVATION)
    errors = []
    for spread in (1.0, 0.0):
        x = ug.Guided(prior, DPS(OBSERVATION, spread=spread)).sample(n, sampler=ug.DPMSolver(60))
        errors.append(float(((x.mean(0) - truth.mean) / (x.std(0) / n**0.5)).abs().max()))
    assert errors[0] < 5.0 < errors[1]


def test_examples_of_any_shape_and_scale_are_guided():
    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0] = True
    network = ResidualMLP(4, hidden=8, blocks=1)  # zero at first: the optimal one for N(0, I)

    class Image(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, z, t):
            return self.inner(z.flatten(1), t).reshape(z.shape)

    program = ug.Diffusion((1, 2, 2), network=Image())
    program.denoiser.standardise(torch.randn(40, 1, 2, 2) * 2.0 + 3.0)
    image = torch.full((1, 2, 2), 4.0)
    x = ug.Guided(program, DPS(Inpainting(mask, image, 0.05), spread=1.0)).sample(
        64, sampler=ug.DDIM(50, eta=1.0)
    )
    assert x.shape == (64, 1, 2, 2)
    assert float((x[:, 0, 0] - 4.0).abs().max()) < 0.5
    assert float((x[:, 0, 1] - program.denoiser.loc[0, 1]).std()) > 1.0


def test_guidance_is_stacked():
    """A label by classifier-free guidance, then an observation."""
    given = ug.Guided(labelled_diffusion(), ug.ClassifierFree(1.0))
    both = ug.Guided(given, DPS(OBSERVATION, spread=1.0))
    label = torch.tensor([[0.0, 1.0, 0.0]]).double()
    x = both.sample(2000, label, sampler=ug.DPMSolver(30))
    assert float((x @ OBSERVATION.matrix.T - 1.2).mean().abs()) < 0.3
    assert both.context_features == 3


def test_misuse_is_refused():
    program = gaussian_prior(0.0, 1.0, 3)
    with pytest.raises(ShapeError, match="one column a feature"):
        ug.Guided(program, DPS(OBSERVATION))
    with pytest.raises(ArgumentError, match="scale"):
        DPS(OBSERVATION, scale=-1.0)
    with pytest.raises(ArgumentError, match="scale"):
        DPS(OBSERVATION, spread=-1.0)
    with pytest.raises(ArgumentError, match="observation"):
        DPS(torch.zeros(2))  # pyright: ignore[reportArgumentType]
