"""Oracles: integrals of a linear flow by quadrature."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unigen.dynamics.fixed_steps import FixedSteps
from unigen.dynamics.ode_solver import Adaptive
from unigen.errors import ArgumentError
from unigen.inference.fit import fit
from unigen.models.cnf import CNF
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.objectives.flow_likelihood import RNODE, FlowLikelihood

F64 = torch.float64


class Linear(nn.Module):
    """f(z) = A z."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, z, t):
        return z @ self.matrix.T


def linear(dims: int = 3, **options) -> CNF:
    return CNF(dims, network=Linear(0.7 * torch.randn(dims, dims, dtype=F64)), **options).double()


def test_a_penalty_is_the_integral_it_says():
    """For f = A z: kinetic ∫ ‖A e^{At} u‖² dt by quadrature, Jacobian norm ‖A‖²_F."""
    program, x = linear(2, solver=Adaptive(1e-9, 1e-9)), torch.randn(5, 2, dtype=F64)
    matrix = program.flow.network.matrix.detach()
    end = program.flow.carry(x, penalties=True)
    times = (torch.arange(2000, dtype=F64) + 0.5) / 2000
    flows = torch.stack([matrix @ torch.matrix_exp(t * matrix) for t in times])
    kinetic = torch.einsum("tij,nj->tni", flows, x).square().sum(-1).mean(0)
    torch.testing.assert_close(end.kinetic.detach(), kinetic, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(end.jacobian.detach(), matrix.square().sum().expand(5), rtol=1e-7, atol=1e-7)
    plain, priced = (
        FlowLikelihood(penalty).players(program)[0].loss(x).detach() for penalty in (None, RNODE(0.3, 0.2))
    )
    price = 0.3 * kinetic.mean() + 0.2 * matrix.square().sum()
    assert float(priced - plain) == pytest.approx(float(price), rel=1e-4)


def test_a_price_on_motion_makes_the_flow_cheaper():
    x = torch.cat([torch.randn(100, 1) * 0.1 - 2, torch.randn(100, 1) * 0.1 + 2])
    length = []
    for penalty in (None, RNODE(0.3, 0.3)):
        torch.manual_seed(0)
        program = CNF(1, hidden=(16,), solver=FixedSteps(4), objective=FlowLikelihood(penalty))
        fit(program, x, steps=40, seed=0, progress=False)
        length.append(float(program.flow.carry(x, penalties=True).kinetic.detach().mean()))
    assert length[1] < 0.8 * length[0]


def test_the_plain_loss_is_minus_the_mean_log_density():
    program, x = linear(2, solver=Adaptive(1e-9, 1e-9)), torch.randn(6, 2, dtype=F64)
    loss = FlowLikelihood().players(program)[0].loss(x)
    torch.testing.assert_close(loss, -program.surrogate(x).mean(), rtol=0, atol=1e-12)


def test_other_programs_and_prices_are_refused():
    with pytest.raises(ArgumentError, match="denoiser"):
        FlowLikelihood().players(Diffusion(2, hidden=8, blocks=1))
    with pytest.raises(ArgumentError, match="flow"):
        FlowLikelihood().players(PPCA(3, 1))
    with pytest.raises(ArgumentError, match="≥ 0"):
        RNODE(kinetic=-1.0)
