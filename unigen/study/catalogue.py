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


def _mixture(features: int) -> Program:
    return ug.Mixture([ug.FactorAnalysis(features, latents=10) for _ in range(10)])


def _bridge(features: int) -> Program:
    fitting = ug.MarkovianFitting(steps=10)
    return ug.SchroedingerBridge(
        features, reference=ug.BrownianMotion(0.5), hidden=(128, 128), objective=fitting
    )


def _flow(features: int) -> Program:
    layers = [layer for _ in range(4) for layer in (ug.LULinear(), ug.Coupling(ug.Spline(8)))]
    return ug.Flow(features, layers, support="unit")


def _rows(family: Any, **options: Any) -> Callable[[int], Program]:
    """Return how a family of sequences is built that reads an 8 × 8 image row by row."""
    return lambda d: family(features=8, length=d // 8, **options)


def _times(family: Any, **options: Any) -> Callable[[int], Program]:
    """Return how a family of time series is built that sees a row of an 8 × 8 image a unit of time."""
    times = tuple(float(i) for i in range(8))
    return lambda d: family(d // 8, times, likelihood=ug.Gaussian("network"), **options)


def _pixels() -> Any:
    return ug.MixtureOfGaussians(8)


def _ladder(features: int) -> Program:
    return ug.LadderVAE(features, latents=(16, 8), likelihood=ug.Gaussian("network"))


def _vqvae(features: int) -> Program:
    prior = ug.MADE(16, likelihood=ug.Categorical(32))
    return ug.VQVAE(features, positions=16, codes=32, prior=prior, likelihood=ug.Gaussian("network"))


def _vae_with_energy(features: int) -> Program:
    sampler = ug.Langevin(steps=300, step_size=0.1)
    return _vae(features, prior=ug.EnergyModel(16, energy=ug.Tilt(16, limit=5.0), sampler=sampler))


def entries() -> list[Entry]:
    """Return the rows, in the order in which they are shown: from linear to dynamic."""
    return [*_latent(ug.Importance(500)), *_direct()]


def _latent(bound: Any) -> list[Entry]:
    """Return the families with a latent variable, scored by a bound where there is no closed form."""
    return [
        Entry("PCA", lambda d: ug.PCA(d, latents=30), note="σ² → 0: it has no density"),
        Entry("PPCA", lambda d: ug.PPCA(d, latents=30)),
        Entry("Linear VAE", lambda d: ug.linear_vae(d, 30), 40, _CONVERGED, 1200, bound, bound,
              note="at the optimum of its ELBO it is PPCA"),
        Entry("Factor analysis", lambda d: ug.FactorAnalysis(d, latents=30), 3),
        Entry("Gaussian mixture", lambda d: ug.GaussianMixture(d, components=10), 3),
        Entry("Mixture of factor analysers", _mixture, 4),
        Entry("Hidden Markov model", _rows(ug.HiddenMarkov, states=40), 10, {}, 100, note="reads row by row"),
        Entry("State space", _rows(ug.StateSpace, latents=12), 30, {}, 60, note="Kalman filter over the rows"),
        Entry("Deep Markov model", _rows(ug.DeepMarkov, latents=12, likelihood=ug.Gaussian("network")), 40, {}, 150,
              bound, bound, note="reads row by row"),
        Entry("Latent SDE", _times(ug.LatentSDE, latents=12, dt=1.0), 20, {"steps": 1000}, 150, bound, bound,
              note="the rows as observations in time"),
        Entry("Latent ODE", _times(ug.LatentODE, latents=16), 20, {"steps": 1000}, 150, bound, bound,
              note="the rows as observations in time"),
        Entry("VAE", _vae, 20, {}, 500, bound, bound),
        Entry("VAE, VampPrior", lambda d: _vae(d, prior=ug.VampPrior(50)), 25, {}, 150, bound, bound),
        Entry("Ladder VAE", _ladder, 40, {}, 150, bound, bound, note="two levels, inferred from the top down"),
        Entry("VQ-VAE", _vqvae, 40, {}, 150, note="16 codes under an autoregressive prior"),
        Entry("VAE, NSF prior", lambda d: _vae(d, prior=ug.NSF(16)), 60, {}, 150, bound, bound),
        Entry("VAE, diffusion prior", _vae_with_diffusion, 60, {}, 300, ug.Importance(16), ug.Importance(4),
              note="bound on a bound: the prior's own term is its ELBO"),
        Entry("VAE, energy prior", _vae_with_energy, 30, {"steps": 1500}, 300,
              note="log Z of the prior is unknown"),
    ]  # fmt: skip


def _direct() -> list[Entry]:
    """Return flows, autoregressive and implicit models, energies and dynamics."""
    return [
        Entry("NICE", lambda d: ug.NICE(d, support="unit"), 30, {}, 150),
        Entry("RealNVP", lambda d: ug.RealNVP(d, support="unit"), 50, {}, 150),
        Entry("NSF", lambda d: ug.NSF(d, support="unit"), 90, {}, 150),
        Entry("MAF", lambda d: ug.MAF(d, support="unit"), 60, {}, 200),
        Entry("IAF", lambda d: ug.IAF(d, support="unit"), 90, {"steps": 200}, 20, note="scored in D small steps"),
        Entry("Splines and LU matrices", _flow, 60, {}, 100, note="a flow of one's own layers"),
        Entry("Glow", lambda d: ug.Glow((1, 8, d // 8)), 90, {}, 40, note="a flow on images"),
        Entry("CNF", lambda d: ug.CNF(d, hidden=(128, 128)), 90, {"steps": 400}, 20, quick_rows=20,
              note="a continuous flow"),
        Entry("MADE", lambda d: ug.MADE(d), 40, {}, 300),
        Entry("PixelCNN", lambda d: ug.PixelCNN((1, 8, d // 8), _pixels()), 90, {"steps": 800}, 20, note="on images"),
        Entry("Transformer", lambda d: ug.Transformer(d, likelihood=_pixels(), layers=2, width=64), 90,
              {"steps": 800}, 20, note="over pixels"),
        Entry("GAN", lambda d: ug.GAN(d), 60, {"steps": 6000}, 400, note="an implicit model: no density"),
        Entry("WGAN-GP", lambda d: ug.WGAN(d), 110, {"steps": 4000}, 100, note="an implicit model: no density"),
        Entry("Energy model", lambda d: ug.EnergyModel(d), 90, {}, 100, note="known up to log Z"),
        Entry("RBM", lambda d: ug.RBM(d, 128, visible=ug.GaussianUnits(d)), 60, {}, 300, note="known up to log Z"),
        Entry("Diffusion", lambda d: ug.Diffusion(d), 100, {}, 400, quick_rows=50,
              note="probability-flow ODE with exact divergence"),
        Entry("Flow matching", lambda d: ug.FlowMatching(d), 100, {}, 400, quick_rows=50,
              note="straight paths; exact density by the ODE"),
        Entry("DDPM", lambda d: ug.DDPM(d), 60, {}, 300, quick_rows=50, note="discrete time: a bound"),
        Entry("Schrödinger bridge", _bridge, 60, {"steps": 800}, 40, note="to N(0, I) and back: draws only"),
    ]  # fmt: skip


def entry(name: str) -> Entry:
    """Return the row with this title."""
    return next(each for each in entries() if each.name == name)


# (relation, rows it is measured on): two programs, or one
MEASURED: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, ("PPCA", "Linear VAE")),
    (6, ("VAE",)),
    (11, ("Diffusion",)),
    (15, ("Diffusion", "Flow matching")),
    (16, ("MAF", "MADE")),
    (20, ("GAN",)),
)
