"""check_program: every law, on any program.

A law holds, fails, or does not apply, and says why. Deterministic laws are exact up to rounding. Stochastic ones
compare a mean with its known value and refuse beyond z standard errors, z the Gaussian quantile of a false-positive
rate of 10⁻⁶ a claim: over the some hundred claims made on one program a true one is refused once in 10⁴ runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unigen.program import Program
from unigen.queries import seeded
from unigen.testing.case import BUDGET, Case, DoesNotApply, Outcome, Report
from unigen.testing.density import agreement, normalised
from unigen.testing.structural import bounds, copies, gradients, kind, refusals, seeds, shapes, sites

LAWS: dict[str, Callable[[Case], str]] = {
    "shapes": shapes,
    "kind": kind,
    "normalised": normalised,
    "density and draws": agreement,
    "gradients": gradients,
    "bounds": bounds,
    "seeds": seeds,
    "copies": copies,
    "model and guide": sites,
    "refusals": refusals,
}


def _outcome(name: str, law: Callable[[Case], str], case: Case) -> Outcome:
    try:
        return Outcome(name, True, law(case))
    except DoesNotApply as reason:
        return Outcome(name, None, f"does not apply: {reason}")
    except AssertionError as failure:
        return Outcome(name, False, str(failure))
    except Exception as error:  # a law that cannot even be run is a law that fails, whatever stopped it
        return Outcome(name, False, f"{type(error).__name__}: {error}")


def _own_draws(program: Program, n: int, context: object, seed: int) -> Tensor:
    try:
        x = program.sample(n, context, seed=seed)
        program.check_batch(x, context)
        return x
    except Exception as error:
        what = Outcome(
            "draws", False, f"the program's own draws are no valid data: {type(error).__name__}: {error}"
        )
        raise AssertionError(str(Report(program.name, (what,)))) from error


def check_program(
    program: Program, x: object = None, context: object = None, *, seed: int = 0, budget: int = BUDGET
) -> Report:
    """Check every law on a program; takes seconds for a small one.

    Args:
        program: Any program, fitted or not. It is left as it was.
        x: Data to try it on, shape (N, *event_shape); 64 draws of its own if omitted.
        context: Shape (N, C) for a conditional program; standard normal if omitted.
        seed: Of all that is random here.
        budget: Scalar draws of the tests of density against draws; 400,000 see a variance that is off by 2 %.

    Returns:
        A report with the outcome of each law: held, or does not apply and why.

    Raises:
        AssertionError: A law fails; the message is the report.

    Example:
        >>> from unigen.models.ppca import PPCA
        >>> check_program(PPCA(2, 1))["bounds"].held
        True
    """
    given: Any = x
    n = 64 if x is None else len(given)
    if context is None and program.context_features:
        with seeded(seed, program.device):
            context = torch.randn(n, program.context_features)
    rows = _own_draws(program, n, context, seed) if x is None else x
    case = Case(program, *program.check_batch(rows, context), seed, budget)
    report = Report(program.name, tuple(_outcome(name, law, case) for name, law in LAWS.items()))
    if any(outcome.held is False for outcome in report.outcomes):
        raise AssertionError(str(report))
    return report
