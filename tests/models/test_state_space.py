"""The linear-Gaussian state-space model against the dense joint Gaussian, and against factor analysis."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from unigen.errors import ArgumentError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.state_space import StateSpace
from unigen.objectives.elbo import elbo

K, T, D = 2, 5, 3


def model(missing=False):
    program = StateSpace(D, T, K, missing=missing).double()
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return program


def dense(program):
    """Mean (T, D) and covariance (T·D, T·D) of x_{1:T}, step by step from the definition."""
    p, q = (root.tril() @ root.tril().T for root in (program.start_tril, program.noise_tril))
    a, c = program.transition, program.weight
    mean, spread = [program.start], [p]
    for _ in range(T - 1):
        mean.append(a @ mean[-1])
        spread.append(a @ spread[-1] @ a.T + q)
    blocks = [
        [
            torch.linalg.matrix_power(a, s - t) @ spread[t]
            if s >= t
            else spread[s] @ torch.linalg.matrix_power(a, t - s).T
            for t in range(T)
        ]
        for s in range(T)
    ]
    big = torch.block_diag(*[c] * T)
    z = torch.cat([torch.cat(row, 1) for row in blocks])
    noise = program.noise.repeat(T).diag()
    return (torch.stack(mean) @ c.T + program.offset).detach(), (big @ z @ big.T + noise).detach()


def test_log_prob_is_the_dense_gaussian():
    program = model()
    mean, covariance = dense(program)
    x = program.sample(6)
    joint = torch.distributions.MultivariateNormal(mean.flatten(), covariance)
    torch.testing.assert_close(program.log_prob(x).value, joint.log_prob(x.flatten(1)), atol=1e-8, rtol=0)


def test_missing_entries_are_the_marginal_gaussian():
    program = model(missing=True)
    mean, covariance = dense(program)
    x = program.sample(5)
    x[torch.rand(x.shape) < 0.3] = torch.nan
    x[0, 2:] = torch.nan
    for row, value in zip(x.flatten(1), program.log_prob(x).value, strict=True):
        seen = ~row.isnan()
        joint = torch.distributions.MultivariateNormal(mean.flatten()[seen], covariance[seen][:, seen])
        torch.testing.assert_close(value, joint.log_prob(row[seen]), atol=1e-8, rtol=0)


def test_guide_is_exact():
    program = model()
    x = program.sample(6)
    torch.testing.assert_close(elbo(program, x), program.log_prob(x).value, atol=1e-8, rtol=0)


def test_without_memory_it_is_factor_analysis():
    """A = 0, m = 0, P = Q = I: the steps are independent draws of a factor analysis with W = C, ψ = r."""
    program, fa = model(), FactorAnalysis(D, K).double()
    with torch.no_grad():
        program.transition.zero_()
        program.start.zero_()
        program.start_tril.copy_(torch.eye(K))
        program.noise_tril.copy_(torch.eye(K))
        fa.weight.copy_(program.weight)
        fa.mean.copy_(program.offset)
        fa.log_noise.copy_(program.log_noise)
    x = program.sample(4)
    each = fa.log_prob(x.flatten(0, 1)).value.unflatten(0, (4, T)).sum(1)
    torch.testing.assert_close(program.log_prob(x).value, each, atol=1e-9, rtol=0)


def test_training_finds_the_truth():
    truth = StateSpace(D, 10, K)
    x, fresh = truth.sample(400), truth.sample(2000)
    program = StateSpace(D, 10, K)
    ug.fit(program, x, steps=300, seed=0)
    gap = truth.log_prob(fresh).value - program.log_prob(fresh).value
    parameters = sum(p.numel() for p in program.parameters())
    assert float(gap.mean()) < 1.5 * parameters / 400 + 4 * float(gap.std()) / 2000**0.5


@pytest.mark.parametrize("family", ["StateSpace", "HiddenMarkov", "DeepMarkov"])
def test_the_training_step_of_sequences_traces(family):
    """The traced step, run without a compiler, moves parameters as the eager one does, at other batch sizes too."""
    x, ends = StateSpace(D, 3, K).sample(64), []
    for traced in (False, True):
        torch.manual_seed(1)
        program = getattr(ug, family)(D, 3, K)
        player = program.objective.players(program)[0]
        optimizer = torch.optim.SGD(player.parameters.values(), lr=1e-2)
        options = {"example": (x, None), "compiler": interpreted} if traced else {}
        step = (CompiledStep if traced else EagerStep)(player.loss, player.parameters, optimizer, **options)
        torch.manual_seed(2)
        for rows in (x, x[:7], x):
            assert bool(step(rows, None).finite)
        ends.append(torch.cat([p.detach().flatten() for p in player.parameters.values()]))
    torch.testing.assert_close(*ends, atol=1e-5, rtol=1e-4)


def test_saved_and_loaded(tmp_path):
    program = model().float()
    again = ug.load(ug.save(program, tmp_path / "kalman.safetensors"))
    x = program.sample(2)
    assert torch.equal(again.log_prob(x).value, program.log_prob(x).value)


def test_laws():
    report = ug.check_program(StateSpace(2, 3, missing=True), torch.randn(40, 3, 2))
    assert all(outcome.held is not False for outcome in report.outcomes), report


def test_sizes_below_one_are_refused():
    with pytest.raises(ArgumentError, match="sizes"):
        StateSpace(0, 4)
