"""A program whose data have missing entries: their terms left out of the likelihood, the guide fed stand-ins.

    p(x_obs, z) = p(z) Π_{i observed} p(x_i | z),        q(z | x_obs) = q(z | x with x_mis replaced),

exact in the likelihood where entries are missing at random, so that any bound of log p(x_obs) trains it. With the
importance-weighted bound it is the MIWAE.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from unigen.densities.importance import Importance
from unigen.distributions.missing import WithMissing
from unigen.errors import ArgumentError, EmptyDataError
from unigen.logprob import Kind
from unigen.objectives.iwae import IWAE
from unigen.objectives.objective import Objective
from unigen.program import Program
from unigen.traces import Node

PARTICLES = 64  # of the default bound and of imputation


class _LeaveOut(Messenger):
    """Leaves missing entries out of the density of one site."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self.site = site

    def _pyro_sample(self, msg: Node) -> None:
        if msg["name"] == self.site:
            msg["fn"] = WithMissing(msg["fn"], validate_args=False)


class Incomplete(Program):
    """A program of whose data, NaN where missing, only the observed entries count.

    All that is said of x is then said of its observed entries: ``log_prob`` is that of x_obs, ``posterior`` that given
    x_obs, and ``impute`` gives E[x_mis | x_obs] by importance sampling. Draws are complete.

    Args:
        program: p(x, z | c), its entries independent given z.
        fill: What its guide reads in place of a missing entry: ``"zero"``, or ``"mean"``, that of the entry in the
            data of the first fit.
        objective: What ``fit`` maximises.

    Raises:
        ArgumentError: The entries of x depend on one another given z; the program has missing entries of its own; or
            another word for ``fill``.

    References:
        Mattei & Frellsen, MIWAE: deep generative modelling and imputation of incomplete data sets, 2019; Rubin,
        Inference and missing data, 1976.

    Example:
        >>> from unigen.models.vae import VAE
        >>> vae, x = Incomplete(VAE(features=3, latents=1)), torch.tensor([[0.1, torch.nan, 0.3]])
        >>> print(vae.log_prob(x).kind, bool(vae.impute(x).isnan().any()))
        lower bound False
    """

    means: Tensor

    def __init__(self, program: Program, *, fill: str = "zero", objective: Objective = IWAE(20)) -> None:
        if program.missing:
            raise ArgumentError("the program takes missing entries itself", program=program.name)
        if fill not in ("zero", "mean"):
            raise ArgumentError(
                program="Incomplete", site="fill", got=repr(fill), expected="'zero' or 'mean'"
            )
        super().__init__(tuple(program.event_shape), context=program.context_features, objective=objective)
        self.program, self.fill, self.missing = program, fill, True
        self.register_buffer("means", torch.zeros(program.event_shape, dtype=program.dtype))
        self.posterior_label = program.posterior_label
        if self.structure.latents and self.kind is Kind.LOWER_BOUND:
            self.density = Importance(PARTICLES)

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Any:
        """Declare p(x_obs, z | c)."""
        with _LeaveOut(self.observed):
            return self.program.model(x, context, n)

    def guide(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Any:
        """Declare q(z | x_obs, c): the program's own guide at x with its holes filled."""
        filled = None if x is None else torch.where(x.isnan(), self.means.to(x.dtype), x)
        return self.program.guide(filled, context, n)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Note the observed means, and start the program at the data with its holes filled by them.

        Raises:
            EmptyDataError: An entry is never observed.
        """
        means = x.nanmean(0)
        if bool(means.isnan().any()):
            columns = means.isnan().flatten().nonzero()[:, 0].tolist()
            raise EmptyDataError(
                "entries that are never observed cannot be learned",
                program=self.name,
                site=self.observed,
                got=f"only NaN in {columns[:5]}",
                hint="drop them: x[:, ~x.isnan().all(0)]",
            )
        if self.fill == "mean":
            self.means.copy_(means)
        stand_in = means.round() if self.structure.observed.discrete else means
        self.program.initialise(torch.where(x.isnan(), stand_in.expand_as(x), x), context)


def with_missing(program: Program, *, fill: str = "zero", objective: Objective = IWAE(20)) -> Incomplete:
    """Return a program that takes NaN for a missing entry; see ``Incomplete``.

    Args:
        program: Any program whose entries are independent given its latents; it becomes a part of the result.
        fill: What its guide reads in place of a missing entry: ``"zero"`` or ``"mean"``.
        objective: What ``fit`` maximises.

    Raises:
        ArgumentError: See ``Incomplete``.

    Example:
        >>> import unigen as ug
        >>> print(with_missing(ug.VAE(features=3, latents=1)).formula)
        p(x, z) = p(x | z) p(z);  q(z | x)
    """
    return Incomplete(program, fill=fill, objective=objective)
