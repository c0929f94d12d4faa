"""Exact maximum likelihood: gradient, closed form, EM; and who is refused."""

from __future__ import annotations

import pytest
import torch

from tests import problems
from tests.programs import Conditional, Toy
from unigen.errors import NoDensityError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.objectives.likelihood import EM, ClosedForm, MaximumLikelihood, mean_loss


def test_gradient_is_that_of_the_density():
    program = Conditional()
    x, c = torch.randn(7, 2), torch.randn(7, 3)
    (player,) = MaximumLikelihood().players(program)
    scale = program.log_scale.exp()
    truth = -torch.distributions.Normal(program.mean(c), scale).log_prob(x).sum(-1).mean()
    assert player.loss(x, c).item() == pytest.approx(truth.item(), abs=1e-6)
    assert set(player.parameters) == {f"program.{n}" for n, _ in program.named_parameters()}


def test_closed_form_is_one_update():
    x = problems.spectrum_data()
    (player,) = ClosedForm().players(PPCA(5, 2).double())
    assert player.once and not player.parameters
    assert player.update(x, None).item() == pytest.approx(7.526216, abs=5e-7)
    assert player.loss(x).item() == pytest.approx(7.526216, abs=5e-7)


def test_em_updates_fall():
    x = problems.spectrum_data()
    (player,) = EM().players(FactorAnalysis(5, 2).double())
    assert not player.once
    losses = [player.update(x, None).item() for _ in range(5)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize(("objective", "program", "words"), [
    (MaximumLikelihood(), VAE(3, 1), "lower bound.*ELBO"), (MaximumLikelihood(), Toy(), "ELBO"),
    (ClosedForm(), FactorAnalysis(3, 1), "no closed form"), (EM(), Toy(), "no EM step"),
])  # fmt: skip
def test_refuses(objective, program, words):
    with pytest.raises(NoDensityError, match=words):
        objective.players(program)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mean_loss_of_many_chunks(dtype):
    program = Conditional()
    (player,) = MaximumLikelihood().players(program)
    x, c = torch.randn(600_001, 2, dtype=dtype), torch.randn(600_001, 3)
    truth = player.loss(x.float(), c).item()
    found = mean_loss(player.loss, x, c)
    assert found.dtype is torch.float64 and found.item() == pytest.approx(truth, rel=1e-5)
