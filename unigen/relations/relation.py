r"""Relation: a theorem between families, which converts where it can and measures by how much it holds.

A relation is one class in one file of this package; a file is found by being there. To write one, state the
theorem in class attributes and give ``check`` a worked example whose parameters have defaults::

    from unigen.relations.evidence import Claim, Evidence, statistical
    from unigen.relations.relation import Relation

    class ScoreOfEnergy(Relation):
        id = 8
        name = "density – energy – score"
        families = ("GaussianMixture", "PPCA")  # class names; a single name: a theorem about one program
        statement = "the score is minus the gradient of the energy"
        latex = r"s(x) = -\nabla_x E(x)"
        source = "Salimans & Ho 2021"
        assumptions = ("the energy is differentiable",)

        def check(self, *, mean: float = 0.5, seed: int = 0) -> Evidence:
            with seeded(seed, torch.device("cpu")):  # unigen.queries.seeded: a stream of its own
                ...
            return self.evidence(
                Claim("at x = 1", left=-0.5, right=-0.5, tolerance=1e-9),      # deterministic: say why 1e-9
                statistical("on average", left=0.01, right=0.0, stderr=0.02),  # tolerance from the error
                draws=1000,                                                    # anything worth reporting
            )

The default ``check()`` runs in a few seconds, in float64, and reproduces the worked example in the table of
theorems. ``check_programs`` does the same for two fitted programs and data, ``convert`` turns a program of one
family into the equal program of another, ``figure`` draws the theorem (its claims, unless overridden); all three are
optional. A test breaks the identity (leave out a term, by a subclass or an argument) and sees ``holds`` turn false.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from unigen.errors import ArgumentError, NotFittedError, UnknownNameError, UnsupportedQueryError
from unigen.plots.evidence import evidence_figure
from unigen.program import Program
from unigen.relations.evidence import Claim, Evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def family_names(program: Program) -> set[str]:
    """Return the class names of a program and of its bases."""
    return {base.__name__ for base in type(program).__mro__}


class Relation(ABC):
    """A theorem about one family, or between several; see the module's docstring for how to write one.

    Attributes:
        id: Number in the table of theorems.
        name: The families, as a reader would say them.
        families: Class names of the programs it links, in the order of ``check_programs``; base classes count.
        statement: The theorem in a sentence.
        latex: The theorem as a formula.
        source: Authors and year.
        assumptions: Conditions under which it is true.
        converts: Pairs of families (from, to) between which ``convert`` carries programs over.
    """

    id: ClassVar[int]
    name: ClassVar[str]
    families: ClassVar[tuple[str, ...]]
    statement: ClassVar[str]
    latex: ClassVar[str]
    source: ClassVar[str]
    assumptions: ClassVar[tuple[str, ...]] = ()
    converts: ClassVar[tuple[tuple[str, str], ...]] = ()

    @abstractmethod
    def check(self) -> Evidence:
        """Run the worked example; keyword arguments change its parameters."""

    def figure(self, **parameters: Any) -> Figure:
        """Draw the theorem on its worked example; unless a relation has a picture of its own, its claims.

        Args:
            parameters: Those of ``check``, or of the picture.
        """
        evidence = self.check(**parameters)
        return evidence_figure(evidence.claims, f"{self.id}. {self.statement}")

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Measure the identity on fitted programs, ``a`` of the first family and ``b`` of the second.

        Raises:
            UnsupportedQueryError: Nothing can be measured on programs, or an assumption fails on these.
        """
        raise UnsupportedQueryError(
            f"relation {self.id} has a worked example and nothing to run on two programs",
            hint=f"relation({self.id}).check()",
        )

    def convert(self, program: Program, *, to: str) -> Program:
        """Return the program of family ``to`` that is equal to this one.

        Raises:
            UnsupportedQueryError: The theorem licenses no conversion; the message names the failing assumption.
        """
        raise UnsupportedQueryError(
            f"relation {self.id} ({self.name}) licenses no conversion", got=f"{program.name} → {to}"
        )

    def arrange(self, a: Program, b: Program | None = None) -> tuple[Program, Program] | None:
        """Return the two programs in the order of ``families``, or None if the theorem does not speak of them."""
        if len(self.families) == 1:
            alone = b is None or b is a
            return (a, a) if alone and self.families[0] in family_names(a) else None
        if b is None:
            return None
        for i, first in enumerate(self.families):
            for second in self.families[i + 1 :]:
                for one, two in ((a, b), (b, a)):
                    if first in family_names(one) and second in family_names(two):
                        return one, two
        return None

    def evidence(self, *claims: Claim, **details: object) -> Evidence:
        """Collect claims into evidence; it holds if all do, and shows the most strained."""
        if not claims:
            raise ArgumentError("a check makes at least one claim", program=type(self).__name__)
        worst = max(claims, key=lambda claim: claim.strain)
        return Evidence(
            self.id, self.statement, worst.left, worst.right, worst.gap, worst.tolerance,
            all(claim.holds for claim in claims), self.source, worst.stderr, details, claims,
        )  # fmt: skip

    def refuse(self, assumption: str, program: Program | None = None, **parts: str) -> UnsupportedQueryError:
        """Return the error to raise where an assumption fails."""
        name = None if program is None else program.name
        return UnsupportedQueryError(
            f"relation {self.id} ({self.name}) needs: {assumption}", program=name, **parts
        )

    def require_fitted(self, *programs: Program) -> None:
        """Refuse programs that were never fitted, where the theorem speaks of an optimum.

        Raises:
            NotFittedError: One was not.
        """
        for program in programs:
            if not program.fitted:
                raise NotFittedError(
                    f"relation {self.id} ({self.name}) needs: parameters at the optimum", program=program.name,
                    hint="ug.fit(program, x); program.fitted = True says that you have trained it yourself",
                )  # fmt: skip

    def __repr__(self) -> str:
        """Return number, name, statement and source."""
        return f"{self.id}. {self.name}: {self.statement} [{self.source}]"


_REGISTRY: dict[int, Relation] = {}
_LOADED: set[str] = set()


def register(relation: Relation) -> None:
    """Add a relation of your own to those that ``relate`` and ``verify`` know.

    Raises:
        ArgumentError: Another relation has its number.
    """
    known = _REGISTRY.get(relation.id)
    if known is not None and type(known) is not type(relation):
        raise ArgumentError(
            site="id",
            got=f"{relation.id}, already {known.name}",
            expected="an unused number",
            hint="id = 1000",
        )
    _REGISTRY[relation.id] = relation


def _load() -> None:
    package = importlib.import_module(__name__.rpartition(".")[0])
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if found.name == __name__ or found.name in _LOADED:
            continue
        for value in vars(importlib.import_module(found.name)).values():
            own = isinstance(value, type) and issubclass(value, Relation) and value.__module__ == found.name
            if own and not inspect.isabstract(value):
                register(value())
        _LOADED.add(found.name)


def all_relations() -> list[Relation]:
    """Return every relation, by number; their files are imported at the first call."""
    _load()
    return [_REGISTRY[number] for number in sorted(_REGISTRY)]


def relation(number: int) -> Relation:
    """Return the relation with this number.

    Raises:
        UnknownNameError: There is none; the message lists those there are.
    """
    known = {each.id: each for each in all_relations()}
    if number not in known:
        listing = "; ".join(f"{each.id} {each.name}" for each in known.values())
        raise UnknownNameError("no such relation", got=number, expected=f"one of: {listing}")
    return known[number]
