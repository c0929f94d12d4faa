"""Simulation-based calibration: are a posterior's draws draws from the posterior?

For (z, x) ~ p(z) p(x | z) and z_1 … z_S from an engine's posterior given x, the rank of z among the draws is uniform on
{0, …, S} if the engine is exact, for every one-dimensional quantity f(z, x). Its ECDF is compared with an exact
simultaneous band (see ``ecdf_band``). A posterior that ignores the data passes in every component of z; the rank of
log p(x, z), which depends on both, finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from unigen.checks import check_context
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.evaluate import ecdf_band
from unigen.evaluate.rank_engine import rank_together
from unigen.evaluate.ranks import Engine, guide_engine, rank_examples, rank_shared
from unigen.inference.engine import Engine as PosteriorEngine
from unigen.plots.diagnostics import rank_figure
from unigen.program import Program
from unigen.queries import evaluating, seeded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Quantity = Callable[[Mapping[str, Tensor], Tensor], Tensor]
BINS = 20  # of the χ² check


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of simulated truths among posterior draws, and whether they are uniform.

    Args:
        ranks: By quantity, integers in 0 … S, shape (simulations,).
        draws: S.
        level: Of the bands, family-wise over the quantities by Bonferroni.
    """

    ranks: Mapping[str, np.ndarray]
    draws: int
    level: float

    @property
    def p_values(self) -> dict[str, float]:
        """Exact p-value of the simultaneous ECDF test of each quantity, not corrected for their number."""
        return {name: ecdf_band.p_value(r, self.draws) for name, r in self.ranks.items()}

    @property
    def chi_squared(self) -> dict[str, float]:
        """p-value of χ² on at most 20 bins of each quantity's ranks (asymptotic: five expected a bin)."""
        from scipy.stats import chisquare

        found = {}
        for name, r in self.ranks.items():
            edges = np.array([0, *ecdf_band.cuts(self.draws, min(BINS, max(2, len(r) // 5))), self.draws + 1])
            observed = np.histogram(r, bins=edges - 0.5)[0]
            expected = len(r) * np.diff(edges) / (self.draws + 1)
            found[name] = float(chisquare(observed, expected).pvalue)
        return found

    @property
    def passed(self) -> bool:
        """Whether no quantity leaves its band, at ``level`` family-wise."""
        return min(self.p_values.values()) * len(self.ranks) > 1.0 - self.level

    def describe(self, name: str) -> str:
        """Return what the ranks of a quantity look like: biased, too narrow or too wide, by their first two moments."""
        u, n = (self.ranks[name] + 0.5) / (self.draws + 1), len(self.ranks[name])
        shift = (u.mean() - 0.5) * (12 * n) ** 0.5
        spread = (u.var() * 12 - 1) * (n / 0.8) ** 0.5  # Var of (12 (u − ½)²) is 4/5
        if max(abs(shift), abs(spread)) < 3:
            return "no shift or width that the mean and variance of the ranks would show"
        if abs(shift) > abs(spread):
            return "draws are too small" if shift > 0 else "draws are too large"
        return "draws are too narrow" if spread > 0 else "draws are too wide"

    def __str__(self) -> str:
        """Write the verdict and the least calibrated quantity."""
        p = self.p_values
        worst = min(p, key=p.__getitem__)
        n, m = len(self.ranks[worst]), len(p)
        verdict = (
            "calibrated as far as this shows" if self.passed else f"not calibrated: {self.describe(worst)}"
        )
        return (
            f"{verdict}; {n} simulations × {self.draws} draws, {m} quantities, least p = {p[worst]:.2g} at {worst} "
            f"(a family-wise {self.level:.0%} test rejects below {(1 - self.level) / m:.2g})"
        )

    def plot(self) -> Figure:
        """Draw ECDF − uniform of every quantity with the band, at ``level`` family-wise."""
        n = len(next(iter(self.ranks.values())))
        level = 1.0 - (1.0 - self.level) / len(self.ranks)
        p, lower, upper = ecdf_band.band(n, self.draws, level)
        curves = {name: (ecdf_band.counts(r, self.draws) / n - p).tolist() for name, r in self.ranks.items()}
        return rank_figure(p.tolist(), curves, (lower - p).tolist(), (upper - p).tolist(), self.level)


def simulation_based_calibration(
    program: Program,
    engine: Engine | PosteriorEngine | None = None,
    *,
    simulations: int = 1000,
    draws: int = 99,
    thin: int = 1,
    size: int = 10,
    context: object = None,
    quantities: Mapping[str, Quantity] | None = None,
    level: float = 0.95,
    seed: int | None = None,
) -> Calibration:
    """Rank simulated latents among the posterior draws that an engine makes from the simulated data.

    rank = #{s : f(z_s, x) < f(z, x)},    (z, x) ~ p(z, x),  z_s ~ engine(x)      (ties broken at random).

    Latents inside the plate: each example is a simulation. Latents outside it: each simulation is a data set of
    ``size`` examples, and the shared latents are ranked.

    Args:
        program: p(x, z).
        engine: Maps x (simulations, *event_shape), or one data set (size, *event_shape) for shared latents, to draws:
            {site: (thin · S, ...)}, or a tensor where there is one latent. Called with (x, context) if there is
            one. Or ``ug.NUTS(…)``, ``ug.HMC(…)``, ``ug.Variational(…)``, ``ug.Laplace(…)``: all simulated data sets
            are then done side by side, one chain or fit for each. The program's guide if omitted.
        simulations: Number of truths.
        draws: S, independent draws kept for each.
        thin: Keep every so-manieth draw of the engine (autocorrelated draws make ranks U-shaped).
        size: Examples in one data set, for shared latents.
        context: Shape (simulations, C), or (size, C) for shared latents.
        quantities: Further f by name, called with ({site: (R, ...)}, x (R, *event_shape)) -> (R,), for latents
            inside the plate.
        level: Family-wise level of the bands.
        seed: Reproduces simulations and the guide's draws.

    Returns:
        Calibration: ranks of every component of every latent, and of log p(x, z) where that is a fixed function.

    Raises:
        ArgumentError: A number below one, or a level outside (0, 1).
        ShapeError, SiteError: The engine's draws do not fit.
        UnsupportedQueryError: No latent.

    References:
        Cook, Gelman & Rubin 2006; Talts et al. 2018; Säilynoja, Bürkner & Vehtari 2022; Modrák et al. 2023.

    Example:
        >>> import unigen as ug
        >>> ppca = ug.PPCA(features=3, latents=1)  # its guide is exact
        >>> found = simulation_based_calibration(ppca, simulations=100, draws=19, level=0.999999, seed=0)
        >>> found.passed, sorted(found.ranks)
        (True, ['log p(x, z)', 'z[0]'])
    """
    numbers = {"simulations": simulations, "draws": draws, "thin": thin, "size": size}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(program=program.name, site=name, got=value, expected="a positive integer")
    if not 0.0 < level < 1.0:
        raise ArgumentError(program=program.name, site="level", got=level, expected="in (0, 1)")
    if not program.structure.latents:
        raise UnsupportedQueryError(
            "there is no latent whose posterior could be checked", program=program.name
        )
    together = isinstance(engine, PosteriorEngine)
    shared = bool(program.structure.shared) or together
    n = size if shared else simulations
    c = check_context(context, program.context_features, n, program.dtype, program.name)
    c = None if c is None else c.to(program.device)
    chosen = guide_engine(program, draws * thin) if engine is None else engine
    with evaluating(program), seeded(seed, program.device):
        if isinstance(chosen, PosteriorEngine):
            ranks = rank_together(program, chosen, simulations, n, draws, thin, c)
        elif shared:
            ranks = rank_shared(program, chosen, simulations, n, draws, thin, c)
        else:
            ranks = rank_examples(program, chosen, n, draws, thin, c, quantities or {})
    return Calibration({name: r.cpu().numpy() for name, r in ranks.items()}, draws, level)


def power(
    simulations: int,
    draws: int = 99,
    *,
    sd_ratio: float = 1.0,
    shift: float = 0.0,
    level: float = 0.95,
    replicates: int = 200,
    seed: int = 0,
) -> float:
    """Return how often the ECDF test of one quantity finds a Gaussian posterior with wrong width or place.

    Truth z ~ N(0, 1), draws ~ N(shift, sd_ratio²), in units of the true posterior's standard deviation.

    Args:
        simulations: Number of truths.
        draws: S.
        sd_ratio: Standard deviation of the draws over the true one.
        shift: Of the mean, in true standard deviations.
        level: Of the test.
        replicates: Simulated tests.
        seed: Of these.

    Returns:
        The fraction that rejects; its standard error is √(p(1 − p)/replicates).

    Example:
        >>> power(300, draws=19, shift=1.0, replicates=20)
        1.0
    """
    from scipy.stats import norm

    generator = np.random.default_rng(seed)
    z = generator.standard_normal((replicates, simulations))
    ranks = generator.binomial(draws, norm.cdf((z - shift) / sd_ratio))
    return float(np.mean([ecdf_band.p_value(r, draws) <= 1.0 - level for r in ranks]))
