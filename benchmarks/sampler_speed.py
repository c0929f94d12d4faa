"""What a sampler costs beside the loop one would write by hand, with the same network, steps and coefficients.

The loops by hand compute the levels of the schedule for all steps at once, before the first, and turn them into plain
numbers; a step is then its formula, with the coefficients of state and network collected.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import VPLinear
from unigen.models.diffusion import Diffusion
from unigen.samplers.ddim import DDIM
from unigen.samplers.ddpm import DDPMAncestral
from unigen.samplers.dpm_solver import DPMSolver
from unigen.samplers.edm import EDM
from unigen.samplers.grid_sampler import GridSampler
from unigen.samplers.predictor_corrector import PredictorCorrector
from unigen.samplers.reverse_sde import ReverseSDE

STEPS, WIDTH, BOUND = 200, 128, 1.1
SIZES = {"1 x 2": (1, 2, 7), "64 x 2": (64, 2, 7), "1024 x 64": (1024, 64, 5), "4096 x 64": (4096, 64, 3)}


class NoiseNetwork(nn.Module):
    """A plain MLP of (z, t) with two hidden layers, for eps."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dims + 1, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, dims)
        )

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """Noise, (N, D)."""
        return self.layers(torch.cat([z, t.unsqueeze(-1)], dim=1))


class ByHand:
    """Loops over levels known beforehand: signal a, noise s, λ = log a / s, times t from 1 to the start.

    Args:
        program: Whose network, schedule and start are used.
        sampler: Whose grid is used.
    """

    def __init__(self, program: Diffusion, sampler: GridSampler) -> None:
        schedule, start = program.denoiser.schedule, program.denoiser.start
        times = sampler.times.times(STEPS, schedule, start)
        self.network, self.dims = program.denoiser.network, program.event_shape[0]
        self.a, self.s = schedule.alpha(times).tolist(), schedule.sigma(times).tolist()
        self.half = [math.log(a / s) for a, s in zip(self.a, self.s, strict=True)]
        self.beta, self.times = schedule.diffusion_squared(times).tolist(), times.tolist()
        self.t = times.float().unbind()

    def eps(self, z: Tensor, i: int) -> Tensor:
        """The network at level i."""
        return self.network(z, self.t[i].expand(z.shape[0]))

    def begin(self, n: int) -> Tensor:
        """Noise."""
        return torch.randn(n, self.dims)

    @torch.no_grad()
    def ddim(self, n: int) -> Tensor:
        """DDIM, eta = 0."""
        z, a, s = self.begin(n), self.a, self.s
        for i in range(STEPS):
            kept = a[i + 1] / a[i]
            z = kept * z + (s[i + 1] - kept * s[i]) * self.eps(z, i)
        return z / a[-1]

    @torch.no_grad()
    def ancestral(self, n: int) -> Tensor:
        """DDPM with the posterior's variance."""
        z, a, s = self.begin(n), self.a, self.s
        for i in range(STEPS):
            fresh = -math.expm1(2.0 * (self.half[i] - self.half[i + 1]))
            kept = a[i + 1] / a[i]
            z = kept * z - (kept * s[i] * fresh) * self.eps(z, i)
            z = z + (s[i + 1] * math.sqrt(fresh)) * torch.randn_like(z)
        return z / a[-1]

    @torch.no_grad()
    def heun(self, n: int) -> Tensor:
        """EDM without churn."""
        z, a, s = self.begin(n), self.a, self.s
        for i in range(STEPS):
            length = a[i + 1] * (s[i + 1] / a[i + 1] - s[i] / a[i])
            kept, first = (a[i + 1] / a[i]) * z, self.eps(z, i)
            second = self.eps(kept + length * first, i + 1)
            z = kept + (0.5 * length) * (first + second)
        return z / a[-1]

    @torch.no_grad()
    def multistep(self, n: int) -> Tensor:
        """DPM-Solver++ (2M)."""
        z, a, s, half, before = self.begin(n), self.a, self.s, self.half, None
        for i in range(STEPS):
            u = (z - s[i] * self.eps(z, i)) / a[i]
            h = half[i + 1] - half[i]
            ahead = 0.0 if before is None else 0.5 * h / (half[i] - half[i - 1])
            data = u if before is None else (1.0 + ahead) * u - ahead * before
            z, before = (s[i + 1] / s[i]) * z - (a[i + 1] * math.expm1(-h)) * data, u
        return z / a[-1]

    @torch.no_grad()
    def multistep_sde(self, n: int) -> Tensor:
        """DPM-Solver++ (2M), SDE."""
        z, a, s, half, before = self.begin(n), self.a, self.s, self.half, None
        for i in range(STEPS):
            u = (z - s[i] * self.eps(z, i)) / a[i]
            h = half[i + 1] - half[i]
            ahead = 0.0 if before is None else 0.5 * h / (half[i] - half[i - 1])
            data, fresh = u if before is None else (1.0 + ahead) * u - ahead * before, -math.expm1(-2.0 * h)
            z = (s[i + 1] / s[i] * math.exp(-h)) * z + (a[i + 1] * fresh) * data
            z, before = z + (s[i + 1] * math.sqrt(fresh)) * torch.randn_like(z), u
        return z / a[-1]

    @torch.no_grad()
    def corrected(self, n: int) -> Tensor:
        """Ancestral steps with one Langevin correction."""
        z, a, s = self.begin(n), self.a, self.s
        for i in range(STEPS):
            fresh, kept = -math.expm1(2.0 * (self.half[i] - self.half[i + 1])), a[i + 1] / a[i]
            z = kept * z - (kept * s[i] * fresh) * self.eps(z, i)
            z = z + (s[i + 1] * math.sqrt(fresh)) * torch.randn_like(z)
            h = 2.0 * (0.16 * s[i + 1]) ** 2
            z = z - (h / s[i + 1]) * self.eps(z, i + 1)
            z = z + math.sqrt(2.0 * h) * torch.randn_like(z)
        return z / a[-1]

    @torch.no_grad()
    def euler_maruyama(self, n: int) -> Tensor:
        """The reverse SDE of a variance-preserving diffusion."""
        z, beta = self.begin(n), self.beta
        for i in range(STEPS):
            dt = self.times[i] - self.times[i + 1]
            z = (1.0 + 0.5 * beta[i] * dt) * z - (beta[i] * dt / self.s[i]) * self.eps(z, i)
            z = z + math.sqrt(beta[i] * dt) * torch.randn_like(z)
        return z / self.a[-1]


