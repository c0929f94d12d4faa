from __future__ import annotations

import pytest
import torch
from torch import nn

from unigen.dynamics.unit_flow import UnitFlow, flow_of, sum_events
from unigen.errors import ArgumentError
from unigen.models.cnf import CNF
from unigen.models.diffusion import Diffusion


class Half(UnitFlow):
    """At rest, in half units."""

    def field(self, context=None):
        return lambda t, z: torch.zeros_like(z)

    def log_contraction(self):
        return torch.log(torch.tensor(0.5))


@pytest.mark.parametrize("each", [True, False])
def test_the_way_in_and_out_with_its_log_determinant(each):
    flow, x = Half((3,)), torch.randn(200, 3) * torch.tensor([1.0, 5.0, 0.2]) + 4
    flow.standardise(x, each)
    z, log_det = flow.enter(x)
    torch.testing.assert_close(flow.leave(z), x, rtol=1e-5, atol=1e-5)
    jacobian = torch.autograd.functional.jacobian(lambda row: flow.enter(row[None])[0][0], x[0])
    torch.testing.assert_close(log_det, jacobian.det().abs().log())
    torch.testing.assert_close((2 * z).square().mean(), torch.tensor(1.0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sum_events(z), z.sum(1))


def test_a_constant_feature_is_left_finite():
    flow = Half((2,))
    flow.standardise(torch.tensor([[1.0, 3.0], [2.0, 3.0]]))
    assert bool(torch.isfinite(flow.enter(torch.zeros(1, 2))[0]).all())


def test_programs_with_and_without_a_flow():
    for program in (CNF(2, hidden=(8,)), Diffusion(2, hidden=8, blocks=1)):
        assert isinstance(flow_of(program), UnitFlow)
    with pytest.raises(ArgumentError, match="CNF"):
        flow_of(nn.Linear(2, 2))
