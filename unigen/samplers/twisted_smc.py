"""Twisted diffusion sampling: draws of p(x | y) by weighted particles on the reverse chain of a diffusion.

    z_s ~ q = N(mean of DDPM with u_hat' in place of u_hat, std²),
    u_hat' = u_hat + (sigma² / alpha) ∇ log p~(y | z_t),
    log w += log p(z_s | z_t) − log q(z_s | z_t) + log p~(y | z_s) − log p~(y | z_t)

with the twist p~(y | z_t) = N(y; A u_hat(z_t), noise² I + (spread r_t)² A Aᵀ), and p(y | x) itself at the end.
Notation as in `ddpm.py` and `unigen.dynamics.posterior_guidance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.flow_denoiser import denoiser_behind
from unigen.dynamics.guidance import Pair, check_scale, shifted
from unigen.dynamics.observation import Observation
from unigen.dynamics.particles import Particles
from unigen.dynamics.posterior_guidance import twist
from unigen.dynamics.unit_flow import sum_events
from unigen.errors import ArgumentError, NonFiniteError
from unigen.program import Program
from unigen.samplers.ddpm import DDPMAncestral
from unigen.samplers.grids import EqualLogSNR, Grid
from unigen.samplers.progress import Progress, Told, check_progress, telling
from unigen.samplers.smc import PosteriorSMC
from unigen.samplers.weighted_draws import WeightedDraws


@final
class TwistedSMC(PosteriorSMC):
    """Draws of p(x | y) from any diffusion or flow matching program, asymptotically exact where DPS is biased.

    As the number of particles grows, the weighted draws are those of p(x) p(y | x) / p(y) with p(x) the law of
    ``DDPMAncestral(steps, variance, times)``, whatever the twist; the more steps, the closer that is to the program.

    Args:
        observation: A ``LinearObservation``, an ``Inpainting``, or a function x (N, *event) -> log p(y | x) (N,).
        particles: K.
        steps: Number of steps, one pass of the network forward and back each.
        spread: Multiple of r_t that the twist allows for: 1 as if the data were N(0, I) in unit coordinates, 0 the
            twist of Wu et al. It moves the effective sample size, not the limit.
        variance: Of the reverse chain, as in ``DDPMAncestral``: 0 the posterior's, 1 the forward step's.
        threshold: Resample when the effective sample size is below this fraction of K.
        times: Where to stop: a grid, or the steps + 1 times.
        progress: Called with (steps begun, steps); True: a bar; "auto": a bar on a terminal, for walks over a second.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Wu, Trippe, Naesseth, Blei & Cunningham 2023, Practical and asymptotically exact conditional sampling in
        diffusion models.

    Example:
        >>> import unigen as ug
        >>> first = ug.Inpainting(torch.tensor([True, False]), torch.tensor([1.0, 0.0]), noise=0.1)
        >>> found = TwistedSMC(first, particles=8, steps=5).posterior(ug.Diffusion(2, hidden=8, blocks=1))
        >>> found.draws.shape, found.ess.shape, found.log_evidence.kind
        (torch.Size([8, 2]), torch.Size([7]), <Kind.ESTIMATE: 'estimate'>)
    """

    def __init__(
        self,
        observation: Observation | Callable[[Tensor], Tensor],
        particles: int = 256,
        steps: int = 100,
        *,
        spread: float = 1.0,
        variance: float = 0.0,
        threshold: float = 0.5,
        times: Grid | Sequence[float] | Tensor = EqualLogSNR(),
        progress: Progress = "auto",
    ) -> None:
        super().__init__(observation, particles, threshold)
        chain = DDPMAncestral(steps, variance, times)  # checks them
        self.steps, self.variance, self.times = chain.steps, chain.variance, chain.times
        self.spread, self.progress = check_scale("TwistedSMC", spread), check_progress(progress, "TwistedSMC")

    def walk(self, program: Program, particles: int, context: Tensor | None) -> WeightedDraws:
        """Carry particles from noise to data.

        Raises:
            ArgumentError: The program has no denoiser, its schedule has no signal at t = 1, or the times do not fit it.
            ShapeError: The observation is not of such examples.
            NonFiniteError: The walk left the finite numbers.
        """
        denoiser = denoiser_behind(program)
        self.observation.check(denoiser.loc)
        with telling(self.progress, type(self).__name__) as tell:
            return _Walk(self, denoiser, context).go(particles, tell)


class _Stop(NamedTuple):
    """A time, and what the schedule says there in float64: signal, noise, and log (alpha / sigma)."""

    time: Tensor
    alpha: float
    sigma: float
    half_log_snr: float


def _stops(denoiser: Denoiser, times: Tensor) -> list[_Stop]:
    """The levels of noise at times (K + 1,), float64."""
    schedule, times = denoiser.schedule, times.to(denoiser.loc.device)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    columns = (part.expand_as(times).tolist() for part in (alpha, sigma, 0.5 * schedule.log_snr(times)))
    return [_Stop(*row) for row in zip(times.to(denoiser.loc.dtype).unbind(), *columns, strict=True)]


class _Walk:
    """One run: the levels, the likelihood, and the steps between."""

    def __init__(self, sampler: TwistedSMC, denoiser: Denoiser, context: Tensor | None) -> None:
        self.sampler, self.denoiser, self.context = sampler, denoiser, context
        times = sampler.times.times(sampler.steps, denoiser.schedule, denoiser.start)
        self.levels = _stops(denoiser, times)
        self.likelihood = sampler.observation.in_unit(denoiser.loc, denoiser.scale)

    def go(self, number: int, tell: Told | None) -> WeightedDraws:
        """Carry the particles through all levels."""
        loc = self.denoiser.loc
        z = torch.randn(number, *loc.shape, dtype=loc.dtype, device=loc.device)
        particles = Particles(number, z)
        log_twist, slope, pair = self._twist(z, 0)
        particles.weigh(log_twist)
        for i in range(self.sampler.steps):
            if tell is not None:
                tell(i, self.sampler.steps)
            ancestors = particles.resample(self.sampler.threshold)
            if ancestors is not None:
                z, log_twist, slope, *pair = (part[ancestors] for part in (z, log_twist, slope, *pair))
            z, correction = self._move(z, slope, (pair[0], pair[1]), i)
            before = log_twist
            log_twist, slope, pair = self._twist(z, i + 1)
            particles.weigh(correction + log_twist - before)
        if tell is not None:
            tell(self.sampler.steps, self.sampler.steps)
        return self._end(z, log_twist, particles)

    def _twist(self, z: Tensor, i: int) -> tuple[Tensor, Tensor, Pair]:
        level, spread = self.levels[i], self.sampler.spread
        value, slope, pair = twist(self.denoiser, self.likelihood, z, level.time, self.context, spread)
        if not bool(torch.isfinite(pair[0]).all()):
            raise NonFiniteError(
                "the walk diverged", site="x", hint="more steps, or a network that was trained"
            )
        return value, slope.nan_to_num(nan=0.0), pair

    def _move(self, z: Tensor, slope: Tensor, pair: Pair, i: int) -> tuple[Tensor, Tensor]:
        """Propose z_s, and give log p(z_s | z_t) − log q(z_s | z_t)."""
        t, s = self.levels[i], self.levels[i + 1]
        fresh, std = _step(t, s, self.sampler.variance)
        kept = (s.sigma / t.sigma) ** 2 * t.alpha / s.alpha
        guided = shifted(pair, slope, t.time, self.denoiser.schedule)[0]
        shift = (guided - pair[0]) * (s.alpha * fresh / std)
        noise = torch.randn_like(z)
        moved = kept * z + (s.alpha * fresh) * pair[0] + std * (shift + noise)
        return moved, 0.5 * (sum_events(noise.square()) - sum_events((noise + shift).square()))

    def _end(self, z: Tensor, log_twist: Tensor, particles: Particles) -> WeightedDraws:
        """The last states as data, weighed by the likelihood itself in place of the last twist."""
        x = self.denoiser.from_unit(z / self.levels[-1].alpha)
        particles.weigh(self.sampler.observation.log_prob(x) - log_twist)
        return WeightedDraws.of(x, particles)


def _step(t: _Stop, s: _Stop, variance: float) -> tuple[float, float]:
    """1 − SNR_t / SNR_s, and the standard deviation of a step.

    Raises:
        ArgumentError: There is no signal at t.
    """
    if t.alpha == 0.0:
        raise ArgumentError(
            "without any signal at t = 1 the twist says nothing there", program="TwistedSMC", site="schedule",
            hint="a schedule with SNR > 0 at t = 1, or times from less than 1",
        )  # fmt: skip
    fresh = -math.expm1(2.0 * (t.half_log_snr - s.half_log_snr))
    return fresh, s.sigma ** (1.0 - variance) * t.sigma**variance * math.sqrt(fresh)
