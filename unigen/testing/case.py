"""A program with data to try it on, and what comes out: outcomes of laws, and their report."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

from unigen.errors import NoDensityError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.program import Program
from unigen.relations.evidence import Claim

BUDGET = 400_000  # scalar draws of the z-tests: a variance that is off by 2 % lies nine standard errors away


class DoesNotApply(Exception):
    """A law has nothing to say about this program; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """One law: whether it held (None: it does not apply), and the numbers or the reason."""

    law: str
    held: bool | None
    text: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{ {True: 'held', False: 'FAILED', None: '–'}[self.held]:6}  {self.law}: {self.text}"


@dataclass(frozen=True)
class Report:
    """The outcomes of all laws on one program."""

    program: str
    outcomes: tuple[Outcome, ...]

    def __getitem__(self, law: str) -> Outcome:
        """Return the outcome of a law by its name."""
        return next(outcome for outcome in self.outcomes if outcome.law == law)

    def __str__(self) -> str:
        """Return a line a law."""
        return "\n".join([self.program, *(f"  {outcome}" for outcome in self.outcomes)])


@dataclass
class Case:
    """A program with data to try it on."""

    program: Program
    x: Tensor
    context: Tensor | None
    seed: int
    budget: int = BUDGET

    def rows(self, n: int) -> tuple[Tensor, Tensor | None]:
        """Return n of the examples, repeated if there are fewer."""
        index = torch.arange(n) % self.x.shape[0]
        return self.x[index], None if self.context is None else self.context[index]

    def draws(self, n: int, seed: int = 0) -> Tensor:
        """Return n draws given the first context."""
        return self.program.sample(n, self.first, seed=self.seed + seed)

    @property
    def first(self) -> Tensor | None:
        """The first context, for all draws."""
        return None if self.context is None else self.context[:1]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) given the first context, float64."""
        return self.program.log_prob(x, self.first).value.double()

    @property
    def size(self) -> int:
        """Draws of a z-test; fewer where every density costs a simulation."""
        return 2000 if self.costly else min(self.budget, max(20_000, self.budget // self.dims))

    @property
    def costly(self) -> bool:
        """Whether a density of the user's or family's choosing is computed, by a simulation perhaps."""
        return self.program.density is not None

    @property
    def dims(self) -> int:
        """D."""
        return max(1, self.program.event_shape.numel())

    @property
    def support(self) -> Constraint:
        """Support of a single number of x."""
        support = self.program.support
        while inner := getattr(support, "base_constraint", getattr(support, "_base_constraint", None)):
            support = inner
        return support

    def need_exact(self) -> None:
        """Raise unless log_prob is exact."""
        try:
            kind = self.program.log_prob(*self.rows(1)).kind
        except (NoDensityError, UnsupportedQueryError) as error:
            raise DoesNotApply(f"no density: {error}") from error
        if kind is not Kind.EXACT:
            raise DoesNotApply(f"log_prob is of kind {kind}")


def require(condition: object, text: str) -> None:
    """Raise AssertionError with a text unless a condition is true, under ``python -O`` too."""
    if not condition:
        raise AssertionError(text)


def judge(claims: list[Claim]) -> str:
    """Return a line about claims that hold, or fail with those that do not."""
    worst = max(claims, key=lambda claim: claim.strain)
    require(worst.holds, "; ".join(str(claim) for claim in claims if not claim.holds))
    return f"{len(claims)} claims, the most strained: {worst}"
