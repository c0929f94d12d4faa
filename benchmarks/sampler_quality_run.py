"""Every sampler at every number of evaluations, several seeds: distances of the draws to the mixture."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

import unigen as ug
from benchmarks.sampler_peers import SCHEDULE, Draw
from benchmarks.sampler_quality import Distance, Mixture
from unigen.dynamics.prediction import Eps
from unigen.models.diffusion import Diffusion
from unigen.samplers.grid_sampler import GridSampler

_T, _K = ug.EqualTimes(), ug.KarrasTimes()
OURS: dict[str, Callable[[int], GridSampler]] = {
    "DDIM": lambda k: ug.DDIM(k),
    "DDPM": lambda k: ug.DDPMAncestral(k),
    "Euler, Karras, to the mean": lambda k: ug.DDIM(k - 1, times=_K, denoise=True),
    "EDM (Heun)": lambda k: ug.EDM(k // 2),
    "EDM (Heun), equal times": lambda k: ug.EDM(k // 2, times=_T),
    "2M": lambda k: ug.DPMSolver(k),
    "2M, to the mean": lambda k: ug.DPMSolver(k - 1, denoise=True),
    "2M, equal times": lambda k: ug.DPMSolver(k, times=_T),
    "2M, Karras": lambda k: ug.DPMSolver(k, times=_K),
    "2M SDE": lambda k: ug.DPMSolver(k, sde=True),
    "2M SDE, equal times": lambda k: ug.DPMSolver(k, sde=True, times=_T),
    "2M SDE, Karras": lambda k: ug.DPMSolver(k, sde=True, times=_K),
    "reverse SDE": lambda k: ug.ReverseSDE(k),
    "reverse SDE, equal times": lambda k: ug.ReverseSDE(k, times=_T),
    "predictor-corrector": lambda k: ug.PredictorCorrector(ug.DDIM(k // 2)),
}  # fmt: skip
SAME = {  # peers' samplers beside the one of ours that is the same method on the same kind of grid
    "diffusers DDIM": "DDIM", "azula DDIM": "DDIM", "diffusers DDPM": "DDPM", "azula DDPM": "DDPM",
    "diffusers Euler, Karras": "Euler, Karras, to the mean", "diffusers Heun, Karras": "EDM (Heun)",
    "azula Heun": "EDM (Heun), equal times", "diffusers 2M": "2M, equal times", "diffusers 2M, Karras": "2M, Karras",
    "diffusers 2M, equal log SNR": "2M, to the mean", "diffusers 2M SDE": "2M SDE, equal times",
    "diffusers 2M SDE, Karras": "2M SDE, Karras", "diffusers UniPC": "2M", "diffusers UniPC, Karras": "2M",
    "azula data Adams-Bashforth": "2M", "azula noise Adams-Bashforth": "2M",
    "azula Itô": "reverse SDE", "azula predictor-corrector": "predictor-corrector",
}  # fmt: skip


@dataclass(frozen=True)
class Quality:
    """Distances of one sampler's draws, one for each seed."""

    sliced: tuple[float, ...]
    mmd: tuple[float, ...]


Table = dict[str, dict[int, Quality]]  # sampler, evaluations


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds and its standard error."""
    return statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def by_unigen(program: Diffusion) -> dict[str, Draw]:
    """Our samplers as draws of a program, in its unit coordinates as those of peers."""
    unit = Diffusion(2, network=program.denoiser.network, schedule=SCHEDULE, prediction=Eps())

    def draw(sampler: Callable[[int], GridSampler]) -> Draw:
        return lambda _, noise, evaluations: sampler(evaluations).push(unit, noise)

    return {f"unigen {name}": draw(sampler) for name, sampler in OURS.items()}


@torch.no_grad()
def qualities(
    program: Diffusion, peers: Mapping[str, Draw], evaluations: Sequence[int], seeds: int, n: int
) -> Table:
    """All draws, ours and the peers'; every seed has its own noise and exact draws, the same for all."""
    mixture, draws, found = Mixture(), by_unigen(program) | dict(peers), {}
    network = program.denoiser.network
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        distance = Distance(mixture, n, generator)
        noise = torch.randn(n, 2, generator=generator)
        for k in evaluations:
            for name, draw in draws.items():
                torch.manual_seed(seed)
                x = program.denoiser.from_unit(draw(network, noise, k))
                found.setdefault((name, k), []).append((distance.sliced(x), distance.mmd(x)))
            x = mixture.draw(n, generator)
            found.setdefault(("exact draws", k), []).append((distance.sliced(x), distance.mmd(x)))
    table: Table = {}
    for (name, k), pairs in found.items():
        table.setdefault(name, {})[k] = Quality(*zip(*pairs, strict=True))
    return table


def verdicts(table: Table, evaluations: Sequence[int]) -> dict[str, dict[int, tuple[float, float]]]:
    """Sliced W2 of ours minus the peer's, mean and standard error over seeds, for every pair of the same method."""
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for peer, own in SAME.items():
        if peer in table:
            for k in evaluations:
                ours, theirs = table[f"unigen {own}"][k].sliced, table[peer][k].sliced
                gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
                found.setdefault(f"{own} / {peer}", {})[k] = mean_and_error(gaps)
    return found
