from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import ArgumentError, NoDensityError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.models.energy import EnergyModel
from unigen.models.vae import VAE
from unigen.objectives.contrastive import ContrastiveDivergence


class Quartic(nn.Module):
    """f(u) = a u + b u² + c u⁴: with the model's ½u² a one-dimensional energy that quadrature can normalise."""

    def __init__(self, a: float = 0.3, b: float = -0.8, c: float = 0.2) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([a, b, c]))

    def powers(self, u: Tensor) -> Tensor:
        return torch.cat([u, u**2, u**4], -1)

    def forward(self, u: Tensor) -> Tensor:
        return (self.powers(u) * self.theta).sum(-1)


NODES = np.linspace(-6.0, 6.0, 20_001)


def density(model: EnergyModel) -> np.ndarray:
    """Normalised weights of the model on the quadrature nodes."""
    with torch.no_grad():
        energy = model.potential(torch.from_numpy(NODES).unsqueeze(1)).numpy()
    weight = np.exp(-(energy - energy.min()))
    return weight / weight.sum()


def exact_draws(model: EnergyModel, n: int) -> Tensor:
    cumulative = np.cumsum(density(model))
    return torch.from_numpy(np.interp(np.random.rand(n), cumulative, NODES)).unsqueeze(1)


def gradient_of(objective: ContrastiveDivergence, model: EnergyModel, x: Tensor) -> np.ndarray:
    (player,) = objective.players(model)
    return torch.autograd.grad(player.loss(x), model.f.theta)[0].numpy()


def test_the_gradient_is_that_of_the_log_likelihood_by_quadrature_when_chains_have_mixed() -> None:
    chains = 100_000
    model = EnergyModel(1, energy=Quartic(), chains=chains).double()
    model.chains.take(exact_draws(model, chains))
    model.chains.put(exact_draws(model, chains))
    x = torch.tensor([[-0.5], [1.2], [2.0]]).double()
    got = gradient_of(ContrastiveDivergence(steps=1, step_size=1e-9, weight_decay=0.0), model, x)
    powers = model.f.powers(torch.from_numpy(NODES).unsqueeze(1)).detach().numpy()
    p = density(model)
    expectation = p @ powers
    errors = np.sqrt((p @ powers**2 - expectation**2) / chains)
    exact = model.f.powers(x).mean(0).detach().numpy() - expectation  # ∇ −log p(x), averaged
    assert np.all(np.abs(got - exact) < 5 * errors)
    assert np.all(np.abs(exact) > 20 * errors)  # so that a wrong sign or a missing term is seen


def test_cd_1_is_the_expectation_after_one_langevin_step_from_the_data() -> None:
    n, h = 200_000, 0.2
    model = EnergyModel(1, energy=Quartic()).double()
    point = torch.tensor([[0.7]]).double()
    got = gradient_of(
        ContrastiveDivergence(steps=1, step_size=h, persistent=False, weight_decay=0.0),
        model,
        point.expand(n, 1),
    )
    a, b, c = model.f.theta.tolist()
    slope = a + 2 * b * 0.7 + 4 * c * 0.7**3 + 0.7
    node, weight = np.polynomial.hermite_e.hermegauss(40)
    y = 0.7 - h * slope + math.sqrt(2 * h) * node
    powers, weight = np.stack([y, y**2, y**4]), weight / weight.sum()
    expectation = powers @ weight
    errors = np.sqrt((powers**2 @ weight - expectation**2) / n)
    exact = np.array([0.7, 0.7**2, 0.7**4]) - expectation
    assert np.all(np.abs(got - exact) < 5 * errors)


def test_steps_and_noise_are_measured_in_the_length_of_the_program() -> None:
    model, n = EnergyModel(1, chains=40_000), 40_000
    with torch.no_grad():
        model.length.fill_(100.0)
        model.chains.x.zero_()
        model.chains.started.fill_(1.0)
    (player,) = ContrastiveDivergence(steps=1, step_size=1e-4).players(model)
    y, _ = player.loss.negatives(torch.zeros(n, 1), None)
    sd = 100 * math.sqrt(2e-4)
    assert abs(float(y.std()) / sd - 1) < 5 / math.sqrt(2 * n) + 0.01
    seen: list[Tensor] = []
    model.f.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    (player,) = ContrastiveDivergence(steps=1, step_size=1e-4, noise=0.5).players(model)
    player.loss(torch.zeros(n, 1))
    assert float(model.noise) == 0.5
    data = max((u.detach() for u in seen), key=lambda u: float(u.std()))  # in units of the length
    assert abs(float(data.std()) / 0.5 - 1) < 5 / math.sqrt(2 * n)


