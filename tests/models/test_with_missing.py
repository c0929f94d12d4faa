"""Programs with missing entries beside the exact observed-data likelihood of a linear-Gaussian program."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist

import unigen as ug
from tests.problems import gaussian_log_density
from unigen.densities.importance import Importance
from unigen.distributions.likelihoods import Bernoulli, Categorical
from unigen.errors import ArgumentError, EmptyDataError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.fit import fit
from unigen.inference.step import EagerStep
from unigen.models.flow import NSF
from unigen.models.made import MADE
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.models.with_missing import Incomplete, with_missing
from unigen.objectives.elbo import ELBO
from unigen.objectives.iwae import IWAE
from unigen.program import Program
from unigen.testing.check import check_program

NAN = float("nan")
X = torch.tensor([[0.5, -1.0, 0.3], [NAN, 0.4, -0.7], [1.0, NAN, NAN], [NAN, NAN, NAN]], dtype=torch.float64)


class Wide(Program):
    """z ~ N(0, I), x | z ~ N(W z + μ, 0.7²); the guide is linear in x, and wide enough for importance sampling."""

    def __init__(self) -> None:
        super().__init__((3,))
        weight = torch.tensor([[1.0, 0.2], [-0.5, 0.8], [0.3, 0.6]], dtype=torch.float64)
        self.weight = torch.nn.Parameter(weight)
        self.register_buffer("mean", torch.tensor([0.2, -0.1, 0.4], dtype=torch.float64))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(self.weight[0]), 1.0).to_event(1))
            loc = z @ self.weight.T + self.mean
            return pyro.sample("x", dist.Normal(loc, 0.7).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            loc = 0.5 * (x - self.mean) @ self.weight
            return pyro.sample("z", dist.Normal(loc, torch.ones_like(loc)).to_event(1))


def exact(program: Wide, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """log p(x_obs) and E[x | x_obs] of each row, by conditioning the joint Gaussian on what is observed."""
    w, mean = program.weight.detach().numpy(), program.mean.numpy()
    covariance = w @ w.T + 0.49 * np.eye(3)
    values, filled = [], []
    for row in x.numpy():
        seen, full = ~np.isnan(row), row.copy()
        values.append(0.0)
        if seen.any():
            block = covariance[np.ix_(seen, seen)]
            values[-1] = float(gaussian_log_density(row[None, seen], mean[seen], block)[0])
            gain = covariance[np.ix_(~seen, seen)] @ np.linalg.inv(block)
            full[~seen] = mean[~seen] + gain @ (row[seen] - mean[seen])
        else:
            full = mean.copy()
        filled.append(full)
    return np.array(values), np.array(filled)


def bound(program: Incomplete, k: int, times: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard error of the importance-weighted bound of each row."""
    values = torch.stack([program.log_prob(X, density=Importance(k)).value for _ in range(times)])
    return values.mean(0), values.std(0) / times**0.5


def test_bounds_rise_to_the_exact_likelihood_of_the_observed_entries():
    program = with_missing(Wide())
    truth = torch.from_numpy(exact(program.program, X)[0])
    one, few, many = (bound(program, k) for k in (1, 10, 1000))
    assert bool((one[0] < truth + 5 * one[1]).all() and (few[0] < truth + 5 * few[1]).all())
    assert bool((one[0] < few[0] + 5 * torch.hypot(one[1], few[1])).all())
    assert bool((few[0] < many[0] + 5 * torch.hypot(few[1], many[1])).all())
    assert bool((one[0][:3] < many[0][:3] - 0.1).all())
    assert bool(((many[0] - truth).abs() < 5 * many[1] + 2e-3).all())
    assert float(truth[-1]) == 0.0


def test_loss_is_the_mean_bound():
    program, truth = with_missing(Wide()), exact(Wide(), X)[0].mean()
    loss = IWAE(2000).players(program)[0].loss
    with torch.no_grad():
        values = -torch.stack([loss(X) for _ in range(50)])
    assert abs(values.mean().item() - truth) < 5 * values.std().item() / 50**0.5 + 1e-3


def test_complete_data_are_as_without_the_wrapper():
    inner, x = Wide(), torch.randn(5, 3, dtype=torch.float64)
    for objective in (ELBO(), IWAE(4), IWAE(4, gradient="dreg")):
        values = []
        for program in (inner, with_missing(copy.deepcopy(inner))):
            torch.manual_seed(0)
            values.append(objective.players(program)[0].loss(x))
        assert torch.equal(*values)


