r"""Langevin dynamics and the energy it samples: unadjusted chains have a known bias, adjusted ones have none.

    x' = x − h E'(x) + √(2h) ξ,    E = ½x²:    v' = (1 − h)² v + 2h  →  v = 1 / (1 − h/2),     0 < h < 2,

and no stationary density beyond h = 2. The Metropolis decision (MALA) leaves exp(−E)/Z invariant at every h.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.dynamics.langevin import langevin, metropolis_langevin
from unigen.inference.langevin_chains import MALA
from unigen.inference.mcmc import mcmc
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9


class LangevinEnergy(Relation):
    """Unadjusted Langevin chains sample a wider Gaussian, adjusted ones the energy itself."""

    id = 25
    name = "Langevin – EBM"
    families = ("EnergyModel",)
    statement = "on ½x² unadjusted Langevin has variance 1/(1 − h/2), the Metropolis-adjusted chain 1"
    latex = r"\mathrm{Var}_{\mathrm{ULA}} = \frac{1}{1-h/2}, \qquad \mathrm{Var}_{\mathrm{MALA}} = 1"
    source = "Roberts & Tweedie 1996"
    assumptions = ("chains are long enough to forget their starts", "0 < h < 2")

    def check(
        self, *, step_size: float = 0.1, depth: float = 0.3, chains: int = 20_000, seed: int = 0
    ) -> Evidence:
        """Run both chains on a Gaussian and on the double well ¼(x² − 1)²/depth.

        Args:
            step_size: h in (0, 2).
            depth: D of the double well.
            chains: Number of chains, whose ends are independent.
            seed: Of the chains.

        Raises:
            UnsupportedQueryError: No stationary density at this h.
        """
        h = step_size
        if not 0 < h < 2:
            raise self.refuse(self.assumptions[1], got=f"h = {h}")
        steps, v = math.ceil(20 / h), 1.0
        for _ in range(50 * steps):
            v = (1 - h) ** 2 * v + 2 * h
        z, second, draws = _double_well(depth, chains, seed)
        with seeded(seed, torch.device("cpu")):
            start = torch.randn(chains, 1, dtype=torch.float64)
            ula, mala = self.unadjusted(start, steps, h), self.adjusted(start, steps, h)
            well, _ = metropolis_langevin(lambda x: _well(x, depth), draws, steps=40, step_size=0.1)
        return self.evidence(
            Claim("fixed point of the variance", v, 1 / (1 - h / 2), ROUNDING),
            statistical("variance of unadjusted chains", _second(ula)[0], 1 / (1 - h / 2), _second(ula)[1]),
            statistical("variance of adjusted chains", _second(mala)[0], 1.0, _second(mala)[1]),
            statistical("double well: E x² of adjusted chains", _second(well)[0], second, _second(well)[1]),
            double_well_z=round(z, 6), double_well_second_moment=round(second, 6), unadjusted=round(1 / (1 - h / 2), 6),
        )  # fmt: skip

    def unadjusted(self, x: Tensor, steps: int, h: float) -> Tensor:
        """Return the ends of unadjusted chains on ½x²."""
        return langevin(lambda at: 0.5 * at.square().sum(-1), x, steps=steps, step_size=h)

    def adjusted(self, x: Tensor, steps: int, h: float) -> Tensor:
        """Return the ends of adjusted chains on ½x²."""
        return metropolis_langevin(lambda at: 0.5 * at.square().sum(-1), x, steps=steps, step_size=h)[0]

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Check Stein's identity E[x·s(x)] = −D on adjusted chains of the model, which start at data.

        Raises:
            UnsupportedQueryError: The model is conditional.
        """
        if a.context_features:
            raise self.refuse("one energy, so no context", a)
        x, _ = a.check_batch(data)
        chains, d = min(256, x.shape[0]), a.event_shape.numel()
        draws = mcmc(a, engine=MALA(chains, 150, 150), starts=x[:chains], seed=0, progress=False)["x"]
        rows = draws.flatten(0, 1)
        with evaluating(a):
            s = torch.cat([a.score(part) for part in rows.split(4096)]).flatten(1).double()
        each = (
            ((rows.flatten(1).double() - x.double().flatten(1).mean(0)) * s)
            .sum(1)
            .reshape(chains, -1)
            .mean(1)
        )
        stderr = float(each.std()) / math.sqrt(chains)
        return self.evidence(
            statistical("E[(x − m)·s(x)] = −D", float(each.mean()), -float(d), stderr), chains=chains
        )

    def figure(self, *, chains: int = 4000, seed: int = 0) -> Figure:
        """Draw the variance of both chains against the step size."""
        sizes = [0.1, 0.3, 0.5, 0.8, 1.1, 1.4]
        with seeded(seed, torch.device("cpu")):
            start = torch.randn(chains, 1, dtype=torch.float64)
            found = [
                [_second(run(start, math.ceil(10 / h), h))[0] for run in (self.unadjusted, self.adjusted)]
                for h in sizes
            ]
        grid = torch.linspace(0.0, 1.5, 100)
        with style():
            fig = figure(4.4, 3.0)
            axes = fig.subplots()
            axes.plot(grid, 1 / (1 - grid / 2), color=GREY, linewidth=0.9, label="1/(1 − h/2)")
            for i, label in enumerate(("unadjusted", "adjusted")):
                axes.plot(sizes, [row[i] for row in found], "o", color=COLOURS[i], label=label)
            axes.set(xlabel="step size h", ylabel="variance", title="Langevin chains on ½x²")
            axes.legend()
        return fig


def _second(x: Tensor) -> tuple[float, float]:
    """Return the mean square of rows (N, 1) and its standard error."""
    square = x[:, 0].square()
    return float(square.mean()), float(square.std()) / math.sqrt(square.shape[0])


def _well(x: Tensor, depth: float) -> Tensor:
    return 0.25 * (x.square() - 1).square().sum(-1) / depth


def _double_well(depth: float, n: int, seed: int) -> tuple[float, float, Tensor]:
    """Return Z and E x² by quadrature, and n exact draws by the inverse distribution function."""
    x = torch.linspace(-6.0, 6.0, 40_001, dtype=torch.float64)
    p = torch.exp(-_well(x[:, None], depth))
    z = float(torch.trapezoid(p, x))
    cumulative = torch.cumulative_trapezoid(p, x) / z
    with seeded(seed + 1, torch.device("cpu")):
        u = torch.rand(n, dtype=torch.float64)
    index = torch.searchsorted(cumulative, u).clamp_max(x.shape[0] - 2)
    return z, float(torch.trapezoid(p * x.square(), x)) / z, x[index + 1][:, None]