def test_pcd_fits_a_gaussian_up_to_the_bias_of_its_own_chains() -> None:
    class Precision(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Parameter(torch.zeros(1))

        def forward(self, u: Tensor) -> Tensor:
            return 0.5 * self.theta * u.square()

    h, n = 0.1, 20_000
    model = EnergyModel(1, energy=Precision(), chains=n).double()
    model.train()
    (player,) = ContrastiveDivergence(steps=2, step_size=h, weight_decay=0.0).players(model)
    optimizer = torch.optim.Adam(player.parameters.values(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, 200)
    x = 0.5 * torch.randn(n, 1).double()
    for _ in range(200):
        optimizer.zero_grad()
        player.loss(x).backward()
        optimizer.step()
        schedule.step()
    variance = float(x.square().mean())  # k (1 − h k / 2) = 1 / variance, k the precision
    k = (1 - math.sqrt(1 - 2 * h / variance)) / h
    found = 1 + model.f.theta.item()
    assert abs(found - k) < 6 * k * math.sqrt(4 / n) / (1 - h * k)
    assert abs(k - 1 / variance) > 0.5  # the bias is there to be seen: 5.5 against 4


def test_persistent_chains_move_on_in_training_and_rest_in_evaluation() -> None:
    model = EnergyModel(2, chains=7)
    (player,) = ContrastiveDivergence(steps=2, noise=0.1).players(model)
    x = torch.randn(5, 2)
    player.loss.train()
    player.loss(x)
    first = model.chains.x.clone()
    player.loss(x)
    assert not torch.equal(model.chains.x, first)
    player.loss.eval()
    before = model.chains.x.clone()
    with torch.no_grad():
        player.loss(x)
    assert torch.equal(model.chains.x, before)


def test_any_program_with_an_exact_density_can_be_trained_and_keeps_its_chains_in_the_loss() -> None:
    from unigen.models.mixture import GaussianMixture

    program = GaussianMixture(2, components=2)
    (player,) = ContrastiveDivergence(chains=16).players(program)
    assert "replay.x" in dict(player.loss.named_buffers())
    player.loss(torch.randn(5, 2)).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in program.parameters())
    with pytest.raises(NoDensityError, match="ELBO"):
        ContrastiveDivergence().players(VAE(3, 2))
    with pytest.raises(NoDensityError, match="differentiable"):
        ContrastiveDivergence().players(VAE(3, 2, likelihood=Bernoulli()))


def test_the_traced_step_equals_the_eager_one_and_carries_the_chains() -> None:
    results = []
    for traced in (False, True):
        torch.manual_seed(0)
        model = EnergyModel(3, hidden=(8,), chains=6, context=2).double()
        (player,) = ContrastiveDivergence(steps=3, noise=0.1).players(model)
        optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
        example = torch.randn(6, 3).double(), torch.randn(6, 2).double()
        player.loss.train()
        if traced:
            step = CompiledStep(
                player.loss, player.parameters, optimizer, example=example, compiler=interpreted
            )
        else:
            step = EagerStep(player.loss, player.parameters, optimizer)
        torch.manual_seed(1)
        for n in (6, 9, 4):
            step(torch.randn(n, 3).double(), torch.randn(n, 2).double())
        results.append({k: v.clone() for k, v in player.loss.state_dict().items()})
        assert float(model.chains.started) == 1.0
        assert not traced or step.traces == 1
    for name, eager in results[0].items():
        torch.testing.assert_close(results[1][name], eager, atol=1e-10, rtol=0, msg=name)


def test_bad_options_are_refused() -> None:
    for options in ({"steps": 0}, {"step_size": 0.0}, {"noise": -1.0}, {"weight_decay": -1.0}, {"chains": 0}):
        with pytest.raises(ArgumentError, match="got"):
            ContrastiveDivergence(**options)
