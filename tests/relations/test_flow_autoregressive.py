"""Relation 16: the worked number, the user's own models, conversions, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import unigen as ug
from unigen.errors import UnsupportedQueryError
from unigen.models.made import MADE
from unigen.relations.flow_autoregressive import FlowAutoregressive, gaussian_maf


def test_the_worked_example() -> None:
    evidence = FlowAutoregressive().check()
    assert evidence.holds and evidence.claims[0].left == pytest.approx(2.857487, abs=5e-7)


def test_other_covariances_hold_too() -> None:
    covariance = ((2.0, 0.3, -0.4), (0.3, 1.0, 0.2), (-0.4, 0.2, 0.7))
    assert FlowAutoregressive().check(covariance=covariance).holds


class Dropped(FlowAutoregressive):
    """The identity without the Jacobian."""

    id = 9016

    def log_determinant(self, jacobian: Tensor) -> Tensor:
        return torch.zeros(jacobian.shape[0], dtype=jacobian.dtype)


def test_a_dropped_jacobian_fails() -> None:
    assert not Dropped().check().holds


def test_a_flow_that_is_not_autoregressive_in_its_order_fails() -> None:
    flow = ug.MAF(3, transforms=1, hidden=(8,))
    step = flow.flow.steps[1]
    step.net.order = (2, 1, 0)  # claims an order that its masks do not have
    with torch.no_grad():
        step.net.net[-1].weight.normal_()
    assert not FlowAutoregressive().check_programs(flow, flow, torch.randn(5, 3)).holds


def test_on_fitted_programs() -> None:
    x = torch.randn(200, 4) @ torch.randn(4, 4)
    maf, made = ug.MAF(4, transforms=2, hidden=(16,)), ug.MADE(4, hidden=(16,))
    ug.fit(maf, x, steps=20, seed=0)
    ug.fit(made, x, steps=20, seed=0)
    assert FlowAutoregressive().check_programs(maf, made, x).holds


def test_gaussian_programs_convert_to_a_flow_with_the_same_density() -> None:
    x = torch.randn(300, 5, dtype=torch.float64) @ torch.randn(5, 5, dtype=torch.float64)
    for program in (ug.PPCA(5, 2), ug.FactorAnalysis(5, 2)):
        ug.fit(program, x, dtype=torch.float64, seed=0)
        flow = ug.convert(program, to="MAF")
        assert torch.allclose(flow.log_prob(x).value, program.log_prob(x).value, atol=1e-8)


def test_one_feature_and_a_mean() -> None:
    mean, variance = torch.tensor([2.0], dtype=torch.float64), torch.tensor([[4.0]], dtype=torch.float64)
    flow = gaussian_maf(mean, variance)
    expected = torch.distributions.Normal(2.0, 2.0).log_prob(torch.tensor([0.5], dtype=torch.float64))
    assert torch.allclose(
        flow.log_prob(torch.tensor([[0.5]], dtype=torch.float64)).value, expected, atol=1e-12
    )


def test_refusals_name_the_assumption() -> None:
    bernoulli = MADE(3, likelihood=ug.Bernoulli())
    with pytest.raises(UnsupportedQueryError, match="every conditional is Gaussian"):
        FlowAutoregressive().check_programs(bernoulli, bernoulli, torch.zeros(4, 3))
    with pytest.raises(UnsupportedQueryError, match="joint density is Gaussian"):
        FlowAutoregressive().convert(ug.VAE(3, 1), to="MAF")
    with pytest.raises(UnsupportedQueryError, match="MAF"):
        FlowAutoregressive().convert(ug.PPCA(3, 1), to="NSF")
