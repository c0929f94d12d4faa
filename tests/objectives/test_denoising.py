"""Oracles: the floor of the loss of a mixture, the bound of the optimal network, errors computed by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tests.diffusion_problems import gaussian_ddpm, gaussian_diffusion, mixture_diffusion
from unigen.dynamics.prediction import V
from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.dynamics.times import AntitheticTimes, LowDiscrepancyTimes, UniformTimes
from unigen.errors import ArgumentError
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.objectives.denoising import (
    DenoisingScoreMatching,
    SubsampledELBO,
)
from unigen.objectives.weighting import (
    DataWeighting,
    LikelihoodWeighting,
    NoiseWeighting,
    ScoreWeighting,
    VelocityWeighting,
    VWeighting,
)


def loss_of(program, *options):
    return DenoisingScoreMatching(*options).players(program)[0].loss


def small_network(program: Diffusion) -> Diffusion:
    with torch.no_grad():
        program.denoiser.network.output.weight.normal_(0, 0.3)
    return program


def test_theorem_10_floor_of_a_grid_of_gaussians():
    """3 × 3 grid, spacing 6, sd 1.5, VP .1→20, weight sigma_t², uniform t: floor .523113 a dimension."""
    centres = torch.tensor(list(itertools.product((-6.0, 0.0, 6.0), repeat=2)), dtype=torch.float64)
    loss = loss_of(mixture_diffusion(VPLinear(), centres, 1.5, start=1e-5), NoiseWeighting())
    values = []
    for _ in range(12):
        x = centres[torch.randint(9, (20_000,))]
        with torch.no_grad():
            values.append(loss(x + 1.5 * torch.randn_like(x)) / 2)
    values = torch.stack(values)
    assert abs(float(values.mean()) - 0.523113) < 5 * float(values.std()) / math.sqrt(12)


@pytest.mark.parametrize("times", [UniformTimes(), LowDiscrepancyTimes(), AntitheticTimes()], ids=repr)
@pytest.mark.parametrize("schedule", [LogLinearSNR(1e3, 1e-3), VPCosine(1e3, 1e-3)], ids=repr)
def test_likelihood_weighting_of_the_optimal_network_bounds_the_entropy_tightly(schedule, times):
    """−ELBO of N(0, s²) data: entropy + KL(q(x | z_0) ‖ p) + KL(q(z_1) ‖ N(0, 1)), all Gaussian."""
    s, n = 1.3, 200_000
    loss = loss_of(gaussian_diffusion(schedule, std=s), LikelihoodWeighting(), times)
    with torch.no_grad():
        value = torch.stack([loss(s * torch.randn(n // 10, 1, dtype=torch.float64)) for _ in range(10)])
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    total = alpha**2 * s**2 + sigma**2
    noise, posterior = (sigma[0] / alpha[0]) ** 2, s**2 * sigma[0] ** 2 / total[0]
    shift = (alpha[0] * s**2 / total[0] - 1 / alpha[0]) ** 2 * total[
        0
    ]  # mean squared error of the decoder's mean
    decoder = 0.5 * ((posterior + shift) / noise - 1 + torch.log(noise / posterior))
    prior = 0.5 * (total[1] - 1 - torch.log(total[1]))
    expected = 0.5 * math.log(2 * math.pi * math.e * s**2) + float(decoder + prior)
    assert abs(float(value.mean()) - expected) < 5 * float(value.std()) / math.sqrt(10)


def by_hand(program, x, error):
    """Mean squared error of what the network predicts, summed over the event, with the random numbers of the loss."""
    denoiser = program.denoiser
    t, eps = LowDiscrepancyTimes().draw(x), torch.randn_like(x)
    u = denoiser.to_unit(x)
    z = denoiser.perturb(u, t, eps)
    return error(denoiser, u, eps, z, t).square().sum(1).mean()


def v_error(denoiser, u, eps, z, t):
    return V().value(u, eps, t, denoiser.schedule) - denoiser.network(z, t)


def data_error(denoiser, u, eps, z, t):
    return u - denoiser(z, t)[0]


def noise_error(denoiser, u, eps, z, t):
    return eps - denoiser(z, t)[1]


def score_error(denoiser, u, eps, z, t):
    return -eps / denoiser.schedule.sigma(t)[:, None] - denoiser.score(t, z)


def velocity_error(denoiser, u, eps, z, t):
    """The slope of the path, against the field that the probability-flow ODE follows."""
    alpha_rate, sigma_rate = (
        denoiser.schedule.alpha_rate(t)[:, None],
        denoiser.schedule.sigma_rate(t)[:, None],
    )
    field = denoiser.field()
    return alpha_rate * u + sigma_rate * eps - torch.cat([field(t[i], z[i : i + 1]) for i in range(len(t))])


@pytest.mark.parametrize(
    ("weighting", "error"),
    [
        (VWeighting(), v_error),
        (DataWeighting(), data_error),
        (NoiseWeighting(), noise_error),
        (ScoreWeighting(), score_error),
        (VelocityWeighting(), velocity_error),
    ],
    ids=["v", "data", "noise", "score", "velocity"],
)
def test_weightings_are_the_errors_they_are_named_for(weighting, error):
    program = small_network(Diffusion(3, schedule=VPCosine(1e3, 1e-3), hidden=16, blocks=1)).double()
    x = torch.randn(64, 3, dtype=torch.float64)
    torch.manual_seed(5)
    value = loss_of(program, weighting)(x)
    torch.manual_seed(5)
    torch.testing.assert_close(value, by_hand(program, x, error))


def test_likelihood_loss_is_minus_the_mean_bound():
    program = small_network(Diffusion(3, hidden=16, blocks=1)).double()
    program.initialise(torch.randn(100, 3, dtype=torch.float64) * 3 + 1)
    x = torch.randn(64, 3, dtype=torch.float64)
    torch.manual_seed(5)
    value = loss_of(program)(x)
    torch.manual_seed(5)
    torch.testing.assert_close(value, -program.surrogate(x).mean())


def test_gradients_reach_every_parameter():
    program = small_network(Diffusion(3, hidden=16, blocks=2, context=2))
    player = DenoisingScoreMatching().players(program)[0]
    player.loss(torch.randn(32, 3), torch.randn(32, 2)).backward()
    assert set(player.parameters) == {f"program.{name}" for name, _ in program.named_parameters()}
    for name, parameter in program.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


def test_the_loss_is_traced_with_a_symbolic_batch_size():
    from torch.fx.experimental.proxy_tensor import make_fx

    program = small_network(Diffusion(3, hidden=16, blocks=1)).double()
    loss = loss_of(program)
    graph = make_fx(lambda x: loss(x), tracing_mode="symbolic", _allow_non_fake_inputs=True)(
        torch.randn(16, 3, dtype=torch.float64)
    )
    x = torch.randn(24, 3, dtype=torch.float64)
    torch.manual_seed(2)
    traced = graph(x)
    torch.manual_seed(2)
    torch.testing.assert_close(traced, loss(x))


def test_subsampled_elbo_is_the_surrogate():
    program, x = gaussian_ddpm(LogLinearSNR(), steps=5), torch.randn(32, 1, dtype=torch.float64)
    loss = SubsampledELBO().players(program)[0].loss
    torch.manual_seed(1)
    value = loss(x)
    torch.manual_seed(1)
    torch.testing.assert_close(value, -program.surrogate(x).mean())


def test_only_a_diffusion_can_be_trained_by_denoising():
    with pytest.raises(ArgumentError, match="Diffusion"):
        DenoisingScoreMatching().players(PPCA(3, 1))
