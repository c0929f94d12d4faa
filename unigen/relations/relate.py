"""relate, verify, convert: the relations put to work on programs.

relate(a, b, data)   which theorems link two programs, directly or through other families, and what they measure
verify()             the worked example of every theorem
convert(a, to=...)   the equal program of another family, where a theorem licenses it
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unigen.errors import NotFittedError, ShapeError, UnknownNameError, UnsupportedQueryError
from unigen.program import Program
from unigen.relations.evidence import Evidence
from unigen.relations.paths import ANY, Path, convert_along, find_paths, follow
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
    """Return the program of family ``to`` that is equal to this one, by whatever relation or chain of them licenses it.

    Raises:
        UnsupportedQueryError: No relation does; the message says why.

    Example:
        >>> import unigen as ug
        >>> print(convert(ug.PPCA(features=3, latents=1), to="FactorAnalysis").formula)
        p(x, z) = p(x | z) p(z);  q(z | x)
    """
    refusals = []
    for each in all_relations():
        if to in each.families and family_names(program) & (set(each.families) - {to}):
            try:
                return each.convert(program, to=to)
            except UnsupportedQueryError as error:
                refusals.append(str(error))
    try:
        return convert_along(program, to)
    except (UnsupportedQueryError, UnknownNameError) as error:
        why = " ".join(refusals) or error.message
    raise UnsupportedQueryError(f"no conversion of {program.name} into {to}; {why}", program=program.name)


@dataclass(frozen=True)
class Related:
    """The relations between two programs: what each says, and what it measures on them.

    Args:
        names: Of the programs.
        findings: The theorems that link them directly, each with its evidence, or why there is none.
        data: What they were measured on.
        paths: Ways through other families, followed.
        alone: Theorems about one of the two programs alone, by name.
    """

    names: tuple[str, ...]
    findings: tuple[tuple[Relation, Evidence | str], ...]
    data: str
    paths: tuple[Path, ...] = ()
    alone: tuple[tuple[str, tuple[Relation, ...]], ...] = ()

    @property
    def evidence(self) -> list[Evidence]:
        """The evidence that could be measured."""
        return [found for _, found in self.findings if isinstance(found, Evidence)]

    def __str__(self) -> str:
        """Return a text for a reader who meets the theorem for the first time."""
        title = " and ".join(self.names)
        if not self.findings and not self.paths:
            unknown = f"{title}: no relation is known. all_relations() lists those that are."
            return "\n".join([unknown, *self._about_one()])
        lines = [f"{title}, measured on {self.data}"]
        if not self.findings:
            lines.append("no theorem links the two directly.")
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
        if self.paths:
            lines += [
                "",
                "through other families:",
                *(f"  {line}" for path in self.paths for line in str(path).splitlines()),
            ]
        return "\n".join([*lines, *self._about_one()])

    def _about_one(self) -> list[str]:
        return [
            f"about {name} alone: {', '.join(f'{each.id} {each.name}' for each in known)}; ug.relate(program) measures"
            for name, known in self.alone
        ]

    __repr__ = __str__


def relate(a: Program, b: Program | None = None, data: object = None, *, through: int = 3) -> Related:
    """Find the relations between two programs' families, and measure on the programs what can be measured.

    Where families lie between the two, a program is carried along by conversion as far as the theorems license it, and
    the theorem at the end of the path is measured there.

    Args:
        a: A program, fitted where the theorem speaks of an optimum.
        b: Another; None for the theorems about ``a`` alone.
        data: Shape (N, *event), or a data set with a ``test`` part; 1,000 draws from ``a`` if omitted.
        through: Largest number of theorems on a path between the two; 1 asks for direct ones only.

    Returns:
        What was found; printing it explains it.

    Raises:
        ShapeError: The programs have different event shapes.

    Example:
        >>> import torch, unigen as ug
        >>> found = relate(ug.FactorAnalysis(3, 1), ug.VAE(3, 1), torch.randn(20, 3))
        >>> [path.families for path in found.paths][0]
        ('FactorAnalysis', 'PPCA', 'VAE')
    """
    names = (a.name,) if b is None else (a.name, b.name)
    if b is not None and tuple(a.event_shape) != tuple(b.event_shape):
        raise ShapeError(
            "a relation is between densities of the same x", program=f"{a.name} and {b.name}",
            got=f"event shapes {tuple(a.event_shape)} and {tuple(b.event_shape)}", expected="one event shape",
        )  # fmt: skip
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
        except (UnsupportedQueryError, NotImplementedError, NotFittedError) as error:
            found.append((each, str(error)))
    if b is None or b is a:
        return Related(names, tuple(found), origin)
    paths = [path for path in find_paths(a, b, through) if path.theorems > 1]
    if paths:
        x = a.sample(DRAWS) if x is None else x
    followed = tuple(follow(path, a, b, x) for path in paths if x is not None)
    alone = {
        p.name: tuple(r for r in all_relations() if r.families != (ANY,) and r.arrange(p)) for p in (a, b)
    }
    return Related(names, tuple(found), origin, followed, tuple((n, r) for n, r in alone.items() if r))
