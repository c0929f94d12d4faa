"""The table of families on the guide's page, from what ``unigen.study.table`` finds out about each."""

from __future__ import annotations

from collections.abc import Iterator

from family_pages import page_of

from unigen.study.table import all_answers, smallest

HEAD = ("family", "formula", "`fit` minimises", "steps", "`log_prob` is", "by", "`sample` draws by")
HIERARCHY = "p(x, z_T … z_1) = p(x | z_1) Π p(z_i | z_{i+1}) p(z_T);  q(z_T … z_1 | x)"


def code(text: str) -> str:
    return "`" + text.replace("|", r"\|") + "`"


def rows() -> Iterator[tuple[str, ...]]:
    for each in all_answers():
        program = smallest(each.name)
        by = "its marginal" if program.has_marginal else "importance weighting"
        if program.density is not None:
            by = "–" if each.log_prob == "none" else code(type(program.density).__name__)
        steps = str(program.recipe.steps)
        updates = {"ClosedForm": "one", "LeastSquares": "one", "EM": f"at most {steps}"}
        yield (
            f"[**{each.name}**](../families/{page_of(each.name)}.md)",
            code(HIERARCHY if "z_2" in each.formula else each.formula),
            code(each.objective),
            updates.get(each.objective, steps),
            each.log_prob,
            by,
            each.sampler,
        )


def family_table() -> str:
    """Return a Markdown table with a row a family."""
    lines = [HEAD, ("---",) * len(HEAD), *rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def family_list() -> str:
    """Return a Markdown list of what each family is, with links to its page and to its reference."""
    return "\n".join(
        f"* [**{each.name}**](../families/{page_of(each.name)}.md): {each.what}; {{py:mod}}`{each.module}`"
        for each in all_answers()
    )
