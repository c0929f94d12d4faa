"""Bridges against the conditioning of a joint Gaussian, against Euler–Maruyama on their drift, and bad input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unigen.dynamics.bridge import Bridge
from unigen.dynamics.reference import BrownianMotion, OrnsteinUhlenbeck, Reference
from unigen.errors import ArgumentError, ShapeError

REFERENCES = [BrownianMotion(0.7), OrnsteinUhlenbeck(1.3, 0.8), OrnsteinUhlenbeck(1e-7, 0.7)]
TIMES = [0.1, 0.35, 0.6, 0.95]


def ids(reference: Reference) -> str:
    return repr(reference)


def conditioned(reference: Reference, times: list[float], x_0: float, x_1: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance of X at the times given both ends: the process' kernel, and Gaussian conditioning."""
    t = torch.tensor([*times, 1.0], dtype=torch.float64)
    s, u = torch.minimum(t[:, None], t), torch.maximum(t[:, None], t)
    k = reference.rate
    if k == 0:
        mean, cov = torch.full_like(t, x_0), reference.sigma**2 * s
    else:  # σ²/2k (e^{−k(u−s)} − e^{−k(u+s)}), the textbook kernel of a process started at a point
        mean = x_0 * torch.exp(-k * t)
        cov = reference.sigma**2 * torch.exp(-k * (u - s)) * -torch.expm1(-2 * k * s) / (2 * k)
    gain = cov[:-1, -1] / cov[-1, -1]
    return mean[:-1] + gain * (x_1 - mean[-1]), cov[:-1, :-1] - torch.outer(gain, cov[:-1, -1])


def bridge_of(reference: Reference, n: int = 1) -> Bridge:
    ends = torch.tensor([[0.4], [-1.1]], dtype=torch.float64)
    return Bridge(reference, ends[0].expand(n, 1), ends[1].expand(n, 1))


@pytest.mark.parametrize("reference", REFERENCES, ids=ids)
def test_moments_are_those_of_a_conditioned_gaussian(reference: Reference):
    mean, cov = conditioned(reference, TIMES, 0.4, -1.1)
    bridge = bridge_of(reference)
    ours = torch.stack([bridge.mean(t)[0, 0] for t in TIMES])
    table = torch.tensor([[bridge.covariance(s, t) for s in TIMES] for t in TIMES], dtype=torch.float64)
    assert (ours - mean).abs().max() < 1e-10
    assert (table - cov).abs().max() < 1e-10
    assert max(abs(bridge.variance(t) - float(cov[i, i])) for i, t in enumerate(TIMES)) < 1e-10
    assert bridge.mean(0.0).item() == pytest.approx(0.4) and bridge.mean(1.0).item() == pytest.approx(-1.1)
    assert bridge.variance(0.0) == bridge.variance(1.0) == 0.0


@pytest.mark.parametrize("reference", REFERENCES, ids=ids)
def test_transitions_multiply_to_the_joint_density(reference: Reference):
    mean, cov = conditioned(reference, TIMES, 0.4, -1.1)
    path = torch.tensor([0.3, -0.2, 0.5, -1.0], dtype=torch.float64)
    expected = torch.distributions.MultivariateNormal(mean, cov).log_prob(path)
    bridge, states, times = bridge_of(reference), [0.4, *path.tolist()], [0.0, *TIMES]
    total = sum(
        bridge.transition(torch.tensor([[states[i]]], dtype=torch.float64), times[i], times[i + 1])
        .log_prob(torch.tensor([[states[i + 1]]], dtype=torch.float64))
        .item()
        for i in range(len(TIMES))
    )
    assert total == pytest.approx(expected.item(), abs=1e-9)


@pytest.mark.parametrize("reference", REFERENCES, ids=ids)
def test_drifts_are_doob_transforms(reference: Reference):
    """Forward: −kx + σ²∇ log p(x_1 | x_t = x). Backward: kx + σ²∇ log p(x_t = x | x_0). By differentiation."""
    bridge, t = bridge_of(reference), 0.3
    x = torch.tensor([[0.8]], dtype=torch.float64, requires_grad=True)
    k, sigma = reference.rate, reference.sigma

    def log_transition(a: Tensor, b: Tensor, h: float) -> Tensor:
        variance = sigma**2 * (h if k == 0 else -math.expm1(-2 * k * h) / (2 * k))
        return -0.5 * (b - math.exp(-k * h) * a).square().sum() / variance

    ahead = torch.autograd.grad(log_transition(x, bridge.x_1, 1 - t), x)[0]
    back = torch.autograd.grad(log_transition(bridge.x_0, x, t), x)[0]
    y = x.detach()
    assert (bridge.drift(t, y) - (-k * y + sigma**2 * ahead)).abs().max() < 1e-10
    assert (bridge.backward_drift(t, y) - (k * y + sigma**2 * back)).abs().max() < 1e-10


