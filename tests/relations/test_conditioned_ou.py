"""The conditioned Ornstein–Uhlenbeck process against dense Gaussian conditioning by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import problems
from unigen.dynamics.solver_grid import solver_grid
from unigen.relations.conditioned_ou import Conditioned, elbo_by_moments, gp_evidence, start

THETA, MU, SIGMA, NOISE = 0.7, 0.2, 0.6, 0.4
TIMES, VALUES = (0.0, 0.3, 1.0, 1.2), (0.5, -0.1, 0.8, 0.3)


def conditioned(factor=1.0, dt=0.1):
    return Conditioned(solver_grid(TIMES, dt), VALUES, THETA, MU, SIGMA, NOISE, factor)


def log_future(z, t):
    """log p(x_i, t_i > t | z_t = z): the means decay from z, the covariance is what the noise adds since t."""
    later = [(s, x) for s, x in zip(TIMES, VALUES, strict=True) if s > t]
    s, x = np.array([a for a, _ in later]), np.array([b for _, b in later])
    mean = MU + (z - MU) * np.exp(-THETA * (s - t))
    gap, both = np.abs(s[:, None] - s), (s[:, None] - t) + (s - t)
    covariance = SIGMA**2 / (2 * THETA) * (np.exp(-THETA * gap) - np.exp(-THETA * both))
    return float(problems.gaussian_log_density(x, mean, covariance + NOISE**2 * np.eye(s.size))[0])


@pytest.mark.parametrize("t", [0.0, 0.15, 0.3, 0.9, 1.1])
def test_the_control_is_the_slope_of_what_is_to_come(t):
    control, z, h = conditioned(), 0.37, 1e-4
    slope = SIGMA * (log_future(z + h, t) - log_future(z - h, t)) / (2 * h)
    found = control(torch.tensor([[z]], dtype=torch.float64), torch.tensor(t, dtype=torch.float64))
    assert float(found) == pytest.approx(slope, abs=1e-6)
    assert float(conditioned(0.5)(torch.tensor([[z]]).double(), torch.tensor(t).double())) == pytest.approx(
        slope / 2, abs=1e-6
    )


def dense():
    t = np.array(TIMES)
    return SIGMA**2 / (2 * THETA) * np.exp(-THETA * np.abs(t[:, None] - t))


def test_evidence_and_start_are_those_of_the_dense_gaussian():
    kernel, x = dense(), np.array(VALUES)
    total = kernel + NOISE**2 * np.eye(4)
    truth = problems.gaussian_log_density(x, np.full(4, MU), total)[0]
    assert gp_evidence(TIMES, VALUES, THETA, MU, SIGMA, NOISE) == pytest.approx(float(truth), abs=1e-12)
    gain = np.linalg.solve(total, kernel[:, 0])
    loc, scale = start(conditioned())
    assert float(loc) == pytest.approx(MU + gain @ (x - MU), abs=1e-12)
    assert float(scale) ** 2 == pytest.approx(kernel[0, 0] - gain @ kernel[:, 0], abs=1e-12)


def test_the_elbo_is_below_the_evidence_and_largest_at_the_exact_control():
    truth = gp_evidence(TIMES, VALUES, THETA, MU, SIGMA, NOISE)
    found = {f: elbo_by_moments(conditioned(f, dt=0.002), VALUES, NOISE) for f in (0.0, 0.8, 1.0, 1.2)}
    assert truth - 0.01 < found[1.0] < truth
    assert max(found, key=lambda f: found[f]) == 1.0
