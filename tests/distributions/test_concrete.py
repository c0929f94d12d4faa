"""Relaxed categorical variables beside torch's, quadrature and the discrete program that they relax."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import nn
from torch.distributions import RelaxedOneHotCategorical
from torch.nn.functional import logsigmoid

import unigen as ug
from tests.gradients import check_unbiased, draws_of, gradient_of, quantile, z_score
from unigen.distributions.concrete import Concrete, ConcretePosterior, ConcretePrior
from unigen.errors import ArgumentError, ShapeError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.models.vae import VAE
from unigen.nn.mlp import MLP
from unigen.nn.straight_through import StraightThrough
from unigen.objectives.elbo import ELBO
from unigen.objectives.iwae import IWAE
from unigen.program import Program
from unigen.testing.check import check_program


@pytest.mark.parametrize("tau", [0.3, 1.0, 2.5])
def test_density_is_that_of_torch(tau):
    logits = torch.randn(5, 3, dtype=torch.float64)
    ours, theirs = (
        Concrete(tau, logits),
        RelaxedOneHotCategorical(torch.tensor(tau, dtype=torch.float64), logits=logits),
    )
    z = theirs.sample()
    assert torch.allclose(ours.log_prob(z), theirs.log_prob(z), rtol=1e-9)
    pair = Concrete(tau, torch.cat([logits, logits.flip(-1)], -1), classes=3)
    both = torch.cat([z, z.roll(1, -1)], -1)
    other = RelaxedOneHotCategorical(torch.tensor(tau, dtype=torch.float64), logits=logits.flip(-1))
    assert torch.allclose(pair.log_prob(both), theirs.log_prob(z) + other.log_prob(z.roll(1, -1)), rtol=1e-9)


def test_density_integrates_to_one():
    u = torch.linspace(-60, 60, 20_001, dtype=torch.float64)  # z = (σ(u), σ(−u)), dz = z (1 − z) du
    z = torch.stack([u.sigmoid(), (-u).sigmoid()], -1)
    density = (Concrete(0.7, torch.tensor([0.4, -0.3]).double()).log_prob(z) + z.log().sum(-1)).exp()
    assert torch.trapezoid(density, u).item() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("tau", [0.1, 3.0])
def test_nearest_vertices_have_the_class_probabilities(tau):
    logits = torch.tensor([0.5, -1.0, 0.2, 2.0, 0.0, 0.0])
    fn = Concrete(tau, logits, classes=3)
    z = fn.sample((40_000,)).unflatten(-1, (2, 3))
    counts = nn.functional.one_hot(z.argmax(-1), 3).double().mean(0).flatten()
    p = fn.mean.double()
    assert ((counts - p) / (p * (1 - p) / 40_000).sqrt()).abs().max() < 5


def test_draws_never_fall_out_of_the_support():
    fn = Concrete(0.01, 20 * torch.randn(50, 8), classes=4)
    z = fn.sample((20,))
    assert bool(fn.support.check(z).all()) and bool((z > 0).all()) and bool(fn.log_prob(z).isfinite().all())
    z = fn.expand(torch.Size((2, 50))).rsample()
    assert z.shape == (2, 50, 8)
    assert not bool(fn.support.check(torch.full((8,), 0.3)))


class Relaxed(Program):
    """z ~ Concrete(τ, (a, 0)) of two classes, x | z ~ N(m·z, 1); q(z | x) = Concrete(τ, (b + c x, 0))."""

    names = ("a", "m", "b", "c")

    def __init__(self, tau: float = 0.6, hard: bool = False) -> None:
        super().__init__((1,))
        values = {"a": [0.3], "m": [1.5, -1.0], "b": [-1.0], "c": [-0.8]}
        for name, value in values.items():
            setattr(self, name, nn.Parameter(torch.tensor(value, dtype=torch.float64)))
        self.tau, self.rounding = tau, StraightThrough(2) if hard else nn.Identity()

    @staticmethod
    def pair(logit: torch.Tensor) -> torch.Tensor:
        return torch.cat([logit, torch.zeros_like(logit)], -1)

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", Concrete(self.tau, self.pair(self.a)))
            loc = (self.rounding(z) * self.m).sum(-1, keepdim=True)
            return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            return pyro.sample("z", Concrete(self.tau, self.pair(self.b + self.c * x)))

    def bound(self, x: torch.Tensor) -> torch.Tensor:
        """The ELBO of one x (1,) by quadrature over the logistic noise of z_1 = σ((α + l) / τ), differentiable."""
        noise = torch.linspace(-60, 60, 6001, dtype=torch.float64)
        mass = (logsigmoid(noise) + logsigmoid(-noise)).exp() * 0.02
        alpha = self.b + self.c * x
        t = (alpha + noise) / self.tau
        log_z = torch.stack([logsigmoid(t), logsigmoid(-t)], -1)

        def log_density(logit: torch.Tensor) -> torch.Tensor:  # two classes: (K−1)! = 1
            tilted = torch.stack([logit - self.tau * log_z[:, 0], -self.tau * log_z[:, 1]], -1)
            return math.log(self.tau) - 2 * tilted.logsumexp(-1) + (tilted - log_z).sum(-1)

        normal = torch.distributions.Normal
        rate = log_density(alpha) - log_density(self.a)
        if isinstance(self.rounding, StraightThrough):
            p = alpha.sigmoid()
            each = normal(self.m, 1.0).log_prob(x)
            return (p * each[0] + (1 - p) * each[1]).sum() - (mass * rate).sum()
        likelihood = normal((log_z.exp() * self.m).sum(-1), 1.0).log_prob(x)
        return (mass * (likelihood - rate)).sum()


X = torch.tensor([[1.5]], dtype=torch.float64)


def test_the_relaxed_bound_and_its_gradient():
    program = Relaxed()
    truth = program.bound(X[0])
    draws = draws_of(program, ELBO(), X, program.names, batches=100, copies=6000)
    check_unbiased(draws, gradient_of(truth, program, program.names))
    loss = ELBO().players(program)[0].loss
    with torch.no_grad():
        values = -torch.stack([loss(X.repeat(1000, 1)) for _ in range(50)])
    assert abs(values.mean() - truth.detach()) < 5 * values.std() / 50**0.5


def test_straight_through_has_the_value_of_the_discrete_program_and_a_biased_gradient():
    program = Relaxed(hard=True)
    p = torch.stack([program.a[0].sigmoid(), (-program.a[0]).sigmoid()])
    evidence = (p * torch.distributions.Normal(program.m, 1.0).log_prob(X[0]).exp()).sum().log().item()
    found = program.log_prob(X, density=ug.Importance(20_000), seed=0)
    assert abs(found.value.item() - evidence) < 5 * found.stderr.item() + 1e-3
    truth = program.bound(X[0])
    assert truth.item() < evidence
    loss = ELBO().players(program)[0].loss
    with torch.no_grad():
        values = -torch.stack([loss(X.repeat(1000, 1)) for _ in range(50)])
    assert abs(values.mean() - truth.detach()) < 5 * values.std() / 50**0.5
    draws = draws_of(program, ELBO(), X, ("b", "c"), batches=100, copies=2000)
    assert abs(z_score(draws, gradient_of(truth, program, ("b", "c")))[0]) > quantile(100)


def make(hard: bool) -> VAE:
    prior, posterior = ConcretePrior(3, variables=2, learned=True), ConcretePosterior(3, 0.7)
    net = MLP(6, 4, hidden=(8,))
    decoder = nn.Sequential(StraightThrough(3), net) if hard else net
    return VAE(
        4, 6, prior=prior, posterior=posterior, decoder=decoder, likelihood=ug.Gaussian(1.0), hidden=(8,)
    )


@pytest.mark.parametrize("hard", [False, True])
def test_as_parts_of_a_vae(hard):
    vae, x = make(hard), torch.randn(12, 4)
    check_program(vae, x)
    record = ug.fit(vae, x, steps=20, progress=False, lr=1e-2, objective=IWAE(4, gradient="dreg"))
    assert np.isfinite([v for _, v in record.history["iwae"]]).all()
    assert vae.prior.logits.abs().sum() > 0


def test_compiled_step_equals_eager():
    x = torch.randn(5, 4)
    first = make(True)
    steps = []
    for program in (first, copy.deepcopy(first)):
        player = ELBO(2).players(program)[0]
        optimizer = torch.optim.Adam(player.parameters.values(), lr=0.01)
        if program is first:
            steps.append(EagerStep(player.loss, player.parameters, optimizer))
        else:
            options = {"example": [x, None], "compiler": interpreted}
            steps.append(CompiledStep(player.loss, player.parameters, optimizer, **options))
    for rows in (x, x[:3], x):
        losses = []
        for step in steps:
            torch.manual_seed(5)
            losses.append(step(rows, None).loss)
        assert torch.allclose(*losses, rtol=1e-4)
    assert steps[1].traces == 1


def test_save_and_load(tmp_path: Path):
    prior, posterior = ConcretePrior(3, variables=2), ConcretePosterior(3)
    vae = VAE(4, 6, prior=prior, posterior=posterior, hidden=(8,))
    again, x = ug.load(ug.save(vae, tmp_path / "c.safetensors")), torch.randn(3, 4)
    assert torch.equal(again.log_prob(x, seed=0).value, vae.log_prob(x, seed=0).value)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: Concrete(0.0, torch.zeros(3)), ArgumentError),
        (lambda: Concrete(math.inf, torch.zeros(3)), ArgumentError),
        (lambda: Concrete(1.0, torch.zeros(1)), ArgumentError),
        (lambda: Concrete(1.0, torch.zeros(5), classes=3), ShapeError),
        (lambda: ConcretePrior(1), ArgumentError), (lambda: ConcretePrior(3, variables=0), ArgumentError),
        (lambda: ConcretePosterior(3, -1.0), ArgumentError),
    ],
)  # fmt: skip
def test_refuses(wrong, error):
    with pytest.raises(error):
        wrong()
