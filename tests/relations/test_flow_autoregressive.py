"""Relation 16: the worked example, conversions, and the identity broken on purpose."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests import problems
from unigen.distributions.likelihoods import Bernoulli, Gaussian
from unigen.errors import UnsupportedQueryError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.flow import MAF
from unigen.models.gan import GAN
from unigen.models.made import MADE
from unigen.models.ppca import PPCA
from unigen.relations.flow_autoregressive import FlowAutoregressive

RELATION = FlowAutoregressive()


def random_ppca(d: int = 5, q: int = 2) -> PPCA:
    ppca = PPCA(d, q).double()
    ppca.write(torch.randn(d, q).double(), torch.randn(d).double(), torch.tensor(0.4, dtype=torch.float64))
    return ppca


def perturbed(program):
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return program


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    by_name = {claim.name: claim for claim in evidence.claims}
    assert by_name["E[−log p] of the flow = entropy of N(m, Σ)"].left == pytest.approx(2.857487, abs=5e-7)
    assert evidence.details["nll"] == 2.857487
    assert 0.5 * math.log((2 * math.pi * math.e) ** 2 * 1.04) == pytest.approx(2.857487, abs=5e-7)


@pytest.mark.parametrize(
    "covariance",
    [((2.0,),), ((1.0, 0.5, 0.2), (0.5, 2.0, -0.3), (0.2, -0.3, 0.5)), ((1e4, 30.0), (30.0, 0.1))],
)
def test_other_covariances(covariance):
    assert RELATION.check(covariance=covariance).holds


@pytest.mark.parametrize("to", ["MAF", "MADE"])
def test_conversion_of_a_gaussian_equals_the_dense_density(to):
    ppca = random_ppca()
    x = torch.randn(20, 5).double()
    w = ppca.weight.detach().numpy()
    dense = problems.gaussian_log_density(x.numpy(), ppca.mean.detach().numpy(), w @ w.T + 0.4 * np.eye(5))
    converted = RELATION.convert(ppca, to=to)
    assert type(converted).__name__ == to
    np.testing.assert_allclose(converted.log_prob(x).value.numpy(), dense, rtol=0, atol=1e-10)


def test_round_trips_between_the_families():
    maf = RELATION.convert(random_ppca(), to="MAF")
    made = RELATION.convert(maf, to="MADE")
    back = RELATION.convert(made, to="MAF")
    x = torch.randn(20, 5).double()
    for other in (made, back):
        assert (other.log_prob(x).value - maf.log_prob(x).value).abs().max() < 1e-10
    for a, b in zip(maf.parameters(), back.parameters(), strict=True):
        assert (a - b).abs().max() < 1e-10


def test_a_stack_of_affine_steps_becomes_one_step_and_factor_analysis_converts():
    deep = perturbed(MAF(4, transforms=3, hidden=()).double())
    with torch.no_grad():  # constant scales: without slopes in the log-scales
        for step in deep.flow.steps[1:]:
            step.net.net[0].weight[1::2] = 0
    x = torch.randn(10, 4).double()
    one = RELATION.convert(deep, to="MAF")
    assert len(one.flow.steps) == 2 and (one.log_prob(x).value - deep.log_prob(x).value).abs().max() < 1e-9
    fa = FactorAnalysis(4, 1).double()
    assert (RELATION.convert(fa, to="MAF").log_prob(x).value - fa.log_prob(x).value).abs().max() < 1e-9


@pytest.mark.parametrize(
    ("program", "to"),
    [
        (MAF(3, hidden=(8,)), "MADE"),
        (MAF(3, hidden=(), support="unit"), "MADE"),
        (MAF(3, hidden=(), context=2), "MADE"),
        (MADE(3, likelihood=Bernoulli()), "MAF"),
        (GAN(3), "MAF"),
        (MAF(3, hidden=()), "PPCA"),
    ],
    ids=["curved", "unit", "conditional", "discrete", "implicit", "target"],
)
def test_refused_conversions_name_the_assumption(program, to):
    program = perturbed(program) if isinstance(program, MAF) else program
    with pytest.raises(UnsupportedQueryError, match="relation 16"):
        RELATION.convert(program, to=to)


def test_a_scale_below_the_floor_is_refused():
    maf = RELATION.maf_of(torch.zeros(2).double(), 1e-8 * torch.eye(2).double())
    with pytest.raises(UnsupportedQueryError, match="floor"):
        RELATION.convert(maf, to="MADE")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (MAF(5, hidden=(16,)), None),
        (MAF(5, hidden=(16,), transforms=2, support="unit"), None),
        (MAF(5, hidden=(16,)), MADE(5, hidden=(16,), order=(4, 2, 0, 1, 3))),
        (MADE(5, hidden=(16,), likelihood=Gaussian("learned")), None),
    ],
    ids=["maf", "unit", "both", "made"],
)
def test_programs_taken_apart(a, b):
    x = torch.rand(40, 5)
    evidence = RELATION.check_programs(perturbed(a), a if b is None else perturbed(b), x)
    assert evidence.holds, evidence
    assert evidence.details["rows"] == 16


def test_other_conditionals_are_refused():
    with pytest.raises(UnsupportedQueryError, match="Gaussian"):
        RELATION.check_programs(MADE(3, likelihood=Bernoulli()), MADE(3), torch.zeros(4, 3))
    with pytest.raises(UnsupportedQueryError, match="unconditional"):
        RELATION.check_programs(MAF(3, context=2), MAF(3), torch.zeros(4, 3))


class Unmasked(FlowAutoregressive):
    """The identity broken: every step sees one feature that comes after."""

    def steps(self, program):
        return [(lambda x, f=f: f(x) + 1e-6 * x.roll(-1, -1), order) for f, order in super().steps(program)]


class WithoutJacobian(FlowAutoregressive):
    """The identity broken: the log-determinant of the flow is left out."""

    def log_det(self, f, x):
        return torch.zeros(x.shape[0], dtype=x.dtype)


class Shifted(FlowAutoregressive):
    """The identity broken: conditional means that are off by one part in a thousand."""

    def maf_of(self, mean, covariance):
        return super().maf_of(mean * 1.001, covariance)


@pytest.mark.parametrize(("broken", "claim"), [(Unmasked, "j after i"), (WithoutJacobian, "brute force")])
def test_a_broken_identity_fails_on_programs(broken, claim):
    maf = perturbed(MAF(4, hidden=(8,), transforms=2))
    evidence = broken().check_programs(maf, maf, torch.randn(20, 4))
    assert not evidence.holds
    assert any(claim in c.name and not c.holds for c in evidence.claims)


@pytest.mark.parametrize("broken", [Unmasked, WithoutJacobian, Shifted])
def test_a_broken_identity_fails_in_the_worked_example(broken):
    assert not broken().check().holds
