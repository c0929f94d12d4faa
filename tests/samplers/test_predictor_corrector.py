from __future__ import annotations

import math

import pytest
import torch

from tests.diffusion_problems import gaussian_diffusion
from tests.gaussian_walks import SCHEDULE, TIMES, ByHand, check_moments
from unigen.errors import ArgumentError
from unigen.samplers.ancestral import Ancestral
from unigen.samplers.ddim import DDIM
from unigen.samplers.dpm_solver import DPMSolver
from unigen.samplers.predictor_corrector import PredictorCorrector

STEPS = len(TIMES) - 1


def test_moments_are_those_of_the_two_recursions():
    """DDIM as the predictor, then two Langevin steps at the new level, by hand."""
    hand, snr = ByHand(SCHEDULE, mean=-1.0, std=0.5), 0.3
    z = hand.noise()
    for i in range(STEPS):
        u, eps = (f(z, hand.alpha[i], hand.sigma[i]) for f in (hand.data, hand.eps))
        alpha, sigma = hand.alpha[i + 1], hand.sigma[i + 1]
        z, h = alpha * u + sigma * eps, 2 * snr**2 * sigma**2
        for _ in range(2):
            score = (hand.constant(alpha * hand.mean) - z) / (alpha**2 * hand.std**2 + sigma**2)
            z = z + h * score + math.sqrt(2 * h) * hand.noise()
    program = gaussian_diffusion(SCHEDULE, mean=-1.0, std=0.5)
    check_moments(program, PredictorCorrector(DDIM(STEPS, times=TIMES), 2, snr), z)


def test_many_corrections_repair_a_coarse_predictor():
    """Stationary variance v / (1 − h / 2v) at the end, whatever the predictor left; v = alpha² std² + sigma²."""
    program, hand, snr = gaussian_diffusion(SCHEDULE, std=0.5), ByHand(SCHEDULE, 0.0, 0.5, (1.0, 0.3)), 0.5
    v = hand.alpha[1] ** 2 * 0.25 + hand.sigma[1] ** 2
    h = 2 * (snr * hand.sigma[1]) ** 2
    state = math.sqrt(v / (1 - h / (2 * v))) * hand.noise()
    check_moments(program, PredictorCorrector(DDIM(1, times=(1.0, 0.3)), 60, snr), state, n=20_000)


def test_without_corrections_it_is_the_predictor():
    program, z = gaussian_diffusion(SCHEDULE, std=0.5), torch.randn(5, 1, dtype=torch.float64)
    sampler = DPMSolver(6)
    assert torch.equal(PredictorCorrector(sampler, 0).push(program, z), sampler.push(program, z))


def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="predictor"):
        PredictorCorrector(Ancestral())  # pyright: ignore[reportArgumentType]
    for corrections, snr in ((-1, 0.1), (1, 0.0), (1, math.nan), (1, 1.0)):
        with pytest.raises(ArgumentError, match="snr"):
            PredictorCorrector(DDIM(), corrections, snr)
