"""Oracles: the table of w(λ) of Kingma & Gao 2023, and their theorem by quadrature."""

from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import gaussian_diffusion
from unigen.dynamics.interpolant import InterpolantSchedule, Linear
from unigen.dynamics.schedule import LogLinearSNR, VPCosine
from unigen.objectives.snr_weightings import MinSNRWeighting, P2Weighting, SigmoidWeighting
from unigen.objectives.weighting import (
    DataWeighting,
    LikelihoodWeighting,
    NoiseWeighting,
    ScoreWeighting,
    VelocityWeighting,
    VWeighting,
)

F64 = torch.float64
COSINE, STRAIGHT, LINEAR = VPCosine(1e5, 1e-5), InterpolantSchedule(Linear()), LogLinearSNR(1e5, 1e-5)


def denoiser_on(schedule):
    start = 0.01 if schedule is STRAIGHT else None
    options = {} if start is None else {"start": start}
    network = torch.nn.Identity()
    from unigen.dynamics.denoiser import Denoiser
    from unigen.dynamics.prediction import V

    return Denoiser(network, schedule, V(), (1,), **options)


@pytest.mark.parametrize(
    ("schedule", "weighting", "table"),
    [
        (COSINE, LikelihoodWeighting(), lambda snr: torch.ones_like(snr)),
        (COSINE, NoiseWeighting(), lambda snr: 1 / torch.cosh(snr / 2)),
        (COSINE, VWeighting(), lambda snr: torch.exp(-snr / 2)),
        (COSINE, DataWeighting(), lambda snr: torch.exp(-snr) / torch.cosh(snr / 2)),
        (COSINE, ScoreWeighting(), lambda snr: (1 + torch.exp(snr)) / torch.cosh(snr / 2)),
        (STRAIGHT, VelocityWeighting(), lambda snr: torch.exp(-snr / 2)),
        (STRAIGHT, NoiseWeighting(), lambda snr: torch.cosh(snr / 4) ** -2),
        (LINEAR, NoiseWeighting(), lambda snr: torch.ones_like(snr)),
        (LINEAR, VelocityWeighting(), lambda snr: torch.sigmoid(-snr)),
    ],
    ids=[
        "bound", "simple-cosine", "v-cosine", "data-cosine", "score-cosine", "flow-matching", "simple-straight",
        "simple-vdm", "velocity-vdm",
    ],
)  # fmt: skip
@torch.no_grad()
def test_implied_weights_are_those_of_the_table_up_to_a_factor(schedule, weighting, table):
    denoiser, t = denoiser_on(schedule), torch.linspace(0.05, 0.95, 31, dtype=F64)
    ratio = weighting.implied(denoiser, t) / table(schedule.log_snr(t))
    torch.testing.assert_close(ratio, ratio[:1].expand(31), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("schedule", "weighting", "monotone"),
    [
        (COSINE, LikelihoodWeighting(), True), (COSINE, NoiseWeighting(), False), (COSINE, VWeighting(), True),
        (COSINE, DataWeighting(), True), (COSINE, ScoreWeighting(), False), (STRAIGHT, VelocityWeighting(), True),
        (LINEAR, NoiseWeighting(), True), (LINEAR, ScoreWeighting(), False),
    ],
)  # fmt: skip
def test_monotone_weightings_are_found(schedule, weighting, monotone):
    assert weighting.monotone(denoiser_on(schedule)) is monotone


def test_only_the_likelihood_is_in_nats():
    assert LikelihoodWeighting().nats
    others = (NoiseWeighting, VWeighting, DataWeighting, ScoreWeighting, VelocityWeighting, MinSNRWeighting)
    assert not any(each().nats for each in (*others, P2Weighting, SigmoidWeighting))


@pytest.mark.parametrize("weighting", [VWeighting(), SigmoidWeighting(1.0)], ids=repr)
@torch.no_grad()
def test_a_monotone_weighting_is_a_mixture_of_bounds_for_noisy_data(weighting):
    """∫ weight E‖eps error‖² dt = w_0 L_0 + ∫ (dw/dt) L_t dt, L_t the diffusion term of data at time t.

    For N(0, s²) data E‖error‖² = s² alpha² / (s² alpha² + sigma²), L_t = ½ log (1 + s² SNR_t) / (1 + s² SNR_1).
    """
    s2, schedule = 4.0, VPCosine(1e3, 1e-3)
    denoiser = gaussian_diffusion(schedule, std=2.0).denoiser
    t = torch.linspace(0, 1, 200_001, dtype=F64)
    signal = s2 * schedule.alpha(t) ** 2
    error = signal / (signal + schedule.sigma(t) ** 2)
    left = torch.trapezoid(weighting.weight(denoiser, t) * error, t)
    snr = torch.exp(schedule.log_snr(t))
    bounds, w = 0.5 * torch.log((1 + s2 * snr) / (1 + s2 * snr[-1])), weighting.implied(denoiser, t)
    right = w[0] * bounds[0] + (torch.diff(w) * 0.5 * (bounds[1:] + bounds[:-1])).sum()
    assert float(left) == pytest.approx(float(right), rel=1e-6)
    assert bool((torch.diff(w) >= 0).all()), "so that the mixture's weights are positive"


def test_errors_weigh_what_their_formula_says():
    """Against alpha and sigma written out for the cosine schedule: alpha = cos θ, sigma = sin θ."""
    denoiser, t = denoiser_on(COSINE), torch.tensor([0.5], dtype=F64)
    at_half = {NoiseWeighting: 1.0, VWeighting: 2.0, DataWeighting: 1.0, ScoreWeighting: 2.0}
    for kind, value in at_half.items():
        assert float(kind().weight(denoiser, t)) == pytest.approx(value, rel=1e-12)
    speed = 0.5 * math.pi - 2 * math.atan(math.exp(-0.5 * math.log(1e5)))
    assert float(VelocityWeighting().weight(denoiser, t)) == pytest.approx(2 * speed**2, rel=1e-9)
