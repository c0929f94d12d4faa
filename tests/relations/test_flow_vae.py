"""Relation 19: the sweep towards the flow, the log-Jacobian left out, and flows taken for decoders."""

from __future__ import annotations

import pytest
import torch
from scipy import integrate

from unigen.errors import UnsupportedQueryError
from unigen.models.flow import MAF, NSF
from unigen.models.glow import Glow
from unigen.models.vae import VAE
from unigen.relations.flow_vae import FlowVAE, SinhFlow
from unigen.relations.relate import relate

RELATION = FlowVAE()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert list(evidence.details["gaps"].values()) == sorted(evidence.details["gaps"].values(), reverse=True)


@pytest.mark.parametrize(("bend", "points"), [(0.3, (0.0, 1.0)), (1.5, (-0.7, 4.0))])
def test_other_parameters(bend, points):
    evidence = RELATION.check(bend=bend, points=points)
    assert evidence.holds, evidence


def test_the_flow_is_a_density():
    flow = SinhFlow(0.8)
    total = integrate.quad(
        lambda x: float(flow.log_prob(torch.tensor(x).double()).exp()), -400, 400, limit=400
    )[0]
    assert total == pytest.approx(1.0, abs=1e-6)
    x = torch.linspace(-3, 3, 7).double().requires_grad_()
    torch.testing.assert_close(flow.slope(x), torch.autograd.grad(flow.to_noise(x).sum(), x)[0])


class WithoutJacobian(FlowVAE):
    """Trains what some courses train: the density of f⁻¹(x), without its volume change."""

    def log_det(self, slope):
        return torch.zeros_like(slope)

    def bound_of(self, flow, x, noise):
        draws = super().bound_of(flow, x, noise)
        return draws - (
            flow.log_prob(x).value - torch.distributions.Normal(0.0, 1.0).log_prob(flow.to_noise(x)).sum(1)
        )


def perturbed(flow):
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return flow


def test_a_broken_identity_is_seen():
    assert not WithoutJacobian().check().holds
    flow = perturbed(MAF(3, hidden=(8,), transforms=2))
    assert not WithoutJacobian().check_programs(flow, VAE(3, 1), 2 * torch.randn(20, 3)).holds


@pytest.mark.parametrize(
    "flow", [MAF(3, hidden=(8,), transforms=2), NSF(3, hidden=(8,), transforms=2)], ids=lambda f: f.name
)
def test_programs(flow):
    perturbed(flow)
    vae, x = VAE(3, 1, hidden=(8,)), torch.randn(20, 3)
    evidence = RELATION.check_programs(flow, vae, x)
    assert evidence.holds, evidence
    assert any(each.id == 19 for each in relate(vae, flow, x).evidence)


def test_refuses():
    for flow in (MAF(3, context=1), Glow((1, 4, 4), levels=1, steps=1, hidden=(4,))):
        with pytest.raises(UnsupportedQueryError, match="unconditional flow on vectors"):
            RELATION.check_programs(flow, VAE(3, 1), torch.zeros(2, 3))
