"""Whether chains agree with one another, and how many independent draws theirs are worth: R̂ and ESS by ArviZ."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from unigen.errors import UnsupportedQueryError
from unigen.evaluate.arviz import to_arviz
from unigen.inference.draws import Draws

ENOUGH = 400  # effective draws, Vehtari et al. 2021
AGREED = 1.01


@dataclass(frozen=True, eq=False)
class Convergence:
    """Diagnostics of chains.

    Args:
        r_hat: The largest rank-normalised split R̂ of any number drawn; 1 where chains agree.
        ess_bulk: The smallest effective number of draws for means.
        ess_tail: The smallest for 5 % and 95 % quantiles.
        acceptance: Mean acceptance probability, 1 of unadjusted chains.
        divergent: Number of transitions whose energy broke down.
        table: All of it, one row a number drawn (a pandas DataFrame, ArviZ's).
    """

    r_hat: float
    ess_bulk: float
    ess_tail: float
    acceptance: float
    divergent: int
    table: Any

    @property
    def trusted(self) -> bool:
        """R̂ ≤ 1.01, both effective numbers ≥ 400, nothing divergent: necessary, not sufficient."""
        return self.r_hat <= AGREED and min(self.ess_bulk, self.ess_tail) >= ENOUGH and self.divergent == 0

    def __str__(self) -> str:
        """Write the worst of everything in one line."""
        return (
            f"R̂ ≤ {self.r_hat:.3f}, ESS ≥ {self.ess_bulk:.0f} (bulk), {self.ess_tail:.0f} (tail), "
            f"acceptance {self.acceptance:.2f}, {self.divergent} divergent"
        )


def convergence(draws: Draws) -> Convergence:
    """Diagnose the chains of ``ug.mcmc`` or ``ug.infer``.

    Args:
        draws: At least two chains of at least four draws.

    Returns:
        Convergence, with the table of every number drawn.

    Raises:
        UnsupportedQueryError: The draws are of a variational engine, or too few for the statistics.

    References:
        Vehtari, Gelman, Simpson, Carpenter & Bürkner, Rank-normalization, folding, and localization: an improved R̂,
        2021.

    Example:
        >>> import unigen as ug
        >>> draws = ug.mcmc(lambda x: 0.5 * x.square().sum(-1), 1, engine=ug.HMC(chains=4, draws=50, warmup=50), seed=0)
        >>> convergence(draws).r_hat < 1.2
        True
    """
    chains, rounds = next(iter(draws.values.values())).shape[:2]
    if "acceptance_rate" not in draws.statistics or chains < 2 or rounds < 4:
        raise UnsupportedQueryError(
            "R̂ compares chains", program=draws.program.name, got=f"{chains} chains of {rounds} draws",
            expected="at least 2 of at least 4, of an engine of Markov chains", hint="engine=ug.NUTS(chains=4)",
        )  # fmt: skip
    arviz: Any = importlib.import_module("arviz")
    data = to_arviz(draws) if draws.data is None else to_arviz(draws, samples=0)
    table = arviz.summary(data, kind="diagnostics", round_to="none")
    divergent = draws.statistics.get("diverging")
    return Convergence(
        float(table["r_hat"].max()),
        float(table["ess_bulk"].min()),
        float(table["ess_tail"].min()),
        float(draws.statistics["acceptance_rate"].mean()),
        0 if divergent is None else int(divergent.sum()),
        table,
    )