@pytest.mark.parametrize("reference", REFERENCES[:2], ids=ids)
@pytest.mark.parametrize("backward", [False, True])
def test_euler_maruyama_on_the_drift_has_the_moments(reference: Reference, backward: bool):
    n, steps = (
        20_000,
        200,
    )  # the method is of weak order one: its bias, below .5 / steps here, adds to 5 errors
    bridge = bridge_of(reference, n)
    x, h, stop = bridge.x_1 if backward else bridge.x_0, 1 / steps, 0.4
    t = 1.0 if backward else 0.0
    for _ in range(round((1 - stop if backward else stop) * steps)):
        drift = bridge.backward_drift(t, x) if backward else bridge.drift(t, x)
        x, t = (
            x + h * drift + reference.sigma * math.sqrt(h) * torch.randn_like(x),
            t + (-h if backward else h),
        )
    mean, cov = conditioned(reference, [stop], 0.4, -1.1)
    v = cov[0, 0].item()
    assert abs(x.mean().item() - mean.item()) < 5 * math.sqrt(v / n) + 0.5 / steps
    assert abs(x.var().item() - v) < 5 * v * math.sqrt(2 / n) + 0.5 / steps


@pytest.mark.parametrize("reference", REFERENCES[:2], ids=ids)
def test_draws_are_exact(reference: Reference):
    n = 40_000
    path = bridge_of(reference, n).sample([0.0, *TIMES, 1.0])[..., 0]
    assert path.shape == (6, n)
    assert torch.equal(path[0], torch.full_like(path[0], 0.4))
    assert (path[-1] + 1.1).abs().max() < 1e-12
    mean, cov = conditioned(reference, TIMES, 0.4, -1.1)
    inner = path[1:-1]
    z = (inner.mean(1) - mean) / (cov.diagonal() / n).sqrt()
    assert z.abs().max() < 5
    spread = (cov.square() + torch.outer(cov.diagonal(), cov.diagonal())) / n  # Isserlis
    assert ((torch.cov(inner) - cov) / spread.sqrt()).abs().max() < 5


def test_one_time_an_example_and_events_of_any_rank():
    x = torch.randn(3, 2, 2)
    bridge = Bridge(BrownianMotion(), x, torch.zeros_like(x))
    together = bridge.drift(torch.tensor([0.1, 0.5, 0.9]), x)
    assert torch.allclose(together[1], bridge.drift(0.5, x)[1])
    assert bridge.transition(x, 0.0, 0.5).log_prob(x).shape == (3,)


@pytest.mark.parametrize("times", [[], [0.5, 0.2], [0.2, 0.2], [-0.1, 0.5], [0.5, 1.1], [math.nan]])
def test_times_that_make_no_path(times: list[float]):
    with pytest.raises(ArgumentError, match="increase"):
        bridge_of(BrownianMotion()).sample(times)


def test_bad_input_is_refused():
    bridge, x = bridge_of(BrownianMotion()), torch.zeros(1, 1, dtype=torch.float64)
    for call in (
        lambda: bridge.mean(1.5), lambda: bridge.drift(1.0, x), lambda: bridge.backward_drift(0.0, x),
        lambda: bridge.transition(x, 0.5, 0.5), lambda: bridge.transition(x, 0.5, 1.0), lambda: bridge.mean(math.nan),
        lambda: BrownianMotion(0.0), lambda: BrownianMotion(math.inf), lambda: OrnsteinUhlenbeck(0.0, 1.0),
        lambda: OrnsteinUhlenbeck(1.0, -1.0),
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            call()
    with pytest.raises(ShapeError, match=r"\(2, 3\)"):
        Bridge(BrownianMotion(), torch.zeros(2, 2), torch.zeros(2, 3))
