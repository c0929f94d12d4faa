"""What each family can answer, asked of a tiny instance of it rather than written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unigen.errors import NoDensityError
from unigen.families import FAMILIES
from unigen.names import family, resolve
from unigen.objectives.elbo import ELBO
from unigen.program import Program

FEATURES = 3
SEQUENCE = {"features": 2, "length": 3}
SERIES = {"features": 2, "times": (0.0, 0.5, 1.0)}
# arguments of the families that take more than a number of features
SMALLEST: dict[str, Callable[[], dict[str, Any]]] = {
    "Mixture": lambda: {"components": [smallest("GaussianMixture"), smallest("PPCA")]},
    "Flow": lambda: {"features": FEATURES, "layers": [resolve("Coupling")()]},
    "Glow": lambda: {"shape": (1, 2, 2), "levels": 1, "steps": 1, "hidden": (4,)},
    "Transformer": lambda: {"length": 3, "vocabulary": 2, "width": 8, "heads": 2, "layers": 1},
    "PixelCNN": lambda: {"shape": (1, 2, 2), "likelihood": resolve("Bernoulli")(), "width": 4, "layers": 2},
    "VQVAE": lambda: {"features": FEATURES, "positions": 2, "codes": 3},
    "HiddenMarkov": lambda: SEQUENCE,
    "StateSpace": lambda: SEQUENCE,
    "DeepMarkov": lambda: SEQUENCE,
    "LatentSDE": lambda: SERIES,
    "LatentODE": lambda: SERIES,
}


@dataclass(frozen=True)
class Answers:
    """What one family answers by default.

    Args:
        name: Its name.
        what: What it is.
        module: Where it is defined.
        formula: Its factorisation.
        log_prob: Kind of number that ``log_prob`` gives, or ``"none"``.
        posterior: Whether ``posterior``, ``encode`` and ``reconstruct`` work.
        objective: What ``fit`` minimises.
        sampler: How ``sample`` draws.
    """

    name: str
    what: str
    module: str
    formula: str
    log_prob: str
    posterior: bool
    objective: str
    sampler: str


def smallest(name: str) -> Program:
    """Return a tiny instance of a family, of three features where an example is a vector.

    Raises:
        UnknownNameError: There is no such family.
    """
    arguments = SMALLEST[name]() if name in SMALLEST else {"features": FEATURES}
    return family(name)(**arguments)


def answers(name: str) -> Answers:
    """Return what a family answers, from a tiny instance.

    Raises:
        UnknownNameError: There is no such family.
    """
    program = smallest(name)
    module, what = FAMILIES[type(program).__name__]
    try:
        kind = str(program.kind)
    except NoDensityError:
        kind = "none"
    objective = type(program.objective or ELBO())
    loss = getattr(program.objective, "loss", None)  # the game that an adversarial objective plays
    return Answers(
        name=type(program).__name__,
        what=what,
        module=module,
        formula=program.formula,
        log_prob=kind,
        posterior=bool(program.structure.latents) and program.has_posterior,
        objective=objective.__name__ if loss is None else f"{objective.__name__}({type(loss).__name__})",
        sampler="ancestral" if program.sampler is None else type(program.sampler).__name__,
    )


def all_answers() -> list[Answers]:
    """Return what every family answers, in the order of the table of names."""
    return [answers(name) for name in FAMILIES]


def family_table() -> str:
    """Return the table of families as Markdown, one family a row; README.md holds it.

    Example:
        >>> print(family_table().splitlines()[0])
        | family | what it is | `log_prob` | posterior | `fit` minimises | `sample` |
    """
    heads = ("family", "what it is", "`log_prob`", "posterior", "`fit` minimises", "`sample`")
    rows = [heads, ("---",) * len(heads)]
    for each in all_answers():
        back = "yes" if each.posterior else "–"
        rows.append((f"`{each.name}`", each.what, each.log_prob, back, f"`{each.objective}`", each.sampler))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(family_table())
