from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from unigen.errors import ArgumentError, ContextError, NoDensityError, ShapeError, UnsupportedQueryError
from unigen.inference.fit import fit
from unigen.inference.persist import load, save
from unigen.models.gan import GAN, WGAN
from unigen.models.vae import VAE
from unigen.nn.conv import ConvDecoder, ConvEncoder
from unigen.nn.critic import Critic
from unigen.nn.f_divergences import PearsonChi2
from unigen.nn.lipschitz import SpectralNorm, WeightClipping
from unigen.nn.mlp import MLP
from unigen.objectives.adversarial import Adversarial
from unigen.objectives.elbo import ELBO
from unigen.objectives.f_gan import FGAN
from unigen.objectives.games import Hinge, NonSaturating
from unigen.objectives.wasserstein_game import Wasserstein
from unigen.testing.check import check_program


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


class Joint(nn.Module):
    """All polynomials of degree two in x and c: they contain the log ratio of two linear-Gaussian conditionals."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(5, 1)
        nn.init.zeros_(self.line.weight)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Return the value, shape (N, 1)."""
        return self.line(torch.cat([x, c, x * c, x.square(), c.square()], 1))


def test_a_conditional_generator_learns_the_conditional() -> None:
    c = torch.randn(3000, 1)
    x = 0.5 + 0.8 * c + 0.3 * torch.randn(3000, 1)
    net = MLP(1, 1, hidden=(), context=1)
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.tensor([[0.6, 0.0]]))
        net.layers[0].bias.zero_()
    game = Adversarial(NonSaturating(0.1), critic=Critic(1, net=Joint(), context=1), lr=(1.0, 2.0))
    gan = GAN(1, 1, generator=net, context=1, objective=game)
    fit(gan, (x, c), steps=400, lr=1e-2, ema=0.98, progress=False)
    spread, slope = net.layers[0].weight.detach().squeeze(0)
    assert abs(float(slope) - 0.8) < 0.08
    assert abs(float(net.layers[0].bias.detach()) - 0.5) < 0.08
    assert abs(abs(float(spread)) - 0.3) < 0.1
    at = gan.sample(4000, torch.full((1, 1), 2.0))
    assert abs(float(at.mean()) - 2.1) < 0.2


@pytest.mark.parametrize("context", [0, 2])
def test_networks_of_convolutions_make_images(context: int) -> None:
    image = (1, 8, 8)
    critic = Critic(
        64, net=ConvEncoder(image, 1, width=4, context=context), constraint=SpectralNorm(), context=context
    )
    gan = GAN(
        image, 4, generator=ConvDecoder(4, image, width=4, context=context), context=context,
        objective=Adversarial(Hinge(), critic=critic),
    )  # fmt: skip
    x, c = torch.rand(12, *image), torch.rand(12, context) if context else None
    fit(gan, x if c is None else (x, c), steps=2, batch_size=6, progress=False)
    assert gan.sample(3, None if c is None else c[:3]).shape == (3, *image)
    with pytest.raises(ShapeError, match=r"expected shape \(N, 1, 8, 8\)|expected \(N, 1, 8, 8\)"):
        fit(gan, torch.rand(12, 64) if c is None else (torch.rand(12, 64), c), steps=1)


def test_the_default_generator_takes_events_of_any_shape_and_their_box() -> None:
    gan = GAN((2, 3), 2, hidden=(4,))
    x = torch.rand(20, 2, 3)
    fit(gan, x, steps=2, progress=False)
    draws = gan.sample(50)
    assert draws.shape == (50, 2, 3)
    assert bool((draws >= x.amin(0)).all() and (draws <= x.amax(0)).all())
    assert gan.decode(torch.zeros(2, 2)).shape == (2, 2, 3)


OBJECTIVES = [
    Adversarial(Wasserstein(5.0, two_sided=True), critic_steps=2, lr=(0.5, 1.0)),
    Adversarial(Wasserstein(constraint=WeightClipping(0.02))),
    Adversarial(FGAN(PearsonChi2(), saturating=True, r1=0.1)),
    Adversarial(Hinge(0.2)),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_a_gan_is_saved_and_loaded_with_its_game(objective: Adversarial, tmp_path: Path) -> None:
    image = (1, 4, 4)
    gan = GAN(image, 3, generator=ConvDecoder(3, image, width=2), objective=objective)
    again = load(save(gan, tmp_path / "gan.safetensors"))
    assert repr(again.objective) == repr(objective)
    torch.testing.assert_close(again.sample(4, seed=0), gan.sample(4, seed=0))
    wgan = WGAN(image, 3, hidden=(4,), penalty=2.0)
    assert load(save(wgan, tmp_path / "wgan.safetensors")).event_shape == image


def test_an_image_program_keeps_the_laws() -> None:
    gan = GAN((1, 4, 4), 2, hidden=(8,))
    check_program(gan, torch.rand(32, 1, 4, 4))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ArgumentError, match="both ≥ 1"):
        GAN(0)
    for event in ((), (1, 0, 3)):
        with pytest.raises(ArgumentError, match="both ≥ 1"):
            GAN(event)
    with pytest.raises(ShapeError, match=r"generator.*got \(\d+, 4\)"):
        GAN((2, 3), 2, generator=MLP(2, 4)).sample(2)
    conditional = GAN(2, 2, context=3)
    for c in (torch.zeros(4, 2), None):
        with pytest.raises(ContextError):
            conditional.sample(4, c)
    with pytest.raises(ContextError):
        fit(conditional, torch.randn(5, 2), steps=1)
    with pytest.raises(ShapeError, match="site 'z'"):
        GAN(3, 2, prior=GAN(4, 2))
