from __future__ import annotations

import math

import pytest
import torch

from unigen.errors import ArgumentError, NoDensityError, ShapeError, UnsupportedQueryError
from unigen.inference.fit import fit
from unigen.models.gan import GAN, WGAN
from unigen.models.vae import VAE
from unigen.nn.critic import Critic
from unigen.nn.mlp import MLP
from unigen.objectives.adversarial import Adversarial
from unigen.objectives.elbo import ELBO
from unigen.objectives.games import NonSaturating
from unigen.objectives.wasserstein_game import Wasserstein


def test_draws_are_the_generator_of_normal_noise() -> None:
    net = MLP(1, 2, hidden=())
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.tensor([[1.0], [-2.0]]))
        net.layers[0].bias.copy_(torch.tensor([2.0, 20.0]))
    gan, n = GAN(2, 1, generator=net), 100_000
    x = gan.sample(n)
    mean, sd = torch.tensor([2.0, 20.0]), torch.tensor([1.0, 2.0])
    assert bool(((x.mean(0) - mean).abs() < 5 * sd / math.sqrt(n)).all())
    assert bool(((x.std(0) - sd).abs() < 5 * sd / math.sqrt(2 * n)).all())
    torch.testing.assert_close(gan.decode(torch.tensor([[3.0]])), torch.tensor([[5.0, 14.0]]))


def test_the_generator_of_the_family_stays_in_the_box_of_the_data() -> None:
    gan = GAN(2, 3)
    gan.initialise(torch.tensor([[0.0, 10.0], [4.0, 30.0], [1.0, 20.0]]))
    with torch.no_grad():
        gan.generator.net.layers[-1].weight.mul_(1e4)
    x = gan.sample(500)
    low, high = torch.tensor([0.0, 10.0]), torch.tensor([4.0, 30.0])
    assert bool((x >= low).all() and (x <= high).all())
    assert bool(
        ((x - low < 0.1) | (high - x < 0.1)).float().mean() > 0.9
    )  # steep weights: nearly all at an edge


def test_every_density_query_is_refused_with_what_to_use_instead() -> None:
    gan, x = GAN(3, 2), torch.randn(4, 3)
    for query in (gan.log_prob, gan.score, gan.energy):
        with pytest.raises(NoDensityError, match="two-sample metric"):
            query(x)
    with pytest.raises(NoDensityError, match="critic"):
        _ = gan.kind
    with pytest.raises(NoDensityError):
        VAE(5, 3, prior=gan)
    with pytest.raises(NoDensityError):
        gan.surrogate(x)


def test_there_is_no_way_back_from_x_to_z() -> None:
    gan, x = GAN(3, 2), torch.randn(4, 3)
    for query in (gan.posterior, gan.encode, gan.reconstruct):
        with pytest.raises(UnsupportedQueryError, match="no way back"):
            query(x)
    with pytest.raises(NoDensityError):
        ELBO().players(gan)
    gan.check()
    assert gan.formula == "p(x, z) = p(x | z) p(z)"
    assert gan.decode(torch.zeros(2, 2)).shape == (2, 3)


def test_wgan_is_gan_with_another_objective() -> None:
    wgan = WGAN(3, 2, penalty=5.0, critic_steps=2)
    assert isinstance(wgan, GAN) and isinstance(wgan.objective, Adversarial)
    assert isinstance(wgan.objective.loss, Wasserstein) and wgan.objective.loss.penalty == 5.0
    assert [player.steps for player in wgan.objective.players(wgan)] == [2, 1]
    assert {k: v.shape for k, v in wgan.state_dict().items()} == {
        k: v.shape for k, v in GAN(3, 2).state_dict().items()
    }


def test_a_conditional_generator_follows_its_context() -> None:
    gan = GAN(2, 2, context=1)
    assert gan.sample(5, torch.ones(5, 1)).shape == (5, 2)
    a, b = gan.sample(5, torch.zeros(5, 1), seed=0), gan.sample(5, torch.ones(5, 1), seed=0)
    assert not torch.allclose(a, b)


@pytest.mark.parametrize("game", [NonSaturating(), Wasserstein(1.0)])
def test_an_affine_generator_finds_the_mean_and_spread_of_gaussian_data(
    game: NonSaturating | Wasserstein,
) -> None:
    x = 3 + 2 * torch.randn(2000, 1)
    critic = Critic(1, hidden=(32,))
    net = MLP(1, 1, hidden=())
    with torch.no_grad():
        net.layers[0].weight.fill_(1.0)
        net.layers[0].bias.zero_()
    gan = GAN(1, 1, generator=net, objective=Adversarial(game, critic=critic))
    record = fit(gan, (x - 3) / 4 + 1, steps=300, lr=1e-2, ema=0.97, progress=False, seed=0)
    draws = gan.sample(20_000)
    assert abs(float(draws.mean()) - 1) < 0.15  # of a standard deviation 0.5
    assert abs(float(draws.std()) - 0.5) < 0.15
    assert set(record.history) == {"critic", "generator"}
    assert gan.fitted


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ArgumentError, match="both ≥ 1"):
        GAN(0)
    with pytest.raises(ShapeError, match="site 'z'"):
        GAN(3, 2, prior=GAN(4, 2))
