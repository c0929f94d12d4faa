from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import ArgumentError, ContextError, ShapeError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.models.gan import GAN
from unigen.models.vae import VAE
from unigen.nn.critic import Critic
from unigen.nn.mlp import MLP
from unigen.objectives.adversarial import Adversarial
from unigen.objectives.games import Game, NonSaturating
from unigen.objectives.objective import Player
from unigen.objectives.wasserstein_game import Wasserstein


def generator(slope: float, shift: float) -> GAN:
    """x = slope z + shift in one dimension."""
    net = MLP(1, 1, hidden=())
    with torch.no_grad():
        net.layers[0].weight.fill_(slope)
        net.layers[0].bias.fill_(shift)
    return GAN(1, 1, generator=net).double()


def play(player: Player, x: Tensor, steps: int, lr: float) -> None:
    """Train one player, its learning rate falling to zero."""
    optimizer = torch.optim.Adam(player.parameters.values(), lr=lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        player.loss(x).backward(inputs=list(player.parameters.values()))
        optimizer.step()
        schedule.step()


def test_the_loss_of_the_optimal_critic_is_minus_the_value_of_theorem_20() -> None:
    n = 400_000
    x, y = torch.randn(n), 1 + torch.randn(n)
    softplus = nn.functional.softplus
    value = NonSaturating().critic(0.5 - x, 0.5 - y)
    error = math.sqrt(float(softplus(x - 0.5).var() + softplus(0.5 - y).var()) / n)
    assert abs(float(value) - 1.163451) < 5 * error
    assert float(NonSaturating().critic(0.8 * (0.5 - x), 0.8 * (0.5 - y))) > float(value)


def test_the_critic_of_two_gaussians_becomes_their_log_density_ratio() -> None:
    critic = Critic(1, hidden=())
    player = Adversarial(NonSaturating(r1=0.0), critic=critic).players(generator(1.0, 1.0))[0]
    x = torch.randn(20_000, 1).double()
    play(player, x, steps=250, lr=0.08)
    slope, shift = critic.net.layers[0].weight.item(), critic.net.layers[0].bias.item()
    # asymptotic error of logistic regression with this many rows of each class, plus the noise of the last steps
    points = torch.cat([x, 1 + torch.randn(20_000, 1).double()])
    d = torch.sigmoid(0.5 - points)
    design = torch.cat([points, torch.ones_like(points)], 1)
    errors = torch.linalg.inv((design * d * (1 - d)).T @ design).diagonal().sqrt()
    assert abs(slope + 1) < 6 * errors[0]
    assert abs(shift - 0.5) < 6 * errors[1]
    grid = torch.linspace(-3, 3, 7).double().unsqueeze(1)
    ratio = dist.Normal(0.0, 1.0).log_prob(grid) - dist.Normal(1.0, 1.0).log_prob(grid)
    assert float((critic.log_ratio(grid) - ratio.squeeze(1)).abs().max()) < 6 * float(
        errors[0] * 3 + errors[1]
    )


@pytest.mark.parametrize(
    ("distance", "penalty", "two_sided"), [(2.0, 1.0, False), (1.0, 10.0, False), (1.0, 5.0, True)]
)
def test_the_gradient_penalty_steepens_the_critic_of_two_diracs(
    distance: float, penalty: float, two_sided: bool
) -> None:
    critic = Critic(1, hidden=())
    with torch.no_grad():  # 0.9 has the wrong sign, where a two-sided penalty would hold it
        critic.net.layers[0].weight.fill_(-0.5 if two_sided else 0.9)
    game = Wasserstein(penalty, two_sided=two_sided)
    player = Adversarial(game, critic=critic).players(generator(0.0, distance))[0]
    x = torch.zeros(8, 1).double()
    play(player, x, steps=400, lr=0.05)
    slope = -critic.net.layers[0].weight.item()
    assert abs(slope - (1 + distance / (2 * penalty))) < 1e-3
    y = torch.full((8, 1), distance).double()
    assert abs(float(critic.wasserstein(x, y)) - distance) < 1e-6


def test_the_dual_of_two_gaussians_is_their_wasserstein_distance() -> None:
    critic = Critic(1, hidden=())
    player = Adversarial(Wasserstein(10.0), critic=critic).players(generator(1.0, 2.0))[0]
    n = 100_000
    play(player, torch.randn(4000, 1).double(), steps=300, lr=0.05)
    x, y = torch.randn(n, 1).double(), 2 + torch.randn(n, 1).double()
    assert abs(float(critic.wasserstein(x, y)) - 2.0) < 5 * math.sqrt(2 / n)
    assert abs(-critic.net.layers[0].weight.item() - 1.1) < 0.02  # 1 + 2/(2·10)


def test_the_penalties_of_an_affine_critic_are_functions_of_its_slope() -> None:
    critic, x, y = Critic(2, hidden=()), torch.randn(6, 2), torch.randn(6, 2)
    square = float(critic.net.layers[0].weight.detach().square().sum())
    assert float(NonSaturating(r1=0.6).regulariser(critic, x, y, None).detach()) == pytest.approx(
        0.3 * square, rel=1e-5
    )
    two_sided = Wasserstein(5.0, two_sided=True).regulariser(critic, x, y, None).detach()
    assert float(two_sided) == pytest.approx(5 * (math.sqrt(square) - 1) ** 2, rel=1e-4)
    with torch.no_grad():
        critic.net.layers[0].weight.mul_(0.9 / math.sqrt(square))
    assert float(Wasserstein(5.0).regulariser(critic, x, y, None).detach()) == 0.0


def test_the_wasserstein_penalty_looks_between_data_and_draws() -> None:
    class Kink(nn.Module):
        """Slope 3 for 0.25 < x < 0.75 only."""

        def forward(self, x: Tensor) -> Tensor:
            return 3 * x.clamp(0.25, 0.75)

    x, y = torch.zeros(20_000, 1), torch.ones(20_000, 1)
    found = float(Wasserstein(1.0).regulariser(Critic(1, net=Kink()), x, y, None))
    assert abs(found - 2.0) < 5 * 2.0 / math.sqrt(20_000)  # half of the points have (3 − 1)² = 4


@pytest.mark.parametrize("game", [NonSaturating(), Wasserstein()])
def test_each_player_moves_its_own_half_only(game: Game) -> None:
    gan = GAN(3, 2, hidden=(8,))
    critic, program = Adversarial(game).players(gan)
    assert [name for name in critic.parameters if not name.startswith("critic.")] == []
    assert {id(p) for p in program.parameters.values()} == {id(p) for p in gan.parameters()}
    assert not {id(p) for p in critic.parameters.values()} & {id(p) for p in program.parameters.values()}
    critic.loss(torch.randn(5, 3)).backward()
    assert all(p.grad is None for p in gan.parameters())
    gan.zero_grad()
    program.loss(torch.randn(5, 3)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in gan.parameters())


def test_the_objective_keeps_nothing_of_a_fit_and_a_critic_handed_in_can_be_read() -> None:
    objective, gan = Adversarial(), GAN(3, 2)
    first, second = objective.players(gan)[0].loss.critic, objective.players(gan)[0].loss.critic
    assert first is not second
    mine = Critic(3)
    players = Adversarial(critic=mine, critic_steps=4).players(gan)
    assert players[0].loss.critic is mine and players[1].loss.critic is mine
    assert (players[0].steps, players[1].steps) == (4, 1)
    assert mine.log_ratio(torch.randn(2, 3)).shape == (2,)
    own = Adversarial(critic=nn.Linear(3, 1)).players(gan)[0].loss.critic
    assert own(torch.randn(2, 3)).shape == (2,)


def test_a_conditional_critic_sees_the_context() -> None:
    gan = GAN(2, 2, context=3)
    for player in Adversarial().players(gan):
        loss = player.loss(torch.randn(4, 2), torch.randn(4, 3))
        torch.autograd.grad(loss, list(player.parameters.values()))


def test_an_explicit_program_plays_if_its_draws_are_differentiable() -> None:
    players = Adversarial().players(VAE(3, 2))
    assert torch.isfinite(players[1].loss(torch.randn(4, 3)))
    with pytest.raises(ArgumentError, match="differentiable"):
        Adversarial().players(VAE(3, 2, likelihood=Bernoulli()))


def test_bad_options_are_refused() -> None:
    for make in (
        lambda: Adversarial(critic_steps=0),
        lambda: Adversarial("wgan"),
    ):
        with pytest.raises(ArgumentError, match="expected"):
            make()


def test_a_critic_that_does_not_take_the_draws_is_refused() -> None:
    gan = GAN(3, 2, hidden=(4,))
    with pytest.raises(ShapeError, match=r"got a critic of 5 features, expected a critic of events \(3,\)"):
        Adversarial(critic=Critic(5)).players(gan)
    with pytest.raises(ShapeError, match="does not take a draw"):
        Adversarial(critic=nn.Linear(4, 1)).players(gan)
    with pytest.raises(ShapeError, match=r"\(N,\) or \(N, 1\)"):
        Adversarial(critic=nn.Linear(3, 2)).players(gan)
    with pytest.raises(ShapeError, match="one number an example"):
        Adversarial(critic=nn.Flatten(0)).players(gan)
    with pytest.raises(ContextError, match=r"Critic\(…, context=2\)"):
        Adversarial(critic=Critic(3)).players(GAN(3, 2, context=2))
    with pytest.raises(ContextError, match="context=0"):
        Adversarial(critic=Critic(3, context=1)).players(gan)
    with pytest.raises(ArgumentError, match="a fresh Critic"):
        Adversarial(Wasserstein(), critic=Critic(3).read_as("log ratio")).players(gan)


def test_two_time_scales_reach_the_players() -> None:
    critic, program = Adversarial(lr=(0.5, 2.0), betas=(0.0, 0.9), critic_steps=3).players(GAN(2, 2))
    assert (critic.lr, critic.betas, critic.steps) == (2.0, (0.0, 0.9), 3)
    assert (program.lr, program.betas, program.steps) == (0.5, (0.0, 0.9), 1)


@pytest.mark.parametrize("game", [NonSaturating(), Wasserstein()])
def test_the_traced_step_equals_the_eager_one(game: Game) -> None:
    results = []
    for traced in (False, True):
        torch.manual_seed(0)
        gan = GAN(3, 2, hidden=(8,)).double()
        for player in Adversarial(game).players(gan):
            optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
            x = torch.randn(6, 3).double()
            if traced:
                step = CompiledStep(
                    player.loss, player.parameters, optimizer, example=(x, None), compiler=interpreted
                )
            else:
                step = EagerStep(player.loss, player.parameters, optimizer)
            torch.manual_seed(1)
            for n in (6, 9, 4):
                step(torch.randn(n, 3).double(), None)
        results.append([p.detach().clone() for p in player.loss.parameters()])
        if traced:
            assert step.traces == 1
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-10, rtol=0)
