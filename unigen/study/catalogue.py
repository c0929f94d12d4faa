"""What the study fits: one entry a row of the table, with how it is built, trained and scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import unigen as ug
from unigen.program import Program


@dataclass(frozen=True)
class Entry:
    """One row of the study.

    Args:
        name: Title of the row.
        build: Constructs the program for D features.
        cost: Rough seconds of a full fit on one core, to start the long ones first.
        fit: Options of ``fit`` that differ from the family's recipe.
        quick: Steps of a quick run (families with a closed form or EM need none).
        density: How the test set is scored in a full run; the family's own way if None.
        quick_density: Likewise in a quick run.
        quick_rows: Test images scored in a quick run, if fewer than all.
        note: What a reader should know about the row.
    """

    name: str
    build: Callable[[int], Program]
    cost: float = 1.0
    fit: Mapping[str, Any] = field(default_factory=dict)
    quick: int | None = None
    density: Any = None
    quick_density: Any = None
    quick_rows: int | None = None
    note: str = ""


def _vae(features: int, **parts: Any) -> Program:
    return ug.VAE(features, latents=16, likelihood=ug.Gaussian("network"), **parts)


def _vae_with_diffusion(features: int) -> Program:
    return _vae(features, prior=ug.Diffusion(16, density=ug.DiffusionBound(times=4, replicates=2)))


# long and cooled enough to reach the optimum, where it is PPCA
_CONVERGED = {"steps": 5000, "lr": 1e-2, "batch_size": 256, "schedule": ug.Cosine(warmup=100)}


def _vae_with_energy(features: int) -> Program:
    sampler = ug.Langevin(steps=300, step_size=0.1)
    return _vae(features, prior=ug.EnergyModel(16, energy=ug.Tilt(16, limit=5.0), sampler=sampler))


def entries() -> list[Entry]:
    """Return the rows, in the order in which they are shown: from linear to dynamic."""
    bound = ug.Importance(500)
    return [
        Entry("PCA", lambda d: ug.PCA(d, latents=30), note="σ² → 0: it has no density"),
        Entry("PPCA", lambda d: ug.PPCA(d, latents=30)),
        Entry("Linear VAE", lambda d: ug.linear_vae(d, 30), 40, _CONVERGED, 1200, bound, bound,
              note="at the optimum of its ELBO it is PPCA"),
        Entry("Factor analysis", lambda d: ug.FactorAnalysis(d, latents=30), 3),
        Entry("Gaussian mixture", lambda d: ug.GaussianMixture(d, components=10), 3),
        Entry("VAE", _vae, 20, {}, 500, bound, bound),
        Entry("VAE, NSF prior", lambda d: _vae(d, prior=ug.NSF(16)), 60, {}, 150, bound, bound),
        Entry("VAE, diffusion prior", _vae_with_diffusion, 60, {}, 300, ug.Importance(16), ug.Importance(4),
              note="bound on a bound: the prior's own term is its ELBO"),
        Entry("VAE, energy prior", _vae_with_energy, 30, {"steps": 1500}, 300,
              note="log Z of the prior is unknown"),
        Entry("RealNVP", lambda d: ug.RealNVP(d, support="unit"), 50, {}, 150),
        Entry("NSF", lambda d: ug.NSF(d, support="unit"), 90, {}, 150),
        Entry("MAF", lambda d: ug.MAF(d, support="unit"), 60, {}, 200),
        Entry("MADE", lambda d: ug.MADE(d), 40, {}, 300),
        Entry("GAN", lambda d: ug.GAN(d), 60, {"steps": 6000}, 400, note="an implicit model: no density"),
        Entry("WGAN-GP", lambda d: ug.WGAN(d), 110, {"steps": 4000}, 100, note="an implicit model: no density"),
        Entry("Energy model", lambda d: ug.EnergyModel(d), 90, {}, 100, note="known up to log Z"),
        Entry("Diffusion", lambda d: ug.Diffusion(d), 100, {}, 400, quick_rows=50,
              note="probability-flow ODE with exact divergence"),
        Entry("DDPM", lambda d: ug.DDPM(d), 60, {}, 300, quick_rows=50, note="discrete time: a bound"),
    ]  # fmt: skip


def entry(name: str) -> Entry:
    """Return the row with this title."""
    return next(each for each in entries() if each.name == name)


# (relation, rows it is measured on): two programs, or one
MEASURED: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, ("PPCA", "Linear VAE")),
    (6, ("VAE",)),
    (11, ("Diffusion",)),
    (16, ("MAF", "MADE")),
    (20, ("GAN",)),
)
