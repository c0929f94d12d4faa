r"""Mean field and the exact Ising model: the bound, what it misses, and where nothing is missed.

Notation: log Z of spins with couplings J and field θ, L(m) the bound that independent spins of means m give,

    log Z = L(m) + KL(q_m ‖ p),    L(m) = ½ mᵀ J m + θ·m + Σ_i H(m_i).

Without field and with weak couplings the best m is 0 and log Z − L(0) = ½ Σ_(ij) J_ij² + O(J⁴). On a tree Bethe's
formula, which keeps the pairs, is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.densities.belief_propagation import BeliefPropagation
from unigen.densities.mean_field import NaiveMeanField, elbo_of_spins
from unigen.distributions.finite_states import LARGEST
from unigen.distributions.pairwise_spins import PairwiseSpins
from unigen.models.ising import Ising
from unigen.plots.style import COLOURS, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-10  # of float64 sums over some hundred states
GUESSES = 4  # random means besides the best
WEAK = 1e-2  # couplings at which the next order, relative to J², is below 10⁻³


class MeanFieldToIsing(Relation):
    """The mean-field bound of an Ising model is log Z less a divergence."""

    id = 28
    name = "mean field – exact"
    families = ("Ising",)
    statement = (
        "log Z is the mean-field bound plus KL(q‖p): ½ΣJ² at weak couplings; Bethe misses nothing on trees"
    )
    latex = r"\log Z = L(m) + \mathrm{KL}(q_m \,\|\, p), \quad L = \tfrac12 m^\top J m + \theta^\top m + \sum_i H(m_i)"
    source = "Wainwright & Jordan 2008"
    assumptions = ("at most 20 spins, so that all states can be visited",)

    def check(
        self, *, rows: int = 3, columns: int = 3, coupling: float = 0.6, field: float = 0.3, seed: int = 0
    ) -> Evidence:
        """Take a grid with a field at its centre, by enumeration and by transfer matrix.

        Args:
            rows: Of the grid.
            columns: Of the grid, rows · columns ≤ 20.
            coupling: J of every edge.
            field: θ of the middle spin.
            seed: Of the random means and trees.
        """
        model = Ising.grid(rows, columns, coupling=coupling).double()
        with torch.no_grad():
            model.coupling.fill_(coupling)
            model.field[rows * columns // 2] = field
        exact = model.states().log_z().item()
        claims = [
            Claim("enumeration = transfer matrix", exact, self.transfer(model, rows, columns), ROUNDING)
        ]
        with seeded(seed, torch.device("cpu")):
            found, best = self._bounds(model, exact)
            claims += found
            tree = Ising(7, [(0, 1), (1, 2), (1, 3), (3, 4), (3, 5), (5, 6)]).double()
            with torch.no_grad():
                tree.coupling.normal_()
                tree.field.normal_()
            bethe = BeliefPropagation(tolerance=1e-13).log_z(tree).value.item()
        claims.append(Claim("Bethe on a tree = log Z", bethe, tree.states().log_z().item(), 1e-9))
        weak = Ising.grid(3, 3).double()
        with torch.no_grad():
            weak.coupling.fill_(WEAK)
        gap = weak.states().log_z().item() - float(
            self.elbo(weak.spins(), torch.zeros(9, dtype=torch.float64))
        )
        claims.append(Claim("weak couplings: 2 (log Z − L)/ΣJ² → 1", 2 * gap / (12 * WEAK**2), 1.0, 1e-3))
        return self.evidence(*claims, log_z=round(exact, 6), mean_field=round(best, 6))

    def elbo(self, spins: PairwiseSpins, m: Tensor) -> Tensor:
        """Return L(m) in nats, shape (…) for m (…, n)."""
        return elbo_of_spins(spins, m)

    def _bounds(self, model: Ising, exact: float) -> tuple[list[Claim], float]:
        """Return the claims about the best means and random ones, and the best bound."""
        spins, found = model.spins(), NaiveMeanField(tolerance=1e-13).solve(model)
        s = torch.cat(list(model.states().chunks()))
        log_p, claims = spins.log_mass(s) - exact, []
        means = [found.mean, *(2 * torch.rand(GUESSES, spins.units, dtype=s.dtype) - 1)]
        slack = ROUNDING * (1 + abs(exact))
        for name, m in zip(["best m", *["random m"] * GUESSES], means, strict=True):
            log_q = ((1 + s * m) / 2).log().sum(-1)
            divergence = float(torch.where(log_q.isfinite(), log_q.exp() * (log_q - log_p), 0.0).sum())
            bound = float(self.elbo(spins, m))
            claims.append(Claim(f"{name}: L + KL = log Z", bound + divergence, exact, slack))
            claims.append(Claim(f"{name}: L ≤ log Z", bound, exact, slack, sense="≤"))
        residual = found.mean - (spins.field + found.mean @ spins.couplings).tanh()
        claims.append(Claim("best m = tanh(θ + J m), worst", float(residual.abs().max()), 0.0, 1e-6))
        return claims, found.log_z.value.item()

    def transfer(self, model: Ising, rows: int, columns: int) -> float:
        """Return log Z of a grid from the product of its row-to-row matrices, in nats."""
        line = torch.cat(list(Ising(columns, []).double().states().chunks()))
        spins = model.spins()
        field, j = spins.field.reshape(rows, columns), spins.couplings
        log_z = torch.zeros(line.shape[0], dtype=line.dtype)
        for i in range(rows):
            at = slice(i * columns, (i + 1) * columns)
            inside = 0.5 * ((line @ j[at, at]) * line).sum(-1) + line @ field[i]
            if i:
                above = slice((i - 1) * columns, i * columns)
                log_z = (log_z[:, None] + line @ j[above, at] @ line.mT).logsumexp(0)
            log_z = log_z + inside
        return log_z.logsumexp(0).item()

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Compare bound, divergence and log Z of an Ising program; the data are not needed.

        Raises:
            UnsupportedQueryError: More than 20 spins.
        """
        if not isinstance(a, Ising) or a.field.shape[0] > LARGEST:
            raise self.refuse(self.assumptions[0], a)
        own = Ising.from_couplings(a.couplings.detach().double(), a.field.detach().double())
        exact = own.states().log_z().item()
        claims, best = self._bounds(own, exact)
        return self.evidence(*claims, log_z=round(exact, 6), mean_field=round(best, 6))

    def figure(self) -> Figure:
        """Draw log Z, the mean-field bound and Bethe's estimate of a 3 × 3 grid against its coupling."""
        couplings = torch.linspace(0.0, 1.0, 21).tolist()
        lines: dict[str, list[float]] = {"exact": [], "mean field": [], "Bethe": []}
        for coupling in couplings:
            model = Ising.grid(3, 3, coupling=coupling, field=0.05).double()
            lines["exact"].append(model.states().log_z().item())
            lines["mean field"].append(NaiveMeanField().log_z(model).value.item())
            lines["Bethe"].append(BeliefPropagation(damping=0.3).log_z(model).value.item())
        with style():
            fig = figure(4.2, 3.0)
            axes = fig.subplots()
            for colour, (name, values) in zip(COLOURS, lines.items(), strict=False):
                axes.plot(couplings, values, color=colour, label=name)
            axes.set(xlabel="coupling", ylabel="log Z, nats", title="3 × 3 spins")
            axes.legend()
        return fig
