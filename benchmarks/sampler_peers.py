"""diffusers' schedulers and azula's samplers with the network, noise and schedule that unigen's samplers are given.

The schedule is the variance-preserving one with linear beta: exactly, since the betas that diffusers takes are made
from its signal levels at 1000 times, and azula takes the levels themselves. A network is asked at the very noise level
that a scheduler is at, also where that is between two of the 1000 times. What cannot be imported is left out and named.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unigen.dynamics.schedule import VPLinear
from unigen.dynamics.time_of_snr import time_of

Network = Callable[[Tensor, Tensor], Tensor]  # (z (N, D), t (N,)) -> eps (N, D)
Draw = Callable[[Network, Tensor, int], Tensor]  # (network, noise, evaluations) -> x
LEVELS, START, SCHEDULE = 1000, 1e-3, VPLinear()


def _betas() -> list[float]:
    """Betas whose cumulative products are the schedule's alpha² at times 1/1000, 2/1000 … 1."""
    times = torch.linspace(0.0, 1.0, LEVELS + 1, dtype=torch.float64)
    return (-torch.expm1(-torch.diff(SCHEDULE.integrated_rate(times)))).tolist()


def _by_diffusers(module: str, name: str, options: dict[str, Any], evaluations_a_step: int = 1) -> Draw:
    made = getattr(importlib.import_module(f"diffusers.schedulers.{module}"), name)
    in_sigmas = name not in ("DDIMScheduler", "DDPMScheduler")

    @torch.no_grad()
    def draw(network: Network, noise: Tensor, evaluations: int) -> Tensor:
        scheduler = made(num_train_timesteps=LEVELS, trained_betas=_betas(), **options)
        scheduler.set_timesteps((evaluations + evaluations_a_step - 1) // evaluations_a_step)
        x = noise * scheduler.init_noise_sigma
        if in_sigmas:  # sigma / alpha
            times = time_of(SCHEDULE, -2.0 * torch.log(scheduler.sigmas[: len(scheduler.timesteps)].double()))
        else:
            times = (scheduler.timesteps.double() + 1.0) / LEVELS
        for t, time in zip(scheduler.timesteps, times.to(noise.dtype), strict=True):
            eps = network(scheduler.scale_model_input(x, t), time.expand(noise.shape[0]))
            x = scheduler.step(eps, t, x).prev_sample
        return x

    return draw


def _by_azula(name: str, options: dict[str, Any], evaluations_a_step: int = 1) -> Draw:
    sample, denoise = importlib.import_module("azula.sample"), importlib.import_module("azula.denoise")

    class Denoiser(denoise.Denoiser):
        def __init__(self, network: Network) -> None:
            super().__init__()
            self.network = network
            self.schedule = lambda t: (SCHEDULE.alpha(t), SCHEDULE.sigma(t))

        def forward(self, x_t: Tensor, t: Tensor) -> Any:
            alpha, sigma = self.schedule(t)
            return denoise.DiracPosterior((x_t - sigma * self.network(x_t, t.expand(x_t.shape[0]))) / alpha)

    @torch.no_grad()
    def draw(network: Network, noise: Tensor, evaluations: int) -> Tensor:
        settings = {"start": 1.0, "stop": START, "steps": evaluations // evaluations_a_step, "silent": True}
        sampler = getattr(sample, name)(Denoiser(network), **settings, **options)
        return sampler(noise) / SCHEDULE.alpha(START)

    return draw


_KARRAS = {"use_karras_sigmas": True}
_MULTISTEP = ("scheduling_dpmsolver_multistep", "DPMSolverMultistepScheduler")
_UNIPC = ("scheduling_unipc_multistep", "UniPCMultistepScheduler")
_SDE = {"algorithm_type": "sde-dpmsolver++"}
_DIFFUSERS: dict[str, tuple[Any, ...]] = {
    "DDIM": ("scheduling_ddim", "DDIMScheduler", {"clip_sample": False, "timestep_spacing": "trailing"}),
    "DDPM": ("scheduling_ddpm", "DDPMScheduler", {"clip_sample": False, "timestep_spacing": "trailing"}),
    "Euler, Karras": ("scheduling_euler_discrete", "EulerDiscreteScheduler", _KARRAS),
    "Heun, Karras": ("scheduling_heun_discrete", "HeunDiscreteScheduler", _KARRAS, 2),
    "2M": (*_MULTISTEP, {}),
    "2M, Karras": (*_MULTISTEP, _KARRAS),
    "2M, equal log SNR": (*_MULTISTEP, {"use_lu_lambdas": True}),
    "2M SDE": (*_MULTISTEP, _SDE),
    "2M SDE, Karras": (*_MULTISTEP, _SDE | _KARRAS),
    "UniPC": (*_UNIPC, {}),
    "UniPC, Karras": (*_UNIPC, _KARRAS),
}  # fmt: skip
_AZULA: dict[str, tuple[Any, ...]] = {
    "DDIM": ("DDIMSampler", {}),
    "DDPM": ("DDPMSampler", {}),
    "Heun": ("HeunSampler", {}, 2),
    "data Adams-Bashforth": ("xEABSampler", {}),
    "noise Adams-Bashforth": ("zEABSampler", {}),
    "Itô": ("ItoSampler", {}),
    "predictor-corrector": ("PCSampler", {}, 2),
}  # fmt: skip


def peers() -> tuple[dict[str, Draw], list[str]]:
    """All draws by peers, and the names of the packages that are absent."""
    draws: dict[str, Draw] = {}
    absent = []
    for package, build, table in (("diffusers", _by_diffusers, _DIFFUSERS), ("azula", _by_azula, _AZULA)):
        try:
            draws |= {f"{package} {name}": build(*settings) for name, settings in table.items()}
        except ImportError as error:
            absent.append(f"{package} ({error.name or error})")
    return draws, absent
