"""What is recorded about a game, against gradients taken by hand."""

from __future__ import annotations

import pytest
import torch

from unigen.errors import ArgumentError, EmptyDataError
from unigen.inference.fit import fit
from unigen.inference.game_watch import GameWatch
from unigen.inference.record import Record
from unigen.inference.run import StepEvent
from unigen.models.gan import GAN
from unigen.models.vae import VAE
from unigen.nn.critic import Critic
from unigen.nn.lipschitz import SpectralNorm
from unigen.objectives.adversarial import Adversarial
from unigen.objectives.adversarial_inference import AdversariallyLearnedInference
from unigen.objectives.games import Hinge
from unigen.objectives.wasserstein_game import Wasserstein
from unigen.queries import ancestral, seeded

NAMES = {"critic gradient norm", "generator gradient norm", "critic on data", "critic on draws"}


def test_norms_and_values_are_those_of_the_losses() -> None:
    gan, critic, x = GAN(2, 2, hidden=(5,)).double(), Critic(2, hidden=(5,)), torch.randn(16, 2).double()
    game = Adversarial(Hinge(), critic=critic)
    record = Record()
    GameWatch(game, x, every=3)(StepEvent(gan, 3, {}, record))
    GameWatch(game, x, every=3)(StepEvent(gan, 4, {}, record))
    assert set(record.history) == NAMES and len(record.history["critic on data"]) == 1
    with seeded(0, gan.device):
        y = ancestral(gan, 16, None)
    fake = critic(y)
    assert record.final["critic on data"] == pytest.approx(float(critic(x).mean().detach()))
    assert record.final["critic on draws"] == pytest.approx(float(fake.mean().detach()))
    gradients = torch.autograd.grad(-fake.mean(), list(gan.parameters()), retain_graph=True)
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    assert record.final["generator gradient norm"] == pytest.approx(float(norm))
    loss = (1 - critic(x)).relu().mean() + (1 + critic(y.detach())).relu().mean()
    norm = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(critic.parameters()))]).norm()
    assert record.final["critic gradient norm"] == pytest.approx(float(norm))


def test_a_watched_run_is_the_same_run() -> None:
    x, ends = torch.randn(40, 2), []
    for watched in (False, True):
        torch.manual_seed(0)
        gan, critic = GAN(2, 2, hidden=(5,)), Critic(2, hidden=(5,), constraint=SpectralNorm())
        game = Adversarial(Wasserstein(constraint=SpectralNorm()), critic=critic)
        watch = [GameWatch(game, x[:8], every=2)] if watched else []
        record = fit(gan, x, objective=game, steps=5, seed=1, callbacks=watch, progress=False)
        ends.append([*gan.parameters(), *critic.parameters(), *critic.buffers()])
    assert len(record.history["critic on draws"]) == 2
    for a, b in zip(*ends, strict=True):
        assert torch.equal(a, b)


def test_inference_games_are_watched_too() -> None:
    vae, x = VAE(2, 1, hidden=(4,)), torch.randn(20, 2)
    game = AdversariallyLearnedInference(critic=Critic(3, hidden=(4,)))
    record = fit(vae, x, objective=game, steps=2, callbacks=[GameWatch(game, x, every=1)], progress=False)
    assert set(record.history) >= NAMES


def test_what_cannot_be_watched_is_refused() -> None:
    x = torch.randn(4, 2)
    with pytest.raises(ArgumentError, match=r"Adversarial\(critic=Critic\(features\)\)"):
        GameWatch(Adversarial(), x)
    with pytest.raises(ArgumentError, match="every"):
        GameWatch(Adversarial(critic=Critic(2)), x, every=0)
    with pytest.raises(EmptyDataError):
        GameWatch(Adversarial(critic=Critic(2)), x[:0])
