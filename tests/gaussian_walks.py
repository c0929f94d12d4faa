"""Walks on Gaussian data by hand: every state is an affine function of a constant and of independent noises."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from unigen.dynamics.schedule import LogLinearSNR, Schedule
from unigen.models.diffusion import Diffusion
from unigen.samplers.grid_sampler import GridSampler

TIMES = (1.0, 0.8, 0.55, 0.4, 0.15, 0.0)  # few and uneven, so that a wrong formula shows
SCHEDULE = LogLinearSNR(200.0, 1e-2)
NOISES = 32


class ByHand:
    """Coefficients of states on (1, ξ_1, ξ_2, …), with the levels of a schedule at some times."""

    def __init__(self, schedule: Schedule, mean: float, std: float, times: tuple[float, ...] = TIMES) -> None:
        t = torch.tensor(times, dtype=torch.float64)
        self.alpha, self.sigma = schedule.alpha(t).tolist(), schedule.sigma(t).tolist()
        self.mean, self.std, self.used = mean, std, 0

    def constant(self, value: float) -> Tensor:
        state = torch.zeros(NOISES, dtype=torch.float64)
        state[0] = value
        return state

    def noise(self) -> Tensor:
        self.used += 1
        state = torch.zeros(NOISES, dtype=torch.float64)
        state[self.used] = 1.0
        return state

    def eps(self, z: Tensor, alpha: float, sigma: float) -> Tensor:
        """E[eps | z], by the regression of eps on z."""
        return sigma / (alpha**2 * self.std**2 + sigma**2) * (z - self.constant(alpha * self.mean))

    def data(self, z: Tensor, alpha: float, sigma: float) -> Tensor:
        """E[u | z], by the regression of u on z."""
        gain = alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)
        return self.constant(self.mean) + gain * (z - self.constant(alpha * self.mean))


def check_moments(program: Diffusion, sampler: GridSampler, state: Tensor, n: int = 40_000) -> None:
    """The draws have mean and variance of x = state / alpha at the end, to 5 standard errors."""
    times = sampler.times.times(sampler.steps, program.denoiser.schedule, program.denoiser.start)
    state = state / program.denoiser.schedule.alpha(times[-1])
    mean, variance = float(state[0]), float(state[1:].square().sum())
    x = program.sample(n, sampler=sampler)
    assert abs(float(x.mean()) - mean) < 5 * math.sqrt(variance / n) + 1e-12
    assert abs(float(x.var()) / variance - 1) < 5 * math.sqrt(2 / n)


def order(errors: list[float]) -> float:
    """Order of convergence fitted to errors at step counts that double."""
    halvings = torch.arange(len(errors), dtype=torch.float64)
    y = -torch.log2(torch.tensor(errors, dtype=torch.float64))
    centred = halvings - halvings.mean()
    return float((centred * y).sum() / centred.square().sum())


@torch.no_grad()
def fitted_order(program: Diffusion, std: float, samplers: Sequence[GridSampler]) -> float:
    """Order of convergence to the exact flow z_1 √(v_start / v_1) of N(0, std²) data, v = alpha² std² + sigma²."""
    denoiser = program.denoiser
    ends = torch.tensor([denoiser.start, 1.0], dtype=torch.float64)
    alpha, sigma = denoiser.schedule.alpha(ends), denoiser.schedule.sigma(ends)
    v = alpha**2 * std**2 + sigma**2
    z = torch.randn(32, 1, dtype=torch.float64)
    exact = z * torch.sqrt(v[0] / v[1]) / alpha[0]
    return order([float((sampler.push(program, z) - exact).abs().max()) for sampler in samplers])


@torch.no_grad()
def weak_order(
    program: Diffusion, std: float, samplers: Sequence[GridSampler], monkeypatch: pytest.MonkeyPatch
) -> float:
    """Order of convergence of the variance of draws of N(0, std²) data, computed without sampling.

    The walk is linear in its noises: row j of the state carries the coefficient of noise j, and fresh noise is the unit
    vector of the next row.
    """
    denoiser, start = program.denoiser, torch.tensor(program.denoiser.start, dtype=torch.float64)
    exact = std**2 + float(torch.exp(-denoiser.schedule.log_snr(start)))
    errors = []
    for sampler in samplers:
        rows = iter(torch.eye(sampler.steps + 1, dtype=torch.float64).unsqueeze(-1))
        monkeypatch.setattr(torch, "randn_like", lambda _, rows=rows: next(rows))
        x = sampler.push(program, next(rows))
        errors.append(abs(float(x.square().sum()) - exact))
    monkeypatch.undo()
    return order(errors)
