r"""An energy's log Z by annealing: Jarzynski's equality, and the truth between the way up and the way down.

Along densities f_0, …, f_T = e^{−E} with transitions that leave each invariant, w the product of the ratios met,

    up:   E w = Z / Z_0,  so that E log w ≤ log Z/Z_0;        down:  E 1/w = Z_0 / Z,  so that −E log 1/w ≥ log Z/Z_0,

at any number of steps; more steps bring the two together. A normalised density read as an energy has log Z = 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from unigen.densities.annealed import AnnealedNormaliser
from unigen.densities.annealed_normaliser import anneal_down, anneal_up
from unigen.densities.annealing import ladder
from unigen.densities.geometric_path import GeometricPath
from unigen.models.flow import RealNVP
from unigen.models.potential import Potential
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class AnnealedLogZ(Relation):
    """Annealing brackets the normaliser of an energy."""

    id = 23
    name = "EBM – log Z"
    families = ("EnergyModel",)
    statement = "E w = Z/Z_0 whatever the speed (Jarzynski); E log w up ≤ log Z ≤ −E log 1/w down"
    latex = r"E\,e^{-W} = Z/Z_0, \qquad E_\uparrow \log w \le \log Z \le E_\downarrow \log w"
    source = "Jarzynski 1997; Neal 2001; Grosse et al. 2015"
    assumptions = ("the way down starts from exact draws of the energy",)

    def check(
        self, *, stiffness: float = 4.0, steps: int = 3, chains: int = 20_000, seed: int = 0
    ) -> Evidence:
        """Anneal ½x² into ½·stiffness·x², fast, so that the bounds are apart; and a flow from its own draws.

        Args:
            stiffness: Of the target; log Z/Z_0 = −½ log of it.
            steps: T.
            chains: K.
            seed: Of the chains.
        """
        truth = -0.5 * math.log(stiffness)
        with seeded(seed, torch.device("cpu")):
            up, down = self.works(stiffness, steps, chains)
            slow = [float(each.mean()) for each in self.works(stiffness, 10 * steps, chains // 10)]
            flow = RealNVP(2, transforms=2, hidden=(8,)).double()
            of_flow = AnnealedNormaliser(12, 200, leapfrog=1).bracket(flow, flow.sample(200))
        claims = [
            statistical("up: mean w = Z/Z_0", *_mean(up, truth)),
            statistical("down: mean 1/w = Z_0/Z", *_mean(-down, -truth)),
            statistical("up: E log w ≤ log Z/Z_0", float(up.mean()), truth, _error(up), sense="≤"),
            statistical("down: −E log 1/w ≥ log Z/Z_0", float(down.mean()), truth, _error(down), sense="≥"),
            Claim("the bounds are apart", float(down.mean() - up.mean()), 0.0, 0.0, sense="≥"),
            Claim("ten times the steps bring them together", slow[1] - slow[0], float(down.mean() - up.mean()), 0.0,
                  sense="≤"),
            statistical("a flow read as an energy: log Z = 0", of_flow.lower.value.item(), 0.0,
                        float(of_flow.lower.stderr or 0.0) + 1e-9),
            statistical("the same from above", of_flow.upper.value.item(), 0.0,
                        float(of_flow.upper.stderr or 0.0) + 1e-9),
        ]  # fmt: skip
        return self.evidence(
            *claims, log_z=round(truth, 6), up=round(float(up.mean()), 4), down=round(float(down.mean()), 4)
        )

    def works(self, stiffness: float, steps: int, chains: int) -> tuple[Tensor, Tensor]:
        """Return log w of chains on their way up, and minus that of 1/w of chains on their way down, (K,) each."""
        energy = Potential(lambda x: 0.5 * stiffness * x.square().sum(-1) + 0.5 * math.log(2 * math.pi), 1)
        energy.register_buffer("unit", torch.ones(1, dtype=torch.float64))
        one = torch.ones(1, dtype=torch.float64)
        path = GeometricPath(energy, MultivariateNormal(0 * one, torch.diag(one)), leapfrog=1)
        betas = ladder(steps)
        up, _ = anneal_up(path, betas, chains)
        return up, -anneal_down(
            path, betas, torch.randn(chains, 1, dtype=torch.float64) / math.sqrt(stiffness)
        )

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Anneal to the model from both ends; its own chains stand in for exact draws.

        Raises:
            UnsupportedQueryError: The model is conditional.
        """
        if a.context_features:
            raise self.refuse("one energy, so no context", a)
        with seeded(0, a.device):
            found = AnnealedNormaliser(40, 100, leapfrog=2).bracket(a, sweeps=40)
        stderr = math.hypot(float(found.lower.stderr or 0.0), float(found.upper.stderr or 0.0))
        return self.evidence(
            statistical("log Z from below ≤ from above", found.lower.value.item(), found.upper.value.item(),
                        stderr + 1e-6, sense="≤"),
            gap=round(found.gap, 4), effective=tuple(round(e) for e in found.effective),
        )  # fmt: skip

    def figure(self, *, stiffness: float = 4.0, chains: int = 2000, seed: int = 0) -> Figure:
        """Draw both bounds against the number of steps."""
        lengths, rows = (2, 4, 8, 16, 32), []
        with seeded(seed, torch.device("cpu")):
            for steps in lengths:
                rows.append([float(each.mean()) for each in self.works(stiffness, steps, chains)])
        with style():
            fig = figure(4.4, 3.0)
            axes = fig.subplots()
            for i, label in enumerate(("up", "down")):
                axes.semilogx(lengths, [row[i] for row in rows], marker="o", color=COLOURS[i], label=label)
            axes.axhline(-0.5 * math.log(stiffness), color=GREY, linestyle=":", linewidth=0.9)
            axes.set(
                xlabel="steps of annealing", ylabel="bound of log Z/Z₀ in nats", title="the truth in between"
            )
            axes.legend()
        return fig


def _mean(log_w: Tensor, truth: float) -> tuple[float, float, float]:
    w = log_w.exp()
    return float(w.mean()), math.exp(truth), _error(w)


def _error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(values.shape[0])
