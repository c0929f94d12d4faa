"""Oracles: linear flows in closed form, quadrature, brute-force Jacobians, toy densities of known entropy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unigen.data.toy import two_moons
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.dynamics.divergence import ExactDivergence, Hutchinson
from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.ode_solver import Adaptive
from unigen.errors import ArgumentError, ContextError, DivergedError, NonFiniteError, ShapeError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.fit import fit
from unigen.inference.persist import load, save
from unigen.inference.step import EagerStep
from unigen.logprob import Kind
from unigen.models.cnf import CNF
from unigen.models.vae import VAE
from unigen.objectives.flow_likelihood import RNODE, FlowLikelihood
from unigen.samplers.probability_flow import ProbabilityFlowODE
from unigen.testing.check import check_program

F64 = torch.float64
FINE = ProbabilityFlow(rtol=1e-11, atol=1e-11)
FINE_ODE = ProbabilityFlowODE(1e-11, 1e-11)


class Linear(nn.Module):
    """f(z) = A z."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, z, t):
        return z @ self.matrix.T


def linear(dims: int = 3, **options) -> CNF:
    return CNF(dims, network=Linear(0.7 * torch.randn(dims, dims, dtype=F64)), **options).double()


def closed_form(program: CNF, x: torch.Tensor) -> torch.Tensor:
    """log N(e^A u; 0, I) + tr A − Σ log scale, u = (x − loc) / scale."""
    matrix, flow = program.flow.network.matrix, program.flow
    noise = ((x - flow.loc) / flow.scale) @ torch.matrix_exp(matrix).T
    normal = torch.distributions.Normal(torch.zeros((), dtype=F64), 1.0).log_prob(noise).sum(1)
    return normal + matrix.trace() - flow.scale.log().sum()


