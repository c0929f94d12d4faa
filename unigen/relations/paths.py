"""Paths: how two families are linked through others, and what becomes of a program that is carried along.

The graph has the families as nodes and two kinds of edges: theorems between two families, and "is a" between a family
and its base class (a MAF is a flow). A path is followed by converting a program from family to family where the
theorems license it; on the last edge, or on the first in the other direction, theorem meets program.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from unigen.errors import NotFittedError, UnknownNameError, UnsupportedQueryError
from unigen.families import FAMILIES, term
from unigen.names import resolve
from unigen.program import Program
from unigen.relations.evidence import Evidence
from unigen.relations.relation import Relation, all_relations, family_names

if TYPE_CHECKING:
    import networkx

MOST = 4  # paths that are followed, the shortest first
ANY = "Program"  # theorems about every program link no two families
IS_A = 0.1  # length of an edge from a family to its base class; a theorem's is 1
REFUSALS = (UnsupportedQueryError, NotImplementedError, NotFittedError)


@dataclass(frozen=True)
class Step:
    """One edge: two families, and the theorems that link them; none where one is the base class of the other."""

    start: str
    end: str
    relations: tuple[Relation, ...]

    def lines(self, known: set[int]) -> list[str]:
        """Write the edge with its theorems, a line each, and of those whose numbers are known no more than these."""
        pair = f"{term(self.start)} and {term(self.end)}"
        if not self.relations:
            return [f"{pair}: one is a special case of the other"]
        said = []
        for each in self.relations:
            text = (
                f"relation {each.id} again"
                if each.id in known
                else f"{each.statement} [{each.id}, {each.source}]"
            )
            said.append(f"{pair}: {text}")
            known.add(each.id)
        return said


@dataclass(frozen=True)
class Path:
    """A way from one family to another, and what was found by following it with programs.

    Args:
        steps: The edges.
        carried: One of the two programs, and what conversion made of it, edge by edge.
        stopped: Why the conversion went no further, or None.
        evidence: What the last theorem measured on the carried program and the other one.
    """

    steps: tuple[Step, ...]
    carried: tuple[Program, ...] = ()
    stopped: str | None = None
    evidence: tuple[Evidence, ...] = ()

    @property
    def families(self) -> tuple[str, ...]:
        """The families along the way, in the field's words."""
        return tuple(map(term, self.nodes))

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of their classes."""
        return (self.steps[0].start, *(step.end for step in self.steps))

    @property
    def theorems(self) -> int:
        """Number of edges that are theorems."""
        return sum(bool(step.relations) for step in self.steps)

    def __str__(self) -> str:
        """Explain the path edge by edge, and what was found."""
        lines = [" → ".join(self.families)]
        known: set[int] = set()
        lines += [f"   {line}" for step in self.steps for line in step.lines(known)]
        if len(self.carried) > 1:
            lines.append(f"   carried over: {' → '.join(p.name for p in self.carried)}")
        if self.stopped:
            lines.append(f"   no further: {self.stopped}")
        for found in self.evidence:
            verdict = "holds" if found.holds else "does not hold"
            lines.append(f"   at the end of the path relation {found.id} {verdict}:")
            lines += [f"     {claim}" for claim in found.claims]
        return "\n".join(lines)


def family_graph() -> networkx.Graph:
    """Return the graph of families: an edge carries ``relations``, none of them where it says "is a", and ``length``.

    Example:
        >>> sorted(r.id for r in family_graph()["PPCA"]["FactorAnalysis"]["relations"])
        [3]
    """
    import networkx

    graph = networkx.Graph()
    for each in all_relations():
        for a, b in itertools.combinations(each.families, 2):
            if ANY not in (a, b):
                known = graph.edges[a, b]["relations"] if graph.has_edge(a, b) else ()
                graph.add_edge(a, b, relations=(*known, each), length=1.0)
    graph.add_nodes_from(name for each in all_relations() for name in each.families if name != ANY)
    classes = {name: resolve(name) for name in graph if name in FAMILIES}
    for name, family in classes.items():
        for base in family.__mro__[1:]:
            if base.__name__ in graph and not graph.has_edge(name, base.__name__):
                graph.add_edge(name, base.__name__, relations=(), length=IS_A)
    return graph


def _ends(graph: networkx.Graph, program: Program) -> list[str]:
    """Return the families of a program that the graph knows, the most special first."""
    return [base.__name__ for base in type(program).__mro__ if base.__name__ in graph]


def find_paths(a: Program, b: Program, longest: int = 3) -> list[Path]:
    """Return paths of theorems between the families of two programs, the shortest first, nothing run yet.

    Args:
        a: A program.
        b: Another.
        longest: Largest number of theorems on a path.

    Returns:
        At most four, none a detour by way of another; none at all if the families are the same or no theorem leads
        from one to the other.

    Example:
        >>> import unigen as ug
        >>> [path.families for path in find_paths(ug.FactorAnalysis(3, 1), ug.VAE(3, 1))][0]
        ('FactorAnalysis', 'PPCA', 'VAE')
    """
    import networkx

    graph = family_graph()
    starts, ends = _ends(graph, a), _ends(graph, b)
    if not starts or not ends or starts[0] == ends[0]:
        return []
    if not networkx.has_path(graph, starts[0], ends[0]):
        return []
    found = []
    for nodes in networkx.shortest_simple_paths(graph, starts[0], ends[0], weight="length"):
        edges = [Step(u, v, graph.edges[u, v]["relations"]) for u, v in itertools.pairwise(nodes)]
        path, between = Path(tuple(edges)), set(nodes[1:-1])
        if path.theorems > longest or len(found) == MOST:
            break
        detour = any(set(known.nodes[1:-1]) <= between for known in found if len(known.steps) > 1)
        if path.theorems and not detour:
            found.append(path)
    return found


def carry(program: Program, steps: Sequence[Step]) -> tuple[tuple[Program, ...], str | None]:
    """Convert a program along edges as far as the theorems license it.

    Args:
        program: Of the family where the first edge starts.
        steps: The edges.

    Returns:
        The programs obtained, one an edge, and why there are fewer, or None.
    """
    reached: list[Program] = []
    for step in steps:
        current = reached[-1] if reached else program
        if step.end in family_names(current):
            reached.append(current)  # it is one already: from a special case to its base class
            continue
        refusals, made = [], None
        for each in step.relations:
            try:
                made = each.convert(current, to=step.end)
                break
            except REFUSALS as error:
                refusals.append(str(error))
        if made is None:
            why = " ".join(refusals) or f"not every {term(step.start)} is a {term(step.end)}"
            return tuple(reached), why
        reached.append(made)
    return tuple(reached), None


def _measure(
    relations: Sequence[Relation], a: Program, b: Program, x: Tensor
) -> tuple[list[Evidence], list[str]]:
    """Run theorems on two programs; return what they found, and why the others could not."""
    found, refusals = [], []
    for each in relations:
        pair = each.arrange(a, b)
        if pair is None:
            continue
        try:
            found.append(each.check_programs(*pair, x))
        except REFUSALS as error:
            refusals.append(str(error))
    return found, refusals


def follow(path: Path, a: Program, b: Program, x: Tensor) -> Path:
    """Carry the first program along the path, or else the second against it, and measure the theorem it arrives at.

    Args:
        path: From the family of a to that of b.
        a: A program.
        b: Another.
        x: Data, shape (N, *event).

    Returns:
        The path with what was found; where both directions stop, that of the first, with the reason.
    """
    back = tuple(Step(step.end, step.start, step.relations) for step in reversed(path.steps))
    reasons = None
    for steps, one, other in ((path.steps, a, b), (back, b, a)):
        carried, why = carry(one, steps[:-1])
        if why is None:
            end = carried[-1] if carried else one
            evidence, refusals = _measure(steps[-1].relations, end, other, x.to(other.dtype))
            if evidence:
                return Path(path.steps, (one, *carried), None, tuple(evidence))
            why = " ".join(refusals) or "the last step is no theorem"
        reasons = reasons or Path(path.steps, (one, *carried), why)
    assert reasons is not None
    return reasons


def convert_along(program: Program, to: str, longest: int = 3) -> Program:
    """Return the program of family ``to`` that a chain of conversions makes of this one.

    Args:
        program: Of any family that the graph knows.
        to: Name of a family.
        longest: Largest number of conversions.

    Raises:
        UnknownNameError: There is no such family among the relations.
        UnsupportedQueryError: No chain of theorems licenses it; the message names the assumption that fails.

    Example:
        >>> import torch, unigen as ug
        >>> pca = ug.PCA(3, 1)
        >>> pca.solve(torch.randn(50, 3) * torch.tensor([3.0, 1.0, 1.0]))
        >>> convert_along(pca, "VAE").name
        'VAE'
    """
    import networkx

    graph = family_graph()
    to = {term(name): name for name in graph}.get(to, to)
    if to not in graph:
        raise UnknownNameError(
            "no relation links the two families",
            site="to",
            got=repr(to),
            expected=f"one of {', '.join(sorted(map(term, graph)))}",
        )
    starts, refusals = _ends(graph, program), []
    if starts and starts[0] != to and networkx.has_path(graph, starts[0], to):
        chains = networkx.shortest_simple_paths(graph, starts[0], to, weight="length")
        for nodes in itertools.islice(chains, MOST):
            steps = [Step(u, v, graph.edges[u, v]["relations"]) for u, v in itertools.pairwise(nodes)]
            if sum(bool(step.relations) for step in steps) > longest:
                break
            carried, why = carry(program, steps)
            if why is None and to in family_names(carried[-1]):
                return carried[-1]
            refusals.append(f"{' → '.join(map(term, nodes))}: {why}")
    why = " ".join(refusals) or "no relation links the two families."
    raise UnsupportedQueryError(f"no conversion of {program.name} into {to}; {why}", program=program.name)
