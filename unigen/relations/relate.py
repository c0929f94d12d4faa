"""relate, verify, convert: the relations put to work on programs.

relate(a, b, data)   which theorems link two programs, and what they measure on them
verify()             the worked example of every theorem
convert(a, to=...)   the equal program of another family, where a theorem licenses it
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unigen.errors import UnsupportedQueryError
from unigen.program import Program
from unigen.relations.evidence import Evidence
from unigen.relations.relation import Relation, all_relations, family_names, relation

DRAWS = 1000  # draws from the first program, when no data are given


def verify(ids: Iterable[int] | None = None) -> list[Evidence]:
    """Run the worked examples of all relations, or of those named.

    Raises:
        UnknownNameError: A number is unknown (before anything runs).
    """
    chosen = all_relations() if ids is None else [relation(number) for number in ids]
    return [each.check() for each in chosen]


def convert(program: Program, *, to: str) -> Program:
    """Return the program of family ``to`` that is equal to this one, by whatever relation licenses it.

    Raises:
        UnsupportedQueryError: No relation does; the message says why.
    """
    refusals = []
    for each in all_relations():
        if to in each.families and family_names(program) & (set(each.families) - {to}):
            try:
                return each.convert(program, to=to)
            except UnsupportedQueryError as error:
                refusals.append(str(error))
    why = " ".join(refusals) or "no relation links the two families."
    raise UnsupportedQueryError(f"no conversion of {program.name} into {to}; {why}", program=program.name)


@dataclass(frozen=True)
class Related:
    """The relations between two programs: what each says, and what it measures on them."""

    names: tuple[str, ...]
    findings: tuple[tuple[Relation, Evidence | str], ...]
    data: str

    @property
    def evidence(self) -> list[Evidence]:
        """The evidence that could be measured."""
        return [found for _, found in self.findings if isinstance(found, Evidence)]

    def __str__(self) -> str:
        """Return a text for a reader who meets the theorem for the first time."""
        title = " and ".join(self.names)
        if not self.findings:
            return f"{title}: no relation is known. all_relations() lists those that are."
        lines = [f"{title}, measured on {self.data}"]
        for each, found in self.findings:
            lines += [
                "",
                f"{each.id}. {each.name}: {each.statement}.",
                f"   {each.latex}",
                f"   source: {each.source}",
            ]
            lines += [f"   assumes: {assumption}" for assumption in each.assumptions]
            if isinstance(found, str):
                lines.append(f"   not measured here: {found}")
                continue
            lines.append(f"   on these programs it {'holds' if found.holds else 'does not hold'}:")
            lines += [f"     {claim}" for claim in found.claims]
            lines += [f"     {name}: {value}" for name, value in found.details.items()]
        return "\n".join(lines)

    __repr__ = __str__


def relate(a: Program, b: Program | None = None, data: object = None) -> Related:
    """Find the relations between two programs' families, and measure on the programs what can be measured.

    Args:
        a: A program, fitted where the theorem speaks of an optimum.
        b: Another; None for the theorems about ``a`` alone.
        data: Shape (N, *event), or a data set with a ``test`` part; 1,000 draws from ``a`` if omitted.

    Returns:
        What was found; printing it explains it.
    """
    names = (a.name,) if b is None else (a.name, b.name)
    found: list[tuple[Relation, Evidence | str]] = []
    arranged = [(each, each.arrange(a, b)) for each in all_relations()]
    x, origin = None, f"{DRAWS} draws from {a.name}"
    if data is not None:
        x = a.check_batch(getattr(data, "test", data))[0]
        origin = f"{x.shape[0]} given examples"
    for each, pair in arranged:
        if pair is None:
            continue
        x = a.sample(DRAWS) if x is None else x
        try:
            found.append((each, each.check_programs(*pair, x)))
        except (UnsupportedQueryError, NotImplementedError) as error:
            found.append((each, str(error)))
    return Related(names, tuple(found), origin)