Loop = Callable[[ByHand, int], Tensor]
PAIRS: dict[str, tuple[GridSampler, Loop]] = {
    "DDIM": (DDIM(STEPS), ByHand.ddim),
    "DDPM": (DDPMAncestral(STEPS), ByHand.ancestral),
    "EDM (Heun)": (EDM(STEPS), ByHand.heun),
    "DPM-Solver++ 2M": (DPMSolver(STEPS), ByHand.multistep),
    "DPM-Solver++ 2M SDE": (DPMSolver(STEPS, sde=True), ByHand.multistep_sde),
    "predictor-corrector": (PredictorCorrector(DDPMAncestral(STEPS)), ByHand.corrected),
    "reverse SDE": (ReverseSDE(STEPS), ByHand.euler_maruyama),
}  # fmt: skip


def contenders(name: str, batch: int, dims: int) -> dict[str, Callable[[], Tensor]]:
    """The sampler and its loop by hand; they draw the same numbers.

    Raises:
        AssertionError: They do not.
    """
    torch.manual_seed(0)
    program = Diffusion(dims, network=NoiseNetwork(dims), schedule=VPLinear(), prediction=Eps())
    sampler, loop = PAIRS[name]
    work = {
        "by hand": lambda: loop(ByHand(program, sampler), batch),
        "unigen": functools.partial(program.sample, batch, sampler=sampler),
    }
    draws = []
    for each in work.values():
        torch.manual_seed(1)
        draws.append(each())
    torch.testing.assert_close(*draws, rtol=2e-2, atol=2e-2 * float(draws[0].abs().max()))
    return work
