"""Adversarial inference against the exact posterior of a linear-Gaussian model."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import ArgumentError, ShapeError, UnsupportedQueryError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.fit import fit
from unigen.inference.step import EagerStep
from unigen.models.gan import GAN
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE, linear_vae
from unigen.nn.critic import Critic
from unigen.objectives.adversarial_inference import AdversariallyLearnedInference, decoded, encoded
from unigen.objectives.games import Game, Hinge, LeastSquares, NonSaturating
from unigen.objectives.wasserstein_game import Wasserstein
from unigen.relations.relate import convert

WEIGHT = torch.tensor([[2.0, 1.0]])


class Quadratic(nn.Module):
    """All polynomials of degree two: they contain the log ratio of two Gaussians."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.i, self.j = torch.triu_indices(features, features)
        self.line = nn.Linear(features + self.i.shape[0], 1)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def features(self, x: Tensor) -> Tensor:
        """Monomials of degree one and two."""
        return torch.cat([x, x[:, self.i] * x[:, self.j]], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the value, shape (N, 1)."""
        return self.line(self.features(x))


def data(n: int) -> Tensor:
    return torch.randn(n, 1) @ WEIGHT + 0.5 * torch.randn(n, 2)


def test_the_encoder_becomes_the_posterior_mean() -> None:
    x = data(4000)
    vae, exact = linear_vae(2, 1), PPCA(2, 1)
    critic = Critic(3, net=Quadratic(3))
    objective = AdversariallyLearnedInference(NonSaturating(0.1), critic=critic, lr=(1.0, 2.0))
    fit(vae, x, objective=objective, steps=500, lr=1e-2, batch_size=256, ema=0.98, progress=False)
    fit(exact, x)
    found, mean = vae.encode(x).squeeze(1), exact.encode(x).squeeze(1)
    direction = float(torch.corrcoef(torch.stack([found, mean]))[0, 1])
    slope = float((found * mean).sum() / mean.square().sum())
    assert abs(direction) > 0.99  # the sign of z is free
    assert abs(abs(slope) - 1) < 0.15
    assert vae.posterior(x[:3]).batch_shape == (3,)
    covariance = torch.cov(vae.sample(20_000).T)
    assert float((covariance - torch.cov(x.T)).abs().max()) < 0.6  # of 4.25
    assert critic.log_ratio(encoded(vae, x[:5]).detach()).shape == (5,)


def test_pairs_of_the_exact_posterior_are_pairs_of_the_model_and_others_are_not() -> None:
    """E f(encoder's pairs) = E f(model's pairs) for all quadratic f if and only if the guide is the posterior here."""
    x = data(40_000).double()
    ppca = PPCA(2, 1).double()
    fit(ppca, x)
    vae = convert(ppca, to="VAE")
    rows, features = 40_000, Quadratic(3).features
    fresh = vae.sample(rows, seed=0)  # data from the model itself
    strongest = []
    for broken in (False, True):
        if broken:
            with torch.no_grad():
                vae.encoder.layers[0].weight.mul_(0.8)
        with torch.no_grad():
            one, two = features(encoded(vae, fresh)), features(decoded(vae, rows))
        z = (one.mean(0) - two.mean(0)) / ((one.var(0) + two.var(0)) / rows).sqrt()
        strongest.append(float(z.abs().max()))
    assert strongest[0] < 5 < 10 < strongest[1]


@pytest.mark.parametrize("game", [NonSaturating(), Wasserstein(), LeastSquares(), Hinge()], ids=repr)
def test_each_player_moves_its_own_half_and_the_guide_has_a_part(game: Game) -> None:
    vae = VAE(3, 2, hidden=(8,))
    critic, program = AdversariallyLearnedInference(game).players(vae)
    assert all(name.startswith("critic.") for name in critic.parameters)
    critic.loss(torch.randn(5, 3)).backward()
    assert all(p.grad is None for p in vae.parameters())
    program.loss(torch.randn(5, 3)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.encoder.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.decoder.parameters())


def test_the_traced_step_equals_the_eager_one() -> None:
    results = []
    for traced in (False, True):
        torch.manual_seed(0)
        vae = VAE(3, 2, hidden=(4,), context=1).double()
        for player in AdversariallyLearnedInference().players(vae):
            optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
            example = (torch.randn(6, 3).double(), torch.randn(6, 1).double())
            if traced:
                step = CompiledStep(
                    player.loss, player.parameters, optimizer, example=example, compiler=interpreted
                )
            else:
                step = EagerStep(player.loss, player.parameters, optimizer)
            torch.manual_seed(1)
            for n in (6, 9):
                step(torch.randn(n, 3).double(), torch.randn(n, 1).double())
        results.append([p.detach().clone() for p in player.loss.parameters()])
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-9, rtol=0)


def test_programs_without_a_way_back_are_refused() -> None:
    objective = AdversariallyLearnedInference()
    with pytest.raises(UnsupportedQueryError, match="a guide"):
        objective.players(GAN(2, 2))
    with pytest.raises(ArgumentError, match="differentiable"):
        objective.players(VAE(3, 2, likelihood=Bernoulli()))
    with pytest.raises((ArgumentError, UnsupportedQueryError)):
        objective.players(GaussianMixture(2, components=2))
    with pytest.raises(ShapeError, match=r"expected a critic of events \(5,\)"):
        AdversariallyLearnedInference(critic=Critic(3)).players(VAE(3, 2))
    wrong: Any = "ali"
    for make in (
        lambda: AdversariallyLearnedInference(critic_steps=0),
        lambda: AdversariallyLearnedInference(wrong),
    ):
        with pytest.raises(ArgumentError, match="expected"):
            make()


def test_fitting_by_the_programs_own_objective() -> None:
    vae = VAE(2, 1, hidden=(4,), objective=AdversariallyLearnedInference())
    record = fit(vae, data(64), steps=3, progress=False)
    assert set(record.history) == {"critic", "generator"} and vae.encode(data(2)).shape == (2, 1)
    assert math.isfinite(record.final["critic"])
