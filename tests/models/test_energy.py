from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError, ShapeError
from unigen.inference.fit import fit
from unigen.logprob import Kind
from unigen.models.energy import EnergyModel
from unigen.models.vae import VAE
from unigen.objectives.contrastive import ContrastiveDivergence
from unigen.samplers.langevin import Langevin


class Tilt(nn.Module):
    """f(u) = a · u, so that p(x) = N(−a, I)."""

    def __init__(self, *a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))

    def forward(self, u: Tensor) -> Tensor:
        return u @ self.a


def test_the_energy_of_a_tilt_is_that_of_a_shifted_gaussian() -> None:
    model, x = EnergyModel(2, energy=Tilt(1.0, -2.0)), torch.randn(6, 2)
    expected = torch.distributions.Normal(torch.tensor([-1.0, 2.0]), 1.0).log_prob(x).sum(-1)
    difference = model.log_prob(x).value - expected
    torch.testing.assert_close(difference, difference[:1].expand(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(model.score(x), torch.tensor([-1.0, 2.0]) - x, atol=1e-5, rtol=0)


def test_draws_have_the_moments_of_the_density() -> None:
    model = EnergyModel(2, energy=Tilt(1.0, -2.0), sampler=Langevin(steps=200, step_size=0.05))
    x = model.sample(20_000)
    variance = 1 / (1 - 0.05 / 2)
    assert bool(((x.mean(0) - torch.tensor([-1.0, 2.0])).abs() < 5 * math.sqrt(variance / 20_000)).all())
    assert bool(((x.var(0) - variance).abs() < 5 * variance * math.sqrt(2 / 20_000)).all())


def test_the_surrogate_has_the_gradient_of_contrastive_divergence() -> None:
    n = 50_000
    model = EnergyModel(
        2, energy=Tilt(0.5, -1.0), chains=n, negatives=ContrastiveDivergence(steps=1, step_size=1e-6)
    )
    model.chains.take(torch.randn(n, 2) - model.f.a.detach())
    x = torch.tensor([[1.0, 2.0], [0.0, -1.0]], requires_grad=True)
    value = model.surrogate(x)
    assert value.shape == (2,)
    (got,) = torch.autograd.grad(value.mean(), model.f.a, retain_graph=True)
    exact = -x.mean(0) - model.f.a  # ∇ of mean log N(x; −a, I)
    assert bool(((got - exact).abs() < 5 / math.sqrt(n)).all())
    (towards,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(towards, (-x - model.f.a).detach(), atol=1e-5, rtol=0)


def test_a_vae_with_an_energy_prior_says_that_its_number_is_unnormalised() -> None:
    vae = VAE(5, 3, prior=EnergyModel(3, hidden=(16,)), hidden=(16,))
    found = vae.log_prob(torch.randn(4, 5))
    assert found.kind is Kind.UNNORMALISED and vae.kind is Kind.UNNORMALISED
    assert vae.formula == "p(x, z) = p(x | z) p_EnergyModel(z);  q(z | x)"
    assert vae.sample(3).shape == (3, 5)
    (player,) = vae.objective.players(vae)
    player.loss(torch.randn(4, 5)).backward()
    assert all(p.grad is not None for p in vae.parameters())
    assert not player.measure  # log Z moves, so the loss orders nothing
    assert vae.prior.f.r.net.layers[0].weight.grad.abs().sum() > 0


def test_an_energy_prior_learns_jointly_where_the_latents_are() -> None:
    prior = EnergyModel(
        1, energy=Tilt(0.0), chains=512, negatives=ContrastiveDivergence(steps=5, step_size=0.1)
    )
    vae = VAE(1, 1, prior=prior, hidden=())
    with torch.no_grad():  # x = z + noise of a small scale, so that the prior's mean must be the data's
        vae.decoder.layers[0].weight.fill_(1.0)
        vae.decoder.layers[0].bias.zero_()
    for p in vae.decoder.parameters():
        p.requires_grad_(False)
    fit(vae, 2 + torch.randn(2000, 1), steps=300, lr=3e-2, progress=False, seed=0)
    assert abs(prior.f.a.item() + 2.0) < 0.3
    assert abs(float(prior.chains.x.mean()) - 2.0) < 0.4


def test_the_first_fit_takes_units_box_and_chains_from_the_data() -> None:
    x = torch.tensor([[1.0, 10.0], [3.0, 30.0], [2.0, 50.0]])
    model = EnergyModel(2, chains=9)
    model.initialise(x)
    torch.testing.assert_close(model.loc, x.mean(0))
    torch.testing.assert_close(model.length, (x - x.mean(0)).square().mean().sqrt().reshape(1))
    assert float(torch.cdist(model.start(9), x).min(1).values.max()) == 0.0
    u = (x - model.loc) / model.length
    torch.testing.assert_close(model.f.r.low, u.amin(0))
    torch.testing.assert_close(model.f.r.high, u.amax(0))


def test_fit_starts_the_chains_at_data_and_learns_two_modes() -> None:
    x = torch.cat([-2 + 0.6 * torch.randn(500, 1), 2 + 0.6 * torch.randn(1500, 1)])
    model = EnergyModel(
        1,
        hidden=(32, 32),
        objective=ContrastiveDivergence(steps=10, step_size=0.02),
        sampler=Langevin(steps=200, step_size=0.02),
    )
    record = fit(model, x, steps=400, lr=5e-3, progress=False, seed=0)
    assert abs(float(model.loc) - float(x.mean())) < 1e-4
    draws = model.sample(4000)
    assert abs(float((draws > 0).float().mean()) - 0.75) < 0.15
    assert float((draws.abs() - 2).abs().median()) < 0.6
    density = (-model.energy(torch.linspace(-5, 5, 101).unsqueeze(1))).softmax(0)
    assert float(density[45:56].sum()) < 0.3 * float(density[65:76].sum())  # |x| < 0.5, and 1.5 < x < 2.5
    assert abs(float(density[51:].sum()) - 0.75) < 0.15
    assert set(record.history) == {"contrastive"}


def test_validation_does_not_choose_parameters_by_a_loss_that_is_no_measure() -> None:
    x = torch.randn(64, 1)
    record = fit(EnergyModel(1, hidden=(8,)), x, validation=x, steps=3, progress=False)
    assert record.best_step is None and "validation" not in record.history


def test_a_conditional_energy_follows_its_context() -> None:
    class Follow(nn.Module):
        def forward(self, u: Tensor, context: Tensor) -> Tensor:
            return -(u * context).sum(-1)

    model = EnergyModel(2, energy=Follow(), context=2, sampler=Langevin(steps=150, step_size=0.1))
    c = torch.tensor([[3.0, -1.0]]).expand(4000, 2)
    assert float((model.sample(4000, c).mean(0) - c[0]).abs().max()) < 0.1
    torch.testing.assert_close(model.score(torch.zeros(2, 2), c[:2]), c[:2])
    value = model.surrogate(torch.zeros(3, 2), c[:3])
    assert value.shape == (3,)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ArgumentError, match="features"):
        EnergyModel(0)
    with pytest.raises(ShapeError, match="one output"):
        EnergyModel(3, energy=nn.Linear(3, 2)).log_prob(torch.randn(2, 3))
