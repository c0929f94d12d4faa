"""The table of families, from the code: each is constructed and asked."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from unigen.errors import NoDensityError
from unigen.names import FAMILIES, resolve

HEAD = ("family", "formula", "`fit` minimises", "steps", "`log_prob` is", "by", "`sample` draws by")


def cell(text: str) -> str:
    return text.replace("|", r"\|")


def code(text: str) -> str:
    return f"`{cell(text)}`"


def rows() -> Iterator[tuple[str, ...]]:
    for name in FAMILIES:
        program = resolve(name)(features=8)
        objective = type(program.objective).__name__
        game = getattr(program.objective, "loss", None)
        if game is not None:
            objective += f"({type(game).__name__})"
        try:
            kind = str(program.log_prob(torch.zeros(2, 8)).kind)
        except NoDensityError:
            kind = "no density"
        by = "its marginal" if program.has_marginal else "importance weighting"
        if program.density is not None:
            by = "–" if kind == "no density" else code(type(program.density).__name__)
        sampler = "ancestry" if program.sampler is None else code(type(program.sampler).__name__)
        formula = program.formula
        if "z_2" in formula:
            formula = "p(x, z_T … z_1) = p(x | z_1) Π p(z_i | z_{i+1}) p(z_T);  q(z_T … z_1 | x)"
        steps = {"ClosedForm": "one", "LeastSquares": "one", "EM": f"at most {program.recipe.steps}"}
        yield (
            f"**{name}**",
            code(formula),
            code(objective),
            steps.get(objective, str(program.recipe.steps)),
            kind,
            by,
            sampler,
        )


def family_table() -> str:
    """Return a Markdown table with a row a family."""
    lines = [HEAD, ("---",) * len(HEAD), *rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def family_list() -> str:
    """Return a Markdown list of what each family is, with a link to its reference."""
    return "\n".join(
        f"* **{name}**: {what}; {{py:mod}}`{module}`" for name, (module, what) in FAMILIES.items()
    )
