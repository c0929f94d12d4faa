"""Processes of programs whose draws follow a differential equation or a Markov chain.

Notation: z_t the state at time t, 0 = data, 1 = noise; states are given in the data's units, loc + scale z_t. A
function here returns None where the program does not offer what its process is made of.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from unigen.dynamics.change_of_variables import flow_path
from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.markov_bridge import MarkovBridge
from unigen.dynamics.ode_solver import Adaptive
from unigen.dynamics.solvers import integrate_sde
from unigen.dynamics.unit_flow import UnitFlow
from unigen.evaluate.process_record import ENERGY, Asked, Process, States, Step, even_times, shown
from unigen.samplers.gibbs import HasSweep
from unigen.samplers.grid_sampler import GridSampler
from unigen.samplers.noise_space import ODE
from unigen.samplers.probability_flow import ProbabilityFlowODE
from unigen.samplers.reverse_sde import ReverseSDE


def ode(asked: Asked) -> Process | None:
    """A flow in time: every point follows dz/dt = v(t, z, c), one way and the other."""
    program, x, c, steps = asked
    flow = next((part for part in program.children() if isinstance(part, UnitFlow)), None)
    if flow is None:
        return None
    how = program.sampler if isinstance(program.sampler, ProbabilityFlowODE) else ODE
    times = torch.linspace(flow.start, 1.0, steps + 1, dtype=torch.float64)
    walked = how.trajectory(program, asked.n, c, times=[1.0, *times.flip(0).tolist()[1:]])
    solver = Adaptive(how.rtol, how.atol, how.method, False, how.max_evaluations, how.options)
    states = flow_path(flow, flow.enter(x)[0], c, solver, times.tolist())
    return Process(
        even_times(steps), (*map(flow.from_unit, walked.states[:-1]), walked.draws), Step.ODE,
        (x, *map(flow.from_unit, states[1:])), Step.ODE,
        "Every point follows one curve of an ODE, from data to noise or from noise to data; nothing is drawn but the "
        "noise that the reverse process starts from.",
    )  # fmt: skip


def diffusion(asked: Asked) -> Process | None:
    """A diffusion: noise is added by the forward SDE, and taken away by the reverse SDE or the program's sampler."""
    program, _, c, steps = asked
    denoiser = getattr(program, "denoiser", None)
    if not isinstance(denoiser, Denoiser):
        return None
    sampler = program.sampler if isinstance(program.sampler, GridSampler) else ReverseSDE()
    walked = sampler.trajectory(program, asked.n, c)
    stops = shown(sampler.steps, steps)
    times = walked.times[stops].double().flip(0).cpu()
    reverse = (*(denoiser.from_unit(walked.states[k]) for k in stops[:-1]), walked.draws)
    forward = _noised(denoiser, asked.x, times[1:])
    step = Step.ODE if _deterministic(sampler, asked) else Step.SDE
    text = "The forward SDE adds noise in many small steps and has nothing to learn; the reverse " + (
        "SDE takes it away, adding fresh noise as it goes."
        if step is Step.SDE
        else "is an ODE: no fresh noise."
    )
    beside = None if step is Step.ODE else ode(asked)
    times = torch.cat([times.new_zeros(1), times[1:]])
    return Process(times, reverse, step, forward, Step.SDE, text, beside=beside)


@torch.no_grad()
def _noised(denoiser: Denoiser, x: Tensor, times: Tensor) -> States:
    """Return x, and the forward SDE from it at times (K,), drawn exactly from one time to the next.

    z_t | z_s ~ N(r z_s, sigma_t² − r² sigma_s²),     r = alpha_t / alpha_s
    """
    z, alpha, sigma = denoiser.to_unit(x), 1.0, 0.0
    states = [x]
    for t in times:
        next_alpha, next_sigma = float(denoiser.schedule.alpha(t)), float(denoiser.schedule.sigma(t))
        ratio = next_alpha / alpha
        std = max(next_sigma**2 - (ratio * sigma) ** 2, 0.0) ** 0.5
        z, alpha, sigma = ratio * z + std * torch.randn_like(z), next_alpha, next_sigma
        states.append(denoiser.from_unit(z))
    return tuple(states)


def _deterministic(sampler: GridSampler, asked: Asked) -> bool:
    """Whether one noise always ends in one draw."""
    z = torch.randn_like(asked.x[:1]).expand(2, *asked.x.shape[1:]).contiguous()
    one, two = sampler.push(asked.program, z, None if asked.context is None else asked.context[:1])
    return bool((one - two).abs().max() <= 1e-3 * one.abs().max())


def bridge(asked: Asked) -> Process | None:
    """A bridge: one SDE from data to the prior, another from the prior to data, each the reversal of the other."""
    program: Any = asked.program
    process = getattr(program, "bridge", None)
    if not isinstance(process, MarkovBridge):
        return None
    times, stops = even_times(program.steps), shown(program.steps, asked.steps)

    def sigma(t: Tensor, x: Tensor) -> float:
        return process.reference.sigma

    def backward(t: Tensor, x: Tensor) -> Tensor:
        return -process.backward_drift(t, x)

    start = program.draw_prior(asked.n)
    back = integrate_sde(backward, sigma, start, times.flip(0), trajectory=True)
    there = integrate_sde(process.drift, sigma, asked.x, times, trajectory=True)
    return Process(
        times[stops], tuple(back[stops]), Step.SDE, tuple(there[stops]), Step.SDE,
        "Two learned SDEs, each the time reversal of the other: one carries data to the prior, the other carries the "
        "prior to data.",
    )  # fmt: skip


def chain(asked: Asked) -> Process | None:
    """An energy: a Markov chain that leaves p(x) as it is, run from noise by the program's own sampler."""
    program, x, c, steps = asked
    sampler: Any = program.sampler
    options = {} if sampler is None else inspect.signature(type(sampler)).parameters
    sweeps = isinstance(program, HasSweep) and "start" not in options
    if sampler is None or "steps" not in options or not (sweeps or "start" in options):
        return None
    stops = shown(sampler.steps, steps)
    state = _noise_like(x, program.structure.observed.discrete)
    states = [state]
    for i, (before, after) in enumerate(zip(stops[:-1], stops[1:], strict=True)):
        if sweeps:
            for _ in range(after - before):
                state = program.sweep(state)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            changed = {"steps": after - before, "start": lambda n, c, state=state: state}
            if "denoise" in options and i < len(stops) - 2:
                changed["denoise"] = False
            kept = {name: getattr(sampler, name) for name in options}
            state = type(sampler)(**kept | changed).draw(program, asked.n, c)
        states.append(state)
    return Process(
        torch.tensor(stops, dtype=torch.float64) / sampler.steps, tuple(states), Step.CHAIN, None, None,
        f"{sampler.steps} steps of {type(sampler).__name__} sampling carry noise to where the energy is low.", ENERGY,
    )  # fmt: skip


def _noise_like(x: Tensor, discrete: bool) -> Tensor:
    """Return noise of the mean and scale of the data, independent in every entry; levels at random if discrete."""
    if discrete:
        levels = x.unique()
        return levels[torch.randint(levels.shape[0], x.shape, device=x.device)]
    spread = (x - x.mean(0)).square().mean().sqrt()
    return x.mean(0) + spread * torch.randn_like(x)
