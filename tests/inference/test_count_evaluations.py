from __future__ import annotations

import pytest
import torch

from unigen.dynamics.ode_solver import Adaptive
from unigen.errors import ArgumentError
from unigen.inference.count_evaluations import CountEvaluations
from unigen.inference.fit import fit
from unigen.models.cnf import CNF
from unigen.models.ppca import PPCA
from unigen.objectives.elbo import ELBO


def test_the_record_holds_what_every_step_cost():
    program = CNF(1, hidden=(8,), solver=Adaptive(1e-3, 1e-3, adjoint=True))
    seen = []
    watch = lambda event: seen.append((program.evaluations.forward, program.evaluations.backward))  # noqa: E731
    record = fit(program, torch.randn(50, 1), steps=4, callbacks=[watch, CountEvaluations(2)], progress=False)
    assert record.history["evaluations"] == [(2, seen[1][0]), (4, seen[3][0])]
    assert record.history["evaluations backward"] == [(2, seen[1][1]), (4, seen[3][1])]
    assert min(min(pair) for pair in seen) > 0
    mean = (seen[1][0] + seen[3][0]) / 2
    assert record.notes == [
        f"{mean:.1f} evaluations of the drift a step forward, {(seen[1][1] + seen[3][1]) / 2:.1f} backward"
    ]


def test_a_program_without_a_flow_is_refused():
    with pytest.raises(ArgumentError, match="flow"):
        fit(
            PPCA(3, 1), torch.randn(9, 3), steps=1, objective=ELBO(), callbacks=[CountEvaluations()],
            progress=False,
        )  # fmt: skip
