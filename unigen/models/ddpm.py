"""Discrete diffusion: a hierarchy of T latents whose guide is fixed and whose model is one denoising network.

    p(x, z_1 … z_T | c) = p(x | z_1) Π_{i<T} p(z_i | z_{i+1}, c) p(z_T),        z_T ~ N(0, I),
    q(z_1 … z_T | x)    = q(z_T | x) Π_{i<T} q(z_i | z_{i+1}, x),                q(z_i | x) = N(alpha_i u, sigma_i² I),
    p(z_i | z_{i+1}, c) = q(z_i | z_{i+1}, u_hat(z_{i+1}, t_{i+1}, c)),          p(x | z_1) = N(z_1 / alpha_1, …),

with u = (x − loc) / scale, times t_1 = start < … < t_T = 1 and, for s < t, k = SNR_t / SNR_s, r = alpha_t / alpha_s,

    q(z_s | z_t, u) = N( k z_t / r + alpha_s (1 − k) u,  sigma_s² (1 − k) I ).
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from unigen.densities.density import Density
from unigen.densities.diffusion_bound import DiffusionBound
from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.prediction import Prediction, V, over_events
from unigen.dynamics.schedule import LogLinearSNR, Schedule
from unigen.dynamics.times import LowDiscrepancyTimes
from unigen.errors import ArgumentError
from unigen.nn.residual import ResidualMLP
from unigen.objectives.denoising import SubsampledELBO
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.recipe import Cosine, Recipe


class DDPM(Program):
    """z_T → … → z_1 → x, a hierarchical VAE with a fixed encoder.

    Under any Pyro ELBO the program is unrolled, T network evaluations an example; ``fit`` takes one random step of the
    hierarchy an example instead, which has the same expectation.

    Args:
        features: D, length of x, or the shape of one example.
        steps: T, number of latents.
        network: Maps (z_t, t) or (z_t, t, context) to the prediction, shaped like z_t; replaces the residual MLP.
        schedule: Signal and noise levels.
        prediction: What the network predicts.
        hidden: Width of the residual MLP.
        blocks: Its number of blocks.
        context: C, features of the context.
        start: Time of z_1; by default 0, or 1e-3 where the schedule has no noise at 0.
        each: Standardise every feature by its own scale, rather than all by one (images).
        objective: What ``fit`` minimises by default.
        density: How ``log_prob`` is computed by default.

    Raises:
        ArgumentError: A size is out of range, or the schedule has no noise at the start.

    References:
        Ho et al., Denoising diffusion probabilistic models, 2020; Sohl-Dickstein et al. 2015; Kingma et al. 2021.

    Example:
        >>> ddpm = DDPM(features=3, steps=4, hidden=16, blocks=1)
        >>> print(ddpm.formula)
        p(x, z_4, z_3, z_2, z_1) = p(x | z_1) p(z_1 | z_2) p(z_2 | z_3) p(z_3 | z_4) p(z_4);  q(z_4, z_3, z_2, z_1 | x)
    """

    recipe: ClassVar[Recipe] = Recipe(
        steps=3000,
        batch_size=256,
        lr=2e-3,
        optimizer=partial(torch.optim.AdamW, weight_decay=1e-2),
        schedule=Cosine(warmup=100),
        clip=1.0,
        ema=0.999,
    )

    def __init__(
        self,
        features: int | tuple[int, ...],
        steps: int = 100,
        *,
        network: nn.Module | None = None,
        schedule: Schedule = LogLinearSNR(),
        prediction: Prediction = V(),
        hidden: int = 256,
        blocks: int = 3,
        context: int = 0,
        start: float | None = None,
        each: bool = False,
        objective: Objective = SubsampledELBO(),
        density: Density = DiffusionBound(),
    ) -> None:
        event = (features,) if isinstance(features, int) else tuple(features)
        if any(size < 1 for size in event) or (network is None and len(event) != 1) or steps < 2:
            raise ArgumentError(
                program="DDPM", got=f"features={features}, steps={steps}",
                expected="positive lengths (a shape only with a network), steps >= 2",
            )  # fmt: skip
        super().__init__(event, context=context, objective=objective, density=density)
        if network is None:
            network = ResidualMLP(event[0], hidden=hidden, blocks=blocks, context=context)
        self.denoiser = Denoiser(network, schedule, prediction, event, start)
        self.steps, self.each = steps, each

    @property
    def times(self) -> Tensor:
        """t_1 … t_T, (T,)."""
        like = self.denoiser.loc
        return torch.linspace(self.denoiser.start, 1.0, self.steps, dtype=like.dtype, device=like.device)

    def _normal(self, mean: Tensor, std: Tensor) -> dist.TorchDistribution:
        return dist.Normal(mean, std).to_event(len(self.event_shape))

    def _backward(self, z_t: Tensor, u: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z_s | z_t, u)."""
        schedule, s, t = self.denoiser.schedule, over_events(s, z_t), over_events(t, z_t)
        ratio = torch.exp(schedule.log_alpha(t) - schedule.log_alpha(s))
        kept = torch.exp(schedule.log_snr(t) - schedule.log_snr(s))
        left = -torch.expm1(schedule.log_snr(t) - schedule.log_snr(s))
        mean = kept / ratio * z_t + schedule.alpha(s) * left * u
        return mean, schedule.sigma(s) * torch.sqrt(left)

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x, z_1 … z_T | c)."""
        times, denoiser = self.times, self.denoiser
        with self.plate(x, n):
            z = pyro.sample(
                f"z_{self.steps}", self._normal(torch.zeros_like(denoiser.loc), torch.ones_like(denoiser.loc))
            )
            for i in range(self.steps - 1, 0, -1):
                s, t = times[i - 1], times[i]
                mean, std = self._backward(z, self._denoised(z, t, context), s, t)
                z = pyro.sample(f"z_{i}", self._normal(mean, std))
            alpha, sigma = denoiser.schedule.alpha(times[0]), denoiser.schedule.sigma(times[0])
            return pyro.sample(
                "x", self._normal(denoiser.from_unit(z / alpha), denoiser.scale * (sigma / alpha)), obs=x
            )

    def _denoised(self, z: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        """u_hat for z of any batch shape, (..., *event)."""
        rows = z.reshape(-1, *self.event_shape)
        c = None
        if context is not None:
            batch = z.shape[: z.dim() - len(self.event_shape)]
            c = context.expand(*batch, context.shape[-1]).reshape(-1, context.shape[-1])
        return self.denoiser(rows, t, c)[0].reshape(z.shape)

    def guide(self, x: Tensor, context: Tensor | None = None) -> None:
        """Declare q(z_1 … z_T | x), which has no parameters."""
        times, schedule = self.times, self.denoiser.schedule
        u = self.denoiser.to_unit(x)
        with self.plate(x):
            alpha, sigma = schedule.alpha(times[-1]), schedule.sigma(times[-1])
            z = pyro.sample(f"z_{self.steps}", self._normal(alpha * u, sigma.expand_as(u)))
            for i in range(self.steps - 1, 0, -1):
                z = pyro.sample(f"z_{i}", self._normal(*self._backward(z, u, times[i - 1], times[i])))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Take loc and scale from data."""
        self.denoiser.standardise(x, self.each)

    def bound(self, x: Tensor, t: Tensor, eps: Tensor, context: Tensor | None = None) -> Tensor:
        """Return estimates of the evidence lower bound from one step of the hierarchy an example.

        The step i is ⌈(T − 1) t⌉, its term KL(q(z_i | z_{i+1}, x) ‖ p) = ½ (SNR_i / SNR_{i+1} − 1) ‖eps − eps_hat‖².

        Args:
            x: Data, (N, *event).
            t: Uniform on [0, 1), (N,).
            eps: Standard normal, (N, *event).
            context: Context, (N, C), or None.

        Returns:
            Unbiased estimates, (N,), in nats, differentiable in x.
        """
        denoiser, schedule, moves = self.denoiser, self.denoiser.schedule, self.steps - 1
        u, i = denoiser.to_unit(x), torch.floor(t * moves).clamp(max=moves - 1)
        s, t = denoiser.at(i / moves), denoiser.at((i + 1.0) / moves)
        weight = 0.5 * moves * torch.expm1(schedule.log_snr(s) - schedule.log_snr(t))
        diffusion = weight * denoiser.noise_error(u, t, eps, context)
        terms = denoiser.prior_term(u) + diffusion + denoiser.reconstruction_term(u)
        return -terms - denoiser.log_volume()

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return an unbiased estimate of the bound on log p(x | c) from one step an example, (N,), in nats."""
        return self.bound(x, LowDiscrepancyTimes().draw(x), torch.randn_like(x), context)
