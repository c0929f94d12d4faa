from __future__ import annotations

import math

import pytest

from tests.diffusion_problems import gaussian_diffusion
from tests.gaussian_walks import SCHEDULE, TIMES, ByHand, check_moments
from unigen.errors import ArgumentError
from unigen.samplers.ddpm import DDPMAncestral

STEPS = len(TIMES) - 1


@pytest.mark.parametrize("variance", [0.0, 0.5, 1.0])
def test_moments_are_those_of_the_chain_of_ho(variance):
    """Equations 6 and 7 of the paper, with beta of a step from its ends, and log variances mixed."""
    hand = ByHand(SCHEDULE, mean=-1.0, std=0.5)
    z = hand.noise()
    for i in range(STEPS):
        bar_t, bar_s = hand.alpha[i] ** 2, hand.alpha[i + 1] ** 2
        beta = 1 - bar_t / bar_s
        small = (1 - bar_s) / (1 - bar_t) * beta
        u = hand.data(z, hand.alpha[i], hand.sigma[i])
        mean = math.sqrt(bar_s) * beta / (1 - bar_t) * u + math.sqrt(1 - beta) * (1 - bar_s) / (1 - bar_t) * z
        z = mean + math.sqrt(small ** (1 - variance) * beta**variance) * hand.noise()
    program = gaussian_diffusion(SCHEDULE, mean=-1.0, std=0.5)
    check_moments(program, DDPMAncestral(STEPS, variance, times=TIMES), z)


@pytest.mark.parametrize(("std", "variance"), [(0.0, 0.0), (1.0, 1.0)])
def test_either_variance_is_exact_for_its_own_data(std, variance):
    """Points with the posterior's, N(0, 1) with the forward step's: the noisy marginal at the end, in three steps."""
    program = gaussian_diffusion(SCHEDULE, std=std)
    hand = ByHand(SCHEDULE, mean=0.0, std=std)
    # a point starts from N(0, sigma²) rather than N(0, 1): what is left of the start shrinks with the SNR's fall
    left = (
        hand.sigma[-1] / hand.sigma[0] * hand.alpha[0] * hand.sigma[-1] / (hand.sigma[0] * hand.alpha[-1])
    ) ** 2
    variance_end = 1.0 if std else hand.sigma[-1] ** 2 + left * (1 - hand.sigma[0] ** 2)
    state = math.sqrt(variance_end) * hand.noise()
    check_moments(program, DDPMAncestral(3, variance, times=(1.0, 0.6, 0.3, 0.0)), state)


@pytest.mark.parametrize("variance", [-0.1, 1.1, math.nan])
def test_the_variance_is_a_fraction(variance):
    with pytest.raises(ArgumentError, match="variance"):
        DDPMAncestral(variance=variance)
