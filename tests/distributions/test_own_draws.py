"""OwnDraws: value and gradient of log q at one's own draw, without inverting the flow."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch

import unigen as ug
from unigen.distributions.bijection import inverse_and_log_det
from unigen.distributions.own_draws import OwnDraws, own_draws
from unigen.logprob import Kind
from unigen.traces import kind_of

F64 = torch.float64
TINY: dict[str, Any] = {"transforms": 2, "hidden": (6,), "context": 2}
FLOWS = {
    "IAF": lambda: ug.IAF(3, **TINY),
    "MAF": lambda: ug.MAF(3, **TINY),
    "NSF": lambda: ug.NSF(3, bins=4, **TINY),
    "RealNVP": lambda: ug.RealNVP(3, **TINY),
    "unit": lambda: ug.NSF(3, bins=4, support="unit", **TINY),
}


@pytest.mark.parametrize("name", FLOWS)
def test_value_and_gradients_are_those_of_the_flow(name: str):
    flow, c = FLOWS[name]().double(), torch.randn(4, 2, dtype=F64, requires_grad=True)
    found = []
    for wrap in (own_draws, lambda q: q):
        torch.manual_seed(0)
        q = wrap(flow.distribution(c)).expand((5, 4))
        z = q.rsample()
        value = (z.sin().sum(-1) - q.log_prob(z)).sum()
        found.append(
            (value.detach(), *torch.autograd.grad(value, [c, *flow.parameters()], allow_unused=True))
        )
    for one, two in zip(*found, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, rtol=1e-7, atol=1e-9)


def test_the_log_determinant_of_the_inverse_is_minus_that_of_the_flow():
    flow, z = ug.IAF(3, **TINY).double(), torch.randn(5, 3, dtype=F64)
    f = flow.flow.transform(torch.randn(5, 2, dtype=F64))
    x, ladj = inverse_and_log_det(f, z)
    again, forward = f.call_and_ladj(x)
    torch.testing.assert_close(again, z)
    torch.testing.assert_close(ladj, -forward)


class Counting(torch.distributions.Transform):
    """x ↦ 2x, counting how often it is inverted from the data."""

    domain = codomain = dist.constraints.real_vector
    bijective, calls = True, 0

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return 2 * x

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        return y / 2

    def log_abs_det_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 0.6931471805599453 * x.new_full(x.shape[:-1], x.shape[-1])

    def inverse_and_ladj(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = y / 2
        return x, -self.log_abs_det_jacobian(x, y)


def test_only_the_last_draw_and_only_once():
    from unigen.distributions.flow import FlowDistribution

    f = Counting()
    q = own_draws(FlowDistribution(f, dist.Normal(torch.zeros(3), 1.0).to_event(1)))
    first, z = q.rsample((4,)), q.rsample((4,))
    direct = q.log_prob(z)
    assert f.calls == 0
    torch.testing.assert_close(q.log_prob(z), direct)
    assert f.calls == 1
    q.rsample((4,))
    torch.testing.assert_close(
        q.log_prob(first), dist.Normal(torch.zeros(3), 0.5).to_event(1).log_prob(first)
    )
    assert f.calls == 2 and q.sample((2,)).shape == (2, 3)


def test_it_keeps_shape_support_kind_and_name():
    p = ug.IAF(3, **TINY).distribution(torch.zeros(4, 2))
    q = own_draws(p)
    assert isinstance(q, OwnDraws) and kind_of(q) is Kind.EXACT and q.label == "IAF"
    assert (q.batch_shape, q.event_shape, str(q.support)) == (p.batch_shape, p.event_shape, str(p.support))
    normal = dist.Normal(torch.zeros(3), 1.0).to_event(1)
    assert own_draws(normal) is normal


@pytest.mark.parametrize(
    "objective",
    [ug.ELBO(samples=2), ug.ELBO(samples=2, gradient="stl"), ug.IWAE(4), ug.IWAE(4, gradient="dreg")],
    ids=["ELBO", "stl", "IWAE", "dreg"],
)
def test_every_objective_has_the_same_gradient_without(objective, monkeypatch: pytest.MonkeyPatch):
    from unigen.models import vae as module

    vae = ug.VAE(4, 2, posterior=ug.IAF(2, context=3, transforms=2, hidden=(6,)), hidden=(6,)).double()
    x, found = torch.randn(5, 4, dtype=F64), []
    for wrap in (own_draws, lambda q: q):
        monkeypatch.setattr(module, "own_draws", wrap)
        torch.manual_seed(0)
        loss = objective.players(vae)[0].loss(x)
        found.append([loss, *torch.autograd.grad(loss, list(vae.parameters()), allow_unused=True)])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-10)
