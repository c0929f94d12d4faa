from __future__ import annotations

import pytest
import torch
from torch import nn

from unigen.errors import ArgumentError
from unigen.nn.conv import ConvEncoder
from unigen.nn.critic import Critic, input_gradient
from unigen.nn.lipschitz import SpectralNorm, WeightClipping


def weights(module: nn.Module) -> list[torch.Tensor]:
    return [m.weight for m in module.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]


def test_clipped_weights_stay_in_the_box_and_come_back_from_its_boundary() -> None:
    critic = Critic(2, hidden=(8,), constraint=WeightClipping(0.1))
    optimizer, x = torch.optim.SGD(critic.parameters(), lr=0.03), torch.randn(64, 2)
    for sign in (1.0, -1.0):
        for _ in range(40):
            optimizer.zero_grad()
            (sign * 100 * critic(x).mean() + sign * 100 * critic.net.layers[-1].bias.sum()).backward()
            optimizer.step()
            assert all(float(w.detach().abs().max()) < 0.1 + 1e-7 for w in weights(critic.net))
        assert float(critic.net.layers[-1].bias.detach()) == pytest.approx(-sign * 0.1)


def test_a_clipped_weight_goes_out_by_one_step_at_most_and_comes_back_with_one() -> None:
    linear = nn.Linear(1, 1, bias=False).double()
    WeightClipping(0.1).constrain(linear)
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.04)
    for gradient in (*[-1.0] * 20, 1.0):
        optimizer.zero_grad()
        (gradient * linear.weight.sum()).backward()
        optimizer.step()
        (free,) = linear.parameters()
        assert float(free.detach()) <= 0.14
        assert float(linear.weight.detach()) == min(float(free.detach()), 0.1)
    assert 0.06 - 1e-12 <= float(linear.weight.detach()) < 0.1 + 1e-12


def test_a_spectrally_normalised_critic_has_no_slope_above_one() -> None:
    critic = Critic(3, hidden=(16, 16), constraint=SpectralNorm(5)).double()
    with torch.no_grad():
        for _ in range(20):
            critic(torch.randn(4, 3).double())  # power iterations
    for w in weights(critic.net):
        assert float(torch.linalg.matrix_norm(w.detach(), 2)) == pytest.approx(1.0, abs=1e-4)
    slopes = input_gradient(critic, 3 * torch.randn(500, 3).double()).norm(dim=1).detach()
    assert float(slopes.max()) <= 1.0 + 1e-4


def test_convolutions_are_constrained_too() -> None:
    net = ConvEncoder((1, 8, 8), 1, width=4)
    critic = Critic(64, net=net, constraint=WeightClipping(0.01))
    assert critic(torch.randn(3, 1, 8, 8)).shape == (3,)
    assert all(float(w.detach().abs().max()) < 0.01 + 1e-8 for w in weights(net))


def test_queries_leave_the_power_iterations_alone() -> None:
    critic = Critic(2, constraint=SpectralNorm()).read_as("log ratio")
    before = {name: b.clone() for name, b in critic.named_buffers()}
    x = torch.randn(4, 2)
    critic.log_ratio(x), critic.divergence(x, x)
    assert before and all(torch.equal(b, before[name]) for name, b in critic.named_buffers())
    assert critic.training


def test_bad_constraints_are_refused() -> None:
    for make in (lambda: WeightClipping(0.0), lambda: WeightClipping(-1.0), lambda: SpectralNorm(0)):
        with pytest.raises(ArgumentError, match="expected"):
            make()
    with pytest.raises(ArgumentError, match="no layer"):
        Critic(2, net=nn.Identity(), constraint=SpectralNorm())
