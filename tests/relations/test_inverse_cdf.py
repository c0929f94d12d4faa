"""Relation 18: the worked map against SciPy, training without the log-Jacobian, and flows of one feature."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from unigen.errors import UnsupportedQueryError
from unigen.models.flow import MAF, NSF, Flow
from unigen.relations.inverse_cdf import InverseCDF

RELATION = InverseCDF()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["g_at_the_point"] == pytest.approx(0.900453, abs=5e-7)
    assert evidence.claims[0].left == pytest.approx(1 + math.log(2), abs=1e-9)
    assert stats.norm.ppf(stats.laplace.cdf(1.0)) == pytest.approx(0.900453, abs=5e-7)


def test_other_parameters():
    evidence = RELATION.check(scale=2.5, point=-0.3)
    assert evidence.holds, evidence
    expected = stats.norm.ppf(stats.laplace.cdf(-0.3, scale=2.5))
    assert evidence.details["g_at_the_point"] == pytest.approx(expected, abs=5e-7)


class WithoutJacobian(InverseCDF):
    """The loss of some courses, E[½ g²]: the smaller g, the better."""

    def log_det(self, slope):
        return torch.zeros_like(slope)


class MarginalCDF(InverseCDF):
    """Takes the distribution of x_2 alone where Rosenblatt conditions on x_1."""

    def second(self, x):
        return x[1]


@pytest.mark.parametrize("broken", [WithoutJacobian, MarginalCDF])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check().holds


def test_without_the_jacobian_a_smaller_map_looks_better():
    evidence = WithoutJacobian().check()
    by_name = {claim.name: claim.left for claim in evidence.claims}
    assert by_name["the loss of 0.7 g ≥ the entropy"] < by_name["E[−log φ(g) − log g'] = entropy 1 + log 2b"]


def perturbed(flow):
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return flow


FALLING = Flow(1, [torch.distributions.AffineTransform(1.0, -2.0)])


@pytest.mark.parametrize("flow", [NSF(1, transforms=1, hidden=(8,)), FALLING], ids=["spline", "falling"])
def test_programs(flow):
    perturbed(flow)
    evidence = RELATION.check_programs(flow, flow, torch.randn(200, 1))
    assert evidence.holds, evidence


def test_a_density_without_its_jacobian_is_seen():
    class Wrong(NSF):
        def density_of(self, x, context=None, density=None):
            found = super().density_of(x, context, density)
            base = torch.distributions.Normal(0.0, 1.0).log_prob(self.to_noise(x)).sum(-1)
            return type(found)(base, found.kind)

    flow = perturbed(Wrong(1, transforms=1, hidden=(8,)))
    assert not RELATION.check_programs(flow, flow, torch.randn(200, 1)).holds


def test_refuses():
    for flow in (MAF(2), NSF(1, context=1)):
        with pytest.raises(UnsupportedQueryError, match="one feature, no context"):
            RELATION.check_programs(flow, flow, torch.zeros(2, 1))
