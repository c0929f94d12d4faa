from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unigen.errors import ArgumentError, ShapeError, UnsupportedQueryError
from unigen.nn.critic import Critic, input_gradient
from unigen.nn.f_divergences import KullbackLeibler, TotalVariation


def affine(slope: float, shift: float) -> Critic:
    critic = Critic(1, hidden=())
    with torch.no_grad():
        critic.net.layers[0].weight.fill_(slope)
        critic.net.layers[0].bias.fill_(shift)
    return critic


def test_the_input_gradient_is_that_of_finite_differences_and_is_differentiable() -> None:
    critic = Critic(3, hidden=(8,)).double()
    x, h = torch.randn(5, 3).double(), 1e-6
    gradient = input_gradient(critic, x)
    for i in range(3):
        step = h * torch.eye(3).double()[i]
        torch.testing.assert_close(
            gradient[:, i], (critic(x + step) - critic(x - step)) / (2 * h), atol=1e-8, rtol=0
        )
    gradient.square().sum().backward()
    assert critic.net.layers[0].weight.grad.abs().sum() > 0


def test_an_exact_log_ratio_gives_the_jensen_shannon_divergence_of_theorem_20() -> None:
    critic, n = affine(-1.0, 0.5).read_as("log ratio"), 200_000
    x, y = torch.randn(n, 1), 1 + torch.randn(n, 1)
    torch.testing.assert_close(critic.log_ratio(x), 0.5 - x.squeeze(1))
    softplus = nn.functional.softplus
    real, fake = softplus(-critic(x)).detach(), softplus(critic(y)).detach()
    error = 0.5 * math.sqrt(float(real.var() + fake.var()) / n)
    assert abs(float(critic.jensen_shannon(x, y)) - 0.111421) < 5 * error


def test_a_steep_potential_is_divided_by_its_slope() -> None:
    critic, n = affine(-3.0, 0.7).read_as("potential"), 200_000
    x, y = torch.randn(n, 1), 2 + torch.randn(n, 1)
    assert abs(float(critic.wasserstein(x, y)) - 2.0) < 5 * math.sqrt(2 / n)


def test_a_critic_is_read_only_as_what_it_was_trained_to_be() -> None:
    x = torch.randn(4, 1)
    with pytest.raises(UnsupportedQueryError, match="played no game"):
        Critic(1).log_ratio(x)
    with pytest.raises(UnsupportedQueryError, match="NonSaturating"):
        Critic(1).read_as("potential").jensen_shannon(x, x)
    with pytest.raises(UnsupportedQueryError, match="Wasserstein"):
        Critic(1).read_as("log ratio").wasserstein(x, x)
    with pytest.raises(ArgumentError, match="a fresh Critic"):
        Critic(1).read_as("log ratio").read_as("potential")


def test_a_critic_of_another_divergence_is_read_through_its_activation() -> None:
    x, y = torch.randn(6, 1).double(), 1 + torch.randn(6, 1).double()
    affine_in_x = affine(-1.0, 1.5).double()
    critic = affine_in_x.read_as(KullbackLeibler())
    assert critic.reading == "KL(p‖q)"
    torch.testing.assert_close(critic.log_ratio(x), 0.5 - x.squeeze(1))
    bound = (1.5 - x).mean() - (0.5 - y).exp().mean()
    torch.testing.assert_close(critic.divergence(x, y), bound)
    other = affine(-1.0, 0.5).double().read_as("log ratio")
    torch.testing.assert_close(critic.jensen_shannon(x, y), other.jensen_shannon(x, y))
    torch.testing.assert_close(other.divergence(x, y), 2 * other.jensen_shannon(x, y))


def test_the_log_ratio_is_differentiable_where_asked() -> None:
    critic = affine(-2.0, 0.5).read_as("log ratio")
    assert not critic.log_ratio(torch.randn(3, 1)).requires_grad
    x = torch.randn(3, 1, requires_grad=True)
    (slope,) = torch.autograd.grad(critic.log_ratio(x).sum(), x)
    torch.testing.assert_close(slope, torch.full((3, 1), -2.0))
    with torch.no_grad():
        assert not critic.log_ratio(x).requires_grad


def test_a_sign_is_no_ratio_and_a_potential_no_divergence() -> None:
    x = torch.randn(4, 1)
    with pytest.raises(UnsupportedQueryError, match="total variation"):
        Critic(1).read_as(TotalVariation()).log_ratio(x)
    with pytest.raises(UnsupportedQueryError, match="bounds an f-divergence"):
        Critic(1).read_as("potential").divergence(x, x)
    with pytest.raises(UnsupportedQueryError, match="potential"):
        Critic(1).read_as(KullbackLeibler()).wasserstein(x, x)
    with pytest.raises(ArgumentError, match="expected an f-divergence"):
        Critic(1).read_as("ratio")
    with pytest.raises(ArgumentError, match=r"KL\(p‖q\)"):
        Critic(1).read_as(KullbackLeibler()).read_as("potential")


def test_a_network_of_ones_own_sees_the_event_and_the_context() -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).sum(1, keepdim=True) + context.sum(1, keepdim=True)

    x, c = torch.randn(5, 2, 3), torch.randn(5, 4)
    torch.testing.assert_close(Critic(6, net=Net())(x, c), x.sum((1, 2)) + c.sum(1))
    with pytest.raises(ShapeError, match="Critic"):
        Critic(6, net=nn.Identity())(x)
    assert Critic(6, context=4)(x, c).shape == (5,)
