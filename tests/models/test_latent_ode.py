"""The latent ODE: a linear one against its Gaussian evidence, missing observations, stiff drifts, laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import unigen as ug
from tests import problems
from tests.compiled_family import compiled_equals_eager
from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.ode_solver import Adaptive
from unigen.errors import ArgumentError, DivergedError
from unigen.models.latent_ode import LatentODE

TIMES = (0.5, 0.8, 1.7, 2.0)
A = np.array([[-0.3, 2.0], [-2.0, -0.3]])


def linear(**options):
    """z' = A z + c, x = W z + d + N(0, .3²), in float64."""
    program = LatentODE(
        1, TIMES, 2, drift=ug.Autonomous(2, ()), likelihood=ug.Gaussian(0.3), **options
    ).double()
    layer, decoder = program.ode.network.body.layers[0], program.decoder.layers[0]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(A))
        layer.bias.zero_()
        decoder.weight.copy_(torch.tensor([[1.0, -0.4]]))
        decoder.bias.fill_(0.2)
    return program


def views():
    """W expm(A (t − t_1)) of every time, (T, 2)."""
    return np.stack([np.array([1.0, -0.4]) @ expm(A * (t - TIMES[0])) for t in TIMES])


@pytest.mark.parametrize(
    "solver", [FixedSteps(40), Adaptive(1e-8, 1e-8), Adaptive(1e-8, 1e-8, adjoint=True)], ids=repr
)
def test_a_linear_ode_is_the_matrix_exponential(solver):
    program, z = linear(solver=solver), torch.randn(5, 2, dtype=torch.float64)
    truth = z.numpy() @ views().T + 0.2
    np.testing.assert_allclose(program.decode(z)[..., 0].numpy(), truth, atol=1e-5)


def test_log_prob_approaches_the_gaussian_evidence_from_below():
    program = linear(solver=FixedSteps(20))
    x = program.sample(20, seed=0)
    h = views()
    truth = problems.gaussian_log_density(x[..., 0].numpy(), np.full(4, 0.2), h @ h.T + 0.09 * np.eye(4))
    found = program.log_prob(x, density=ug.Importance(20_000))
    gap = torch.from_numpy(truth) - found.value
    assert found.stderr is not None and bool((gap.abs() < 6 * found.stderr + 1e-4).all())
    few = torch.from_numpy(truth) - program.log_prob(x, density=ug.Importance(1)).value
    assert float(few.mean()) > 0


def test_training_closes_the_gap():
    program = linear(solver=FixedSteps(8), hidden=(), summary=16)
    for part in (program.ode, program.decoder):
        part.requires_grad_(False)
    x, h = program.sample(1000, seed=0), views()
    program.fitted = True
    ug.fit(program, x, steps=150, batch_size=100, lr=2e-2, seed=0)
    held = program.sample(300, seed=1)
    truth = problems.gaussian_log_density(held[..., 0].numpy(), np.full(4, 0.2), h @ h.T + 0.09 * np.eye(4))
    gap = torch.from_numpy(truth) - program.log_prob(held).value
    assert -0.02 < float(gap.mean()) < 0.1


def test_missing_observations_are_left_out():
    program = linear(solver=FixedSteps(20), missing=True)
    x = program.sample(3, seed=0)
    x[:, 2] = torch.nan
    h = views()[[0, 1, 3]]
    truth = problems.gaussian_log_density(
        x[:, [0, 1, 3], 0].numpy(), np.full(3, 0.2), h @ h.T + 0.09 * np.eye(3)
    )
    found = program.log_prob(x, density=ug.Importance(20_000))
    assert found.stderr is not None
    assert bool(((found.value - torch.from_numpy(truth)).abs() < 6 * found.stderr + 1e-4).all())
    assert bool(program.impute(x).isfinite().all())


def test_the_path_at_other_times():
    program = linear(solver=FixedSteps(60))
    z = torch.randn(3, 2, dtype=torch.float64)
    path = program.solve(z, [0.5, 1.0, 4.0])
    truth = np.stack([z.numpy() @ expm(A * (t - 0.5)).T for t in (0.5, 1.0, 4.0)], 1)
    np.testing.assert_allclose(path.detach().numpy(), truth, atol=1e-3)
    assert program.solve(z.expand(4, 3, 2)).shape == (4, 3, 4, 2)


class Stiff(torch.nn.Module):
    def forward(self, x, t):
        return -1e6 * (x - torch.cos(t)[:, None])


def test_a_stiff_drift_runs_out_of_evaluations():
    program = LatentODE(
        1, (0.0, 1.0, 2.0), 1, drift=Stiff(), solver=Adaptive(1e-6, 1e-6, max_evaluations=200)
    )
    with pytest.raises(DivergedError, match="200 evaluations"):
        program.sample(2)
    with pytest.raises(DivergedError, match="finite"):
        LatentODE(1, (0.0, 1.0, 2.0), 1, drift=Stiff(), solver=FixedSteps(50)).sample(2)


@pytest.mark.usefixtures("interpreted_steps")
def test_compiled_steps_are_the_eager_ones():
    compiled_equals_eager(
        lambda: LatentODE(
            2, (0.0, 0.4), 2, hidden=(8,), summary=5, solver=FixedSteps(1, "midpoint"), missing=True
        )
    )


def test_priors_and_parts(tmp_path):
    program = LatentODE(
        2, (0.0, 0.4, 1.0), 2, prior=ug.NSF(2), solver=Adaptive(1e-4, 1e-4, adjoint=True), drift=ug.Autonomous(2, (6,)),
    )  # fmt: skip
    assert "p_NSF(z)" in program.formula
    again = ug.load(ug.save(program, tmp_path / "ode.safetensors"))
    x = program.sample(3, seed=0)
    torch.testing.assert_close(again.log_prob(x, seed=1).value, program.log_prob(x, seed=1).value)
    assert again.ode.solver.adjoint


def test_laws():
    report = ug.check_program(LatentODE(2, (0.0, 0.4, 1.0), 2, solver=FixedSteps(4)), torch.randn(30, 3, 2))
    assert all(outcome.held is not False for outcome in report.outcomes), report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((2, (0.0, 1.0), 0), "sizes"), ((2, (0.0,)), "two times"), ((2, (1.0, 0.0)), "strictly increasing")],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        LatentODE(*arguments)