def test_imputed_means_are_the_conditional_ones():
    program = with_missing(Wide())
    _, truth = exact(program.program, X)
    filled = program.impute(X, density=Importance(100_000), seed=0)
    assert np.abs(filled.numpy() - truth).max() < 0.03  # a standard error of about 0.004
    assert torch.equal(filled[0], X[0]) and torch.equal(filled[1, 1:], X[1, 1:])
    assert not program.impute(X).isnan().any()
    assert torch.equal(program.impute(X, seed=3), program.impute(X, seed=3))


def test_importance_weights_matter():
    """The reconstruction at the guide's mean is another number: the weights correct the guide."""
    program = with_missing(Wide())
    _, truth = exact(program.program, X)
    rough = torch.where(X.isnan(), program.reconstruct(X), X).numpy()
    assert np.abs(rough - truth).max() > 0.1


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_a_vae_trains_on_holes(fill):
    x = ug.PPCA(6, 2).sample(200, seed=0) + 3.0
    x[torch.rand(x.shape) < 0.3] = torch.nan
    program = with_missing(VAE(6, 2, hidden=(16,)), fill=fill, objective=IWAE(5))
    before = None
    record = fit(program, x, steps=150, lr=1e-2, progress=False, seed=0)
    before, after = record.history["iwae"][0][1], record.history["iwae"][-1][1]
    assert after < before - 0.5
    assert all(p.isfinite().all() for p in program.parameters())
    expected = x.nanmean(0) if fill == "mean" else torch.zeros(6)
    assert torch.allclose(program.means, expected)


@pytest.mark.parametrize(("likelihood", "top"), [(Bernoulli(), 2), (Categorical(3), 3)])
def test_discrete_entries(likelihood, top):
    x = torch.randint(0, top, (30, 4)).float()
    x[0, 0] = x[3, 2] = torch.nan
    program = with_missing(VAE(4, 2, hidden=(8,), likelihood=likelihood))
    fit(program, x, steps=5, progress=False)
    assert program.log_prob(x).value.isfinite().all()
    assert not program.impute(x).isnan().any()


def test_compiled_step_equals_eager():
    first = with_missing(VAE(3, 2, hidden=(8,)).double())
    steps = []
    for program in (first, copy.deepcopy(first)):
        player = IWAE(3, gradient="dreg").players(program)[0]
        optimizer = torch.optim.Adam(player.parameters.values(), lr=0.01)
        if program is first:
            steps.append(EagerStep(player.loss, player.parameters, optimizer))
        else:
            options = {"example": [X, None], "compiler": interpreted}
            steps.append(CompiledStep(player.loss, player.parameters, optimizer, **options))
    for rows in (X, X, X[:3], X):
        losses = []
        for step in steps:
            torch.manual_seed(5)
            losses.append(step(rows, None).loss)
        assert torch.allclose(*losses, rtol=1e-9)
    assert steps[1].traces == 1


def test_save_and_load(tmp_path: Path):
    program = with_missing(VAE(3, 2, hidden=(8,)), fill="mean", objective=IWAE(7))
    program.initialise(X.float())
    again = ug.load(ug.save(program, tmp_path / "m.safetensors"))
    assert torch.equal(again.means, program.means) and repr(again.objective) == repr(program.objective)
    x = X.float()
    assert torch.equal(again.log_prob(x, seed=0).value, program.log_prob(x, seed=0).value)


def test_laws():
    check_program(with_missing(VAE(3, 2, hidden=(8,))), torch.randn(20, 3))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: with_missing(NSF(3, hidden=(4,))), ArgumentError, "depend on one another"),
        (lambda: with_missing(MADE(3, hidden=(4,))), ArgumentError, "depend on one another"),
        (lambda: with_missing(PPCA(3, 1, missing=True)), ArgumentError, "itself"),
        (lambda: with_missing(VAE(3, 1, hidden=(4,)), fill="median"), ArgumentError, "'mean'"),
        (lambda: fit(with_missing(VAE(3, 1, hidden=(4,))), torch.tensor([[0.0, NAN, 1.0]] * 4), steps=1),
         EmptyDataError, "never observed"),
    ],
)  # fmt: skip
def test_refuses(make, error, match):
    with pytest.raises(error, match=match):
        make()