def test_a_linear_drift_has_the_density_of_the_matrix_exponential():
    program, x = linear(), 2 * torch.randn(7, 3, dtype=F64)
    program.initialise(x * torch.tensor([0.1, 1.0, 30.0], dtype=F64) + 5)
    x = program.flow.loc + program.flow.scale * torch.randn(7, 3, dtype=F64)
    got = program.log_prob(x, density=FINE)
    assert got.kind is Kind.EXACT
    assert got.stderr is None
    torch.testing.assert_close(got.value, closed_form(program, x).detach(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("steps", [10, 20, 40])
def test_what_the_tolerance_does(steps):
    """The default tolerances of evaluation leave an error of at most 1e-4 nats a dimension."""
    program, x = linear(), torch.randn(steps, 3, dtype=F64)
    gap = program.log_prob(x).value - closed_form(program, x).detach()
    assert float(gap.abs().max()) / 3 < 1e-4


@pytest.mark.parametrize(
    "solver",
    [
        Adaptive(1e-10, 1e-10),
        Adaptive(1e-10, 1e-10, adjoint=True),
        FixedSteps(400),
        FixedSteps(400, adjoint=True),
    ],
    ids=repr,
)
def test_gradients_direct_and_by_the_adjoint_are_those_of_the_closed_form(solver):
    program, x = linear(2, solver=solver), torch.randn(5, 2, dtype=F64)
    matrix = program.flow.network.matrix
    (got,) = torch.autograd.grad(program.surrogate(x).sum(), matrix)
    (expected,) = torch.autograd.grad(closed_form(program, x).sum(), matrix)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    assert (program.evaluations.backward > 0) == solver.adjoint


@pytest.mark.parametrize("dims", [1, 2])
def test_the_density_integrates_to_one(dims):
    program = CNF(dims, hidden=(16, 16)).double()
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.mul_(2.0)
    axis = torch.linspace(-9, 9, 73 if dims == 2 else 401, dtype=F64)
    x = torch.cartesian_prod(*[axis] * dims).reshape(-1, dims)
    mass = program.log_prob(x, density=ProbabilityFlow(rtol=1e-7, atol=1e-7)).value.exp().sum()
    assert float(mass) * float(axis[1] - axis[0]) ** dims == pytest.approx(1.0, abs=1e-5)


def test_the_log_determinant_is_that_of_the_brute_force_jacobian():
    program, x = CNF(3, hidden=(16,), sampler=FINE_ODE).double(), torch.randn(4, 3, dtype=F64)
    rows = [
        torch.autograd.functional.jacobian(lambda y: FINE_ODE.pull(program, y[None])[0], row) for row in x
    ]
    normal = -0.5 * program.to_noise(x).square().sum(1) - 1.5 * math.log(2 * math.pi)
    expected = normal + torch.stack(rows).det().abs().log()
    torch.testing.assert_close(program.log_prob(x, density=FINE).value, expected, rtol=0, atol=1e-8)


def test_hutchinson_is_unbiased_and_says_its_error():
    program, x = CNF(6, hidden=(16,)).double(), torch.randn(40, 6, dtype=F64)
    exact = program.log_prob(x).value
    for probes in (Hutchinson(64, chunk=None), Hutchinson(64, gaussian=True, chunk=None)):
        got = program.log_prob(x, density=ProbabilityFlow(probes, 1e-5, 1e-5))
        assert got.kind is Kind.ESTIMATE
        z = (got.value - exact) / got.stderr
        assert abs(float(z.mean())) < 5 * 1.02 / math.sqrt(40)
        assert 0.3 < float(z.square().mean()) < 2.2  # 40 squares of t-values: five standard errors about 1.03


def test_training_estimates_are_unbiased():
    program = CNF(20, hidden=(16,), solver=FixedSteps(10)).double()
    assert isinstance(program.flow.divergence, Hutchinson)
    assert isinstance(CNF(2).flow.divergence, ExactDivergence)
    x = torch.randn(1, 20, dtype=F64)
    with torch.no_grad():
        draws = program.surrogate(x.expand(4000, 20))
    exact = program.log_prob(x).value
    assert abs(float(draws.mean() - exact)) < 5 * float(draws.std()) / math.sqrt(4000) + 1e-4


def test_noise_and_data_are_inverse_to_one_another():
    program, x = CNF(3, context=2, sampler=FINE_ODE).double(), 3 * torch.randn(20, 3, dtype=F64)
    context = torch.randn(20, 2, dtype=F64)
    program.initialise(x + 4)
    torch.testing.assert_close(
        program.from_noise(program.to_noise(x, context), context), x, rtol=0, atol=1e-8
    )


def test_laws():
    check_program(CNF(2, hidden=(16,)))
    check_program(CNF(3, hidden=(16,), context=2))


@pytest.mark.parametrize("divergence", [ExactDivergence(chunk=None), Hutchinson(2)], ids=repr)
def test_the_traced_step_equals_the_eager_one_for_any_batch_size(divergence):
    results = []
    for traced in (False, True):
        torch.manual_seed(0)
        program = CNF(3, hidden=(8,), context=2, solver=FixedSteps(2), divergence=divergence).double()
        (player,) = FlowLikelihood(RNODE()).players(program)
        optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
        example = torch.randn(6, 3, dtype=F64), torch.randn(6, 2, dtype=F64)
        if traced:
            step = CompiledStep(
                player.loss, player.parameters, optimizer, example=example, compiler=interpreted
            )
        else:
            step = EagerStep(player.loss, player.parameters, optimizer)
        torch.manual_seed(1)
        for n in (6, 9, 4):
            step(torch.randn(n, 3, dtype=F64), torch.randn(n, 2, dtype=F64))
        results.append([p.detach().clone() for p in program.parameters()])
        assert not traced or step.traces == 1
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-10, rtol=0)


@pytest.mark.slow
@pytest.mark.usefixtures("interpreted_steps")
def test_it_trains_compiled():
    program = CNF(2, hidden=(8,), solver=FixedSteps(1, "midpoint"))
    record = fit(program, torch.randn(64, 2), steps=4, batch_size=32, compile=True, progress=False)
    assert record.compiled, record.notes


def test_it_is_the_prior_of_a_vae():
    vae = VAE(5, 2, prior=CNF(2, hidden=(8,), solver=FixedSteps(3)), hidden=(8,))
    assert "p_CNF(z)" in vae.formula
    before = [p.detach().clone() for p in vae.prior.parameters()]
    record = fit(vae, torch.randn(64, 5), steps=3, progress=False, seed=0)
    assert math.isfinite(record.final["elbo"])
    assert all(not torch.equal(a, b) for a, b in zip(before, vae.prior.parameters(), strict=True))
    assert vae.sample(3).shape == (3, 5)


def test_save_and_load(tmp_path):
    program = CNF(
        2, hidden=(8,), solver=Adaptive(1e-4, 1e-4, adjoint=True), divergence=Hutchinson(2),
        objective=FlowLikelihood(RNODE()), density=ProbabilityFlow(ExactDivergence(), 1e-6, 1e-6),
    )  # fmt: skip
    program.initialise(torch.randn(50, 2) * 3 + 1)
    twin = load(save(program, tmp_path / "cnf.safetensors"))
    x = torch.randn(4, 2)
    assert torch.equal(twin.log_prob(x).value, program.log_prob(x).value)
    assert repr(twin.flow.solver) == repr(program.flow.solver)
    assert twin.objective.penalty == RNODE()


def test_bad_input_is_refused():
    with pytest.raises(ArgumentError, match="features"):
        CNF(0)
    conditional = CNF(2, context=1, hidden=(8,))
    with pytest.raises(ContextError):
        conditional.sample(3)
    with pytest.raises(ContextError):
        conditional.to_noise(torch.zeros(3, 2))
    with pytest.raises(ShapeError):
        conditional.from_noise(torch.zeros(3, 4), torch.zeros(3, 1))
    with pytest.raises(NonFiniteError):
        conditional.log_prob(torch.full((1, 2), math.nan), torch.zeros(1, 1))

    class Narrow(nn.Module):
        def forward(self, z, t):
            return z[:, :1]

    with pytest.raises(ShapeError, match="drift network"):
        CNF(2, network=Narrow()).log_prob(torch.zeros(1, 2))


def test_a_stiff_flow_runs_out_of_evaluations():
    program = linear(2, density=ProbabilityFlow(rtol=1e-6, atol=1e-6, max_evaluations=200))
    with torch.no_grad():
        program.flow.network.matrix.copy_(-2000.0 * torch.eye(2, dtype=F64))
    with pytest.raises(DivergedError, match="larger rtol"):
        program.log_prob(torch.ones(1, 2, dtype=F64))


@pytest.mark.slow
def test_it_learns_two_moons():
    """300 steps, some thirty seconds of one core: within .35 nats of the truth, where a Gaussian is .90 away."""
    toy = two_moons()
    x, test = toy.sample((5000,)), toy.sample((2000,))
    program = CNF(2)
    fit(program, x, steps=300, progress=False, seed=0)
    truth = toy.log_prob(test.double())
    gap = truth - program.log_prob(test).value.double()
    error = 5 * float(gap.std()) / math.sqrt(2000)
    assert -error < float(gap.mean()) < 0.35
    claimed = truth - program.surrogate(test).detach().double()
    assert abs(float((claimed - gap).mean())) < 0.03  # the solver of training is not exploited
    drawn = toy.log_prob(program.sample(2000).double())
    assert float((drawn > truth.min()).double().mean()) > 0.85
