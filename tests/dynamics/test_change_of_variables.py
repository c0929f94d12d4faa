"""Oracles: a field whose flow, log-determinant and energy are known in closed form."""

from __future__ import annotations

import math

import torch

from unigen.dynamics.change_of_variables import carry, carry_data, carry_noise
from unigen.dynamics.divergence import ExactDivergence, Hutchinson
from unigen.dynamics.ode_solver import Adaptive
from unigen.dynamics.unit_flow import UnitFlow

F64 = torch.float64
TIGHT = Adaptive(1e-11, 1e-11)


class Shear(UnitFlow):
    """dz/dt = r z from t = start, after a contraction by k: z_1 = k e^{r (1 − start)} u."""

    def __init__(self, rate: float, start: float, contraction: float) -> None:
        super().__init__((2, 2), start)
        self.rate = torch.nn.Parameter(torch.tensor([rate], dtype=F64))
        self.contraction = contraction
        self.double()

    def field(self, context=None):
        return lambda t, z: self.rate * z if context is None else self.rate * z + 0.0 * context.sum()

    def log_contraction(self):
        return torch.full((), math.log(self.contraction), dtype=F64)


def test_density_noise_and_energies_in_closed_form():
    flow, x = Shear(0.7, 0.2, 0.5), torch.randn(6, 2, 2, dtype=F64) * 3 + 1
    flow.standardise(x)
    u = (x - x.mean(0)) / x.std(0, correction=0)
    growth = 0.5 * math.exp(0.7 * 0.8)
    scale = x.std(0, correction=0) / growth
    for divergence in (
        ExactDivergence(),
        Hutchinson(3),
    ):  # a multiple of the identity: no noise in the estimate
        end = carry(flow, x, None, divergence, TIGHT, penalties=True)
        torch.testing.assert_close(end.noise, growth * u, rtol=0, atol=1e-9)
        truth = torch.distributions.Normal(x.mean(0), scale).log_prob(x).flatten(1).sum(1)
        torch.testing.assert_close(end.log_prob.detach(), truth, rtol=0, atol=1e-8)
        kinetic = 0.49 * 0.25 * u.square().flatten(1).sum(1) * (math.exp(1.4 * 0.8) - 1) / 1.4
        torch.testing.assert_close(end.kinetic.detach(), kinetic, rtol=0, atol=1e-8)
        torch.testing.assert_close(end.jacobian.detach(), torch.full((6,), 4 * 0.49 * 0.8, dtype=F64))
    assert carry(flow, x, None, ExactDivergence(), TIGHT).kinetic is None
    noise = carry_data(flow, x, None, TIGHT)
    torch.testing.assert_close(noise, growth * u, rtol=0, atol=1e-9)
    torch.testing.assert_close(carry_noise(flow, noise, None, TIGHT), x, rtol=0, atol=1e-9)
    assert flow.evaluations.forward > 0


def test_gradients_by_the_adjoint_reach_the_context():
    flow, x, c = Shear(0.7, 0.0, 1.0), torch.randn(3, 2, 2, dtype=F64), torch.ones(1, 2, dtype=F64)
    c.requires_grad_()
    end = carry(flow, x, c, ExactDivergence(), Adaptive(1e-8, 1e-8, adjoint=True))
    gradients = torch.autograd.grad(end.log_prob.sum(), (flow.rate, c))
    expected = 3 * 4 - (x.square() * math.exp(1.4)).sum()  # d/dr of −½ e^{2r} |x|² + 4 r
    torch.testing.assert_close(gradients[0][0], expected, rtol=1e-6, atol=1e-6)
    assert gradients[1].shape == (1, 2)
