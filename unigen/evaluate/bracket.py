"""The bidirectional bracket: log p(x) between annealed bounds from both sides, on data the program simulates.

For x drawn with its own z, that z is an exact draw from p(z | x), so that reverse annealing bounds log p(x) from above
and forward annealing from below. The gap between the two bounds the error of either, without any ground truth.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.checks import check_context
from unigen.densities.ais import AIS
from unigen.densities.latent_space import check_latents
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.logprob import LogProb
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.traces import draw


@dataclass(frozen=True, eq=False)
class Bracket:
    """Lower and upper bounds on log p(x_i) of simulated data, in nats.

    Args:
        x: The simulated data, shape (n, *event_shape).
        lower: Lower bounds, shape (n,), with Monte Carlo standard errors.
        upper: Upper bounds, shape (n,); each rests on one draw of z, so only their mean has a standard error.
        acceptance: Mean acceptance of the transitions, forward and reverse.
    """

    x: Tensor
    lower: LogProb
    upper: LogProb
    acceptance: tuple[float, float]

    @property
    def gap(self) -> float:
        """Mean of upper − lower in nats an example: on average at least the error of either bound."""
        return (self.upper.value - self.lower.value).double().mean().item()

    @property
    def gap_stderr(self) -> float:
        """Standard error of the gap over the examples, in nats."""
        return ((self.upper.value - self.lower.value).double().std() / math.sqrt(len(self.lower))).item()

    def __str__(self) -> str:
        """Write both sides, the gap and the acceptance."""
        return (
            f"{self.lower.mean()} ≤ mean log p(x) ≤ {self.upper.mean()}; "
            f"gap {self.gap:.3g} ± {self.gap_stderr:.2g} nats, "
            f"acceptance {self.acceptance[0]:.2f} forward, {self.acceptance[1]:.2f} reverse"
        )


def bracket(
    program: Program,
    n: int = 100,
    context: object = None,
    *,
    density: AIS = AIS(),
    seed: int | None = None,
) -> Bracket:
    """Bound log p(x) from both sides on n examples drawn from the program itself.

    E lower(x) ≤ E log p(x) ≤ E upper(x),    x, z ~ p(x, z | c).

    It says how far annealing (and, with ``steps=1``, importance sampling) can be trusted on this program; on real data
    only the lower bound holds.

    Args:
        program: A program with continuous latents of each example.
        n: Number of simulated examples, at least two.
        context: Shape (n, C) for a conditional program.
        density: Steps and chains of the annealing, both ways.
        seed: Reproduces data and chains.

    Returns:
        Bracket in nats, with standard errors over the examples.

    Raises:
        ArgumentError: n < 2.
        UnsupportedQueryError: The latents cannot be annealed, or the density of the program is not normalised.

    References:
        Grosse, Ghahramani & Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015; Wu et al.
        2017.

    Example:
        >>> import unigen as ug
        >>> found = bracket(ug.PPCA(features=3, latents=1), n=8, density=AIS(steps=5, chains=2), seed=0)
        >>> abs(found.gap) < 1e-3  # its guide is exact
        True
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 2:
        raise ArgumentError(program=program.name, site="n", got=n, expected="an integer ≥ 2")
    sites = check_latents(program)
    c = check_context(context, program.context_features, n, program.dtype, program.name)
    c = None if c is None else c.to(program.device)
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        nodes = draw(functools.partial(program.model, None, c, n))
        x = nodes[program.observed]["value"]
        z = {site.name: nodes[site.name]["value"] for site in sites}
        lower, upper = density.lower(program, x, c), density.upper(program, x, z, c)
    if not lower.bound.kind.normalised:
        raise UnsupportedQueryError(
            "draws of an unnormalised part are approximate, so reverse annealing gives no bound",
            program=program.name,
            hint="program.log_prob(x, density=ug.AIS(…)) for the forward side",
        )
    rates = lower.acceptance.mean().item(), upper.acceptance.mean().item()
    return Bracket(x, lower.bound, upper.bound, rates)
