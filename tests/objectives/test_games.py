"""Games against quadrature: what the best critic earns, and where it sends the program."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.models.gan import GAN
from unigen.nn.critic import Critic
from unigen.nn.f_divergences import JensenShannon, KullbackLeibler
from unigen.nn.lipschitz import SpectralNorm, WeightClipping
from unigen.objectives.adversarial import Adversarial
from unigen.objectives.f_gan import FGAN
from unigen.objectives.games import Game, Hinge, LeastSquares, Minimax, NonSaturating
from unigen.objectives.wasserstein_game import Wasserstein

Function = Callable[[Tensor], Tensor]
JSD = 0.111421  # theorem 20: N(0, 1) and N(1, 1)
TV = math.erf(0.5 / math.sqrt(2))


def means(shift: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Points and the weights of p = N(0, 1) and q = N(shift, 1) there."""
    x = torch.linspace(-9.0, 10.0, 801, dtype=torch.float64)
    p, q = (torch.exp(-(x - m).square() / 2) / math.sqrt(2 * math.pi) * (x[1] - x[0]) for m in (0.0, shift))
    return x, p, q


def expected(loss: Game, p: Tensor, q: Tensor, f: Tensor) -> float:
    """The critic's loss by quadrature, from its values one by one."""
    zero = torch.zeros(1, dtype=torch.float64)
    base = loss.critic(zero, zero)
    real = torch.stack([loss.critic(v[None], zero) - base for v in f])
    fake = torch.stack([loss.critic(zero, v[None]) - base for v in f])
    return float(base + (p * real).sum() + (q * fake).sum())


BEST = [
    (Minimax(), lambda r: r, 2 * math.log(2) - 2 * JSD),
    (NonSaturating(0.0), lambda r: r, 1.163451),
    (Hinge(), torch.sign, 2 - 2 * TV),
]


@pytest.mark.parametrize(("game", "best", "value"), BEST, ids=lambda part: repr(part)[:12])
def test_the_best_critic_has_the_value_of_the_theorem(game: Game, best: Function, value: float) -> None:
    x, p, q = means()
    f = best(0.5 - x)
    assert expected(game, p, q, f) == pytest.approx(value, abs=0.02 if isinstance(game, Hinge) else 2e-6)
    for other in (0.9 * f, f + 0.1, f + 0.1 * x.sin()):
        assert expected(game, p, q, other) > expected(game, p, q, f)


def test_the_best_critic_of_least_squares_is_the_probability_of_data() -> None:
    x, p, q = means()
    f = p / (p + q)
    le_cam = float(((p - q).square() / (p + q)).sum())
    assert expected(LeastSquares(), p, q, f) == pytest.approx(0.25 - le_cam / 8, abs=1e-9)
    assert expected(LeastSquares(), p, q, f + 0.05 * x.cos()) > expected(LeastSquares(), p, q, f)


def through_the_program(loss: Function, best: Function, shift: float = 1.0) -> float:
    """d/dm of the program's loss at q = N(m, 1), the critic fixed at its best for m = shift."""
    eps, _, w = means(0.0)
    m = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    y = m + eps
    f = best(shift * shift / 2 - shift * y)
    zero = torch.zeros(1, dtype=torch.float64)
    base = loss(zero)
    h = 1e-5
    slope = torch.stack([(loss(v[None] + h) - loss(v[None] - h)) / (2 * h) for v in f.detach()])
    assert base.dim() == 0
    (df,) = torch.autograd.grad((w * slope.detach() * f).sum(), m)
    return float(df)


@pytest.mark.parametrize("game", [Minimax(), NonSaturating(0.0), LeastSquares()], ids=repr)
def test_the_best_critic_sends_the_program_towards_the_data(game: Game) -> None:
    best = torch.sigmoid if isinstance(game, LeastSquares) else (lambda r: r)
    assert through_the_program(game.generator, best) > 0.01
    assert through_the_program(lambda v: -game.encoder(v), best) > 0.01  # the other side moves the other way


def test_minimax_descends_twice_the_jensen_shannon_divergence() -> None:
    def twice_jsd(m: float) -> float:
        _, p, q = means(m)
        half = (p + q) / 2
        return float((p * (p / half).log() + q * (q / half).log()).sum())

    slope = (twice_jsd(1.001) - twice_jsd(0.999)) / 0.002
    assert through_the_program(Minimax().generator, lambda r: r) == pytest.approx(slope, rel=1e-5)
    assert through_the_program(NonSaturating().generator, lambda r: r) > 1.2 * slope


def test_the_game_of_jensen_shannon_is_the_logistic_one() -> None:
    real, fake = torch.randn(7), torch.randn(5)
    for game, same in ((FGAN(saturating=True), Minimax()), (FGAN(JensenShannon()), NonSaturating(0.0))):
        two = 2 * math.log(2)
        torch.testing.assert_close(game.critic(real, fake) + two, same.critic(real, fake))
        a, b = (g.generator(fake) - g.generator(fake + 1) for g in (game, same))
        torch.testing.assert_close(a, b)
        a, b = (g.encoder(real) - g.encoder(real + 1) for g in (game, same))
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    "game", [LeastSquares(0.6), Hinge(0.6), Minimax(0.6), FGAN(r1=0.6), Wasserstein(r1=0.6)]
)
def test_r1_is_for_every_game(game: Game) -> None:
    critic, x = Critic(2, hidden=()), torch.randn(6, 2)
    with torch.no_grad():
        critic.net.layers[0].weight.mul_(0.9 / critic.net.layers[0].weight.norm())  # no slope above one
    found = game.regulariser(critic, x, x, None).detach()
    assert float(found) == pytest.approx(0.3 * 0.81, rel=1e-5)


ROUND = [
    LeastSquares(r1=0.1), Hinge(), FGAN(KullbackLeibler()),
    Wasserstein(constraint=WeightClipping(0.05)), Wasserstein(constraint=SpectralNorm()),
]  # fmt: skip


@pytest.mark.parametrize("game", ROUND, ids=repr)
def test_the_traced_step_equals_the_eager_one(game: Game) -> None:
    results = []
    for traced in (False, True):
        torch.manual_seed(0)
        gan = GAN(2, 2, hidden=(6,)).double()
        critic = Critic(2, hidden=(6,), constraint=game.constraint)
        for player in Adversarial(game, critic=critic).players(gan):
            optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
            x = torch.randn(6, 2).double()
            if traced:
                step = CompiledStep(
                    player.loss, player.parameters, optimizer, example=(x, None), compiler=interpreted
                )
            else:
                step = EagerStep(player.loss, player.parameters, optimizer)
            torch.manual_seed(1)
            for n in (6, 9):
                step(torch.randn(n, 2).double(), None)
        results.append([*player.loss.parameters(), *player.loss.buffers()])
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-9, rtol=0)


def test_a_negative_penalty_is_refused() -> None:
    for game in (Minimax, LeastSquares, Hinge, NonSaturating):
        with pytest.raises(ArgumentError, match="r1"):
            game(r1=-0.1)
