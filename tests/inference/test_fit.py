"""fit: every kind of objective and data through one door; the oracles are closed forms and hand-made loops."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from unigen.data.digits import digits
from unigen.errors import (
    ArgumentError,
    ContextError,
    DivergedError,
    DTypeError,
    EmptyDataError,
    NonFiniteError,
    ShapeError,
    SupportError,
)
from unigen.inference.fit import fit
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.objectives.elbo import ELBO
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.objectives.objective import Objective, Player, ProgramLoss, trainable
from unigen.program import Program
from unigen.recipe import Cosine


class Location(Program):
    """x ~ N(loc, 1): the maximum-likelihood location is the mean."""

    def __init__(self, features: int = 2) -> None:
        super().__init__((features,), objective=MaximumLikelihood())
        self.loc = nn.Parameter(torch.zeros(features))

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(self.loc, 1.0).to_event(1), obs=x)


def data(n: int = 64, features: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(n, features, generator=torch.Generator().manual_seed(seed)) + 1.0


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_gradient_fit_finds_the_maximum_likelihood_mean() -> None:
    x, program = data(), Location()
    record = fit(program, x, steps=400, batch_size=64, lr=0.05, schedule=Cosine(), seed=0)
    assert torch.allclose(program.loc, x.mean(0), atol=1e-3)
    assert record.steps == 400 and program.fitted and record.stopped == "all steps done"


def test_closed_form_and_gradient_reach_the_same_likelihood() -> None:
    x = (data(200, 5) @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5, 0.5]))).double()
    exact, trained = PPCA(5, 2), PPCA(5, 2, objective=MaximumLikelihood())
    fit(exact, x, dtype=torch.float64)
    fit(trained, x, dtype=torch.float64, steps=3000, batch_size=200, lr=0.03, schedule=Cosine(), seed=0)
    assert abs(exact.log_prob(x).mean().value - trained.log_prob(x).mean().value) < 1e-3


def test_em_stops_when_converged_and_never_loses() -> None:
    program = FactorAnalysis(5, 2)
    record = fit(program, data(300, 5), dtype=torch.float64, seed=0)
    losses = [value for _, value in record.history["em"]]
    assert all(b <= a + 1e-9 for a, b in zip(losses, losses[1:], strict=False))
    assert "converged" in record.stopped


def test_every_form_of_data_gives_the_same_fit() -> None:
    x = data(32)
    forms = (x, x.numpy(), x.tolist(), DataLoader(TensorDataset(x), batch_size=32), TensorDataset(x))
    fitted = []
    for form in forms:
        program = Location()
        fit(program, form, steps=30, batch_size=32, lr=0.1, seed=0)
        fitted.append(program.loc.detach())
    assert all(torch.allclose(fitted[0], other, atol=1e-6) for other in fitted[1:])


def test_a_dataset_brings_fresh_noise_and_its_validation_split() -> None:
    seen: list[Tensor] = []

    class Watch(Location):
        def density_of(self, x: Tensor, context: Tensor | None = None, density: object = None):
            seen.append(x.detach().clone())
            return super().density_of(x, context)

    images = digits()
    record = fit(Watch(64), images, steps=2, batch_size=1297, seed=0, validate_every=2)
    first, second = seen[0].sort(0).values, seen[1].sort(0).values
    assert not torch.equal(first, second)  # same images, other noise
    assert torch.equal((17 * seen[0]).floor().sort(0).values, (17 * seen[1]).floor().sort(0).values)
    assert "validation" in record.history and record.best_step == 2


def test_the_best_validation_state_stays() -> None:
    x, held = data(8), data(400, seed=1)
    program = Location()
    record = fit(program, x, steps=60, batch_size=8, lr=0.3, seed=0, validation=held, validate_every=1)
    best = min(value for _, value in record.history["validation"])
    assert -program.log_prob(held).mean().value == pytest.approx(best, abs=1e-5)
    assert record.best_step is not None and record.best_step < 60


def test_patience_stops_early() -> None:
    record = fit(
        Location(), data(8), steps=500, batch_size=8, lr=0.3, seed=0, validation=data(400, seed=1),
        validate_every=1, patience=5,
    )  # fmt: skip
    assert record.steps < 500 and "did not improve 5 times" in record.stopped


def test_average_is_the_exponential_moving_average() -> None:
    x, path, decay = data(16), [], 0.9
    program = Location()
    fit(program, x, steps=20, batch_size=16, lr=0.1, seed=0, ema=decay,
        callbacks=[lambda event: path.append(event.program.loc.detach().clone())])  # fmt: skip
    expected = torch.zeros(2)
    for t, loc in enumerate(path, start=1):
        d = min(decay, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * loc
    assert torch.allclose(program.loc, expected, atol=1e-6)


def test_a_seed_reproduces_and_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(7)
    start = VAE(4, 2, hidden=(8,))
    a, b = copy.deepcopy(start), copy.deepcopy(start)
    before = torch.get_rng_state()
    fit(a, data(50, 4), steps=20, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    torch.randn(5)
    fit(b, data(50, 4), steps=20, seed=3)
    assert same(a, b)


def test_a_callback_stops_the_run() -> None:
    record = fit(Location(), data(), steps=100, callbacks=[lambda event: event.step == 7])
    assert record.steps == 7 and "callback at step 7" in record.stopped


class Poisoned(Objective):
    """Maximum likelihood whose loss becomes NaN at one step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def players(self, program: Program) -> list[Player]:
        at = self.at

        class Loss(ProgramLoss):
            calls: Tensor

            def __init__(self) -> None:
                super().__init__(program)
                self.register_buffer("calls", torch.zeros(1))

            def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
                self.calls.add_(1)
                value = -self.program.density_of(x, context).value.mean()
                return value + torch.where(self.calls[0] > at - 1, float("nan"), 0.0)

        return [Loss().player("poisoned")]


def test_a_nan_stops_before_parameters_move_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    states: dict[int, Tensor] = {}
    program = Location()
    keep = [lambda event: states.update({event.step: event.program.loc.detach().clone()}) and None]
    with pytest.raises(DivergedError, match="step 6") as caught:
        fit(program, data(), objective=Poisoned(6), steps=20, seed=0, callbacks=keep,
            checkpoint=tmp_path / "run.safetensors", checkpoint_every=5)  # fmt: skip
    assert torch.equal(program.loc, states[5]) and torch.isfinite(program.loc).all()
    assert "poisoned" in str(caught.value) and (tmp_path / "run.safetensors").exists()


class Game(Objective):
    """Two players with opposite interests in a bilinear game around (1, −1)."""

    def players(self, program: Program) -> list[Player]:
        other = nn.Linear(1, 1)

        class Mine(ProgramLoss):
            def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
                return (self.program.loc - 1.0).square().sum()

        class Theirs(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.other, self.program = other, program

            def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
                return (self.other.weight + self.program.loc.detach()[0]).square().sum()

        theirs = Theirs()
        self._other = other
        return [Player("theirs", theirs, trainable(theirs, "other"), steps=3), Mine(program).player("mine")]


def test_two_players_move_only_their_own_parameters() -> None:
    program, game = Location(), Game()
    record = fit(program, data(), objective=game, steps=300, lr=0.05, seed=0)
    assert torch.allclose(program.loc, torch.ones(2), atol=1e-2)
    assert torch.allclose(game._other.weight, -torch.ones(1, 1), atol=2e-2)
    assert set(record.history) >= {"theirs", "mine"}


RESUME = """
import sys, torch
from unigen.inference.fit import fit
from unigen.models.vae import VAE
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.3), nn.Tanh(), nn.Linear(16, 4))
vae = VAE(4, 2, encoder=net, hidden=(8,))
x = torch.randn(70, 4, generator=torch.Generator().manual_seed(1))
stop = int(sys.argv[2])
fit(vae, x, steps=40, batch_size=16, seed=5, ema=0.9, checkpoint=sys.argv[1], resume=True, progress=False,
    checkpoint_every=1000, callbacks=[lambda event: event.step == stop])
import hashlib
print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in vae.parameters())).hexdigest())
"""


def _resumed(path: Path, stop: int) -> str:
    return subprocess.run(
        [sys.executable, "-c", RESUME, str(path), str(stop)], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.slow
def test_resume_from_a_fresh_process_is_bitwise_with_shuffling_dropout_and_average(tmp_path: Path) -> None:
    whole = _resumed(tmp_path / "whole.safetensors", -1)
    _resumed(tmp_path / "cut.safetensors", 17)
    assert _resumed(tmp_path / "cut.safetensors", -1) == whole


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (torch.randn(5, 3), ShapeError),
        (torch.randn(2), ShapeError),
        (torch.zeros(5, 2, dtype=torch.long), DTypeError),
        (torch.tensor([[0.0, float("nan")]]), NonFiniteError),
        (torch.zeros(0, 2), EmptyDataError),
        (np.array([["a", "b"]]), DTypeError),
        ((torch.randn(5, 2), torch.randn(5, 1)), ContextError),
    ],
)
def test_bad_data_is_refused_before_any_work(x: object, error: type[Exception]) -> None:
    program = Location()
    with pytest.raises(error):
        fit(program, x, steps=5)
    assert torch.equal(program.loc, torch.zeros(2)) and not program.fitted


def test_values_outside_the_support_are_refused() -> None:
    from unigen.distributions.likelihoods import Bernoulli

    with pytest.raises(SupportError, match="support"):
        fit(VAE(3, 1, likelihood=Bernoulli()), torch.full((4, 3), 2.0), steps=1)


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"epochs": 0}, {"steps": 1, "epochs": 1}, {"batch_size": 0}, {"lr": -1.0}, {"clip": 0.0},
     {"ema": 1.0}, {"resume": True}, {"compile": "maybe"}, {"steps": 1.5}],
)  # fmt: skip
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        fit(Location(), data(), **options)


def test_epochs_are_passes_over_the_data() -> None:
    assert fit(Location(), data(50), epochs=3, batch_size=20).steps == 9


def test_an_optimiser_instance_and_a_function_are_both_taken() -> None:
    x = data(16)
    a, b = Location(), Location()
    fit(a, x, steps=10, batch_size=16, optimizer=torch.optim.SGD(a.parameters(), lr=0.1), seed=0)
    fit(b, x, steps=10, batch_size=16, optimizer=torch.optim.SGD, lr=0.1, seed=0)
    by_hand = torch.zeros(2)
    for _ in range(10):
        by_hand = by_hand + 0.1 * (x.mean(0) - by_hand)
    assert torch.allclose(a.loc, by_hand, atol=1e-5) and same(a, b)


def test_minibatch_elbo_weighs_a_shared_latent_once() -> None:
    """θ ~ N(0, 1), x_i ~ N(θ, 1): the optimum of q(θ) is the exact posterior N(Σx/(N+1), 1/(N+1))."""

    class Shared(Program):
        def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
            theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
            with self.plate(x, n):
                return pyro.sample("x", dist.Normal(theta, 1.0).expand([1]).to_event(1), obs=x)

    x, program = data(40, 1), Shared()
    fit(program, x, objective=ELBO(), steps=2500, batch_size=10, lr=0.02, schedule=Cosine(), seed=0)
    q = program.automatic_guide
    assert q.loc["theta"].item() == pytest.approx((x.sum() / 41).item(), abs=0.03)
    assert q.log_scale["theta"].exp().item() == pytest.approx(41**-0.5, rel=0.15)


def test_none_switches_a_recipe_entry_off_and_dots_keep_it() -> None:
    from unigen.inference.fit import _recipe
    from unigen.models.flow import NSF

    program = NSF(2, transforms=1, hidden=(4,))
    assert _recipe(program, {"clip": ...}).clip == program.recipe.clip is not None
    assert _recipe(program, {"clip": None}).clip is None


def test_em_honours_callbacks_validation_and_checkpoints(tmp_path: Path) -> None:
    x, seen, path = data(100, 5), [], tmp_path / "em.safetensors"
    program = FactorAnalysis(5, 2)
    whole = copy.deepcopy(program)
    record = fit(program, x, seed=0, dtype=torch.float64, validation=data(50, 5, seed=1), checkpoint=path,
                 callbacks=[lambda event: seen.append(event.step) or event.step == 4])  # fmt: skip
    assert seen == [1, 2, 3, 4] and len(record.history["validation"]) == 4 and path.exists()
    again = FactorAnalysis(5, 2)
    resumed = fit(again, x, seed=0, dtype=torch.float64, checkpoint=path, resume=True, steps=6)
    assert resumed.steps == 6
    assert fit(whole, x, seed=0, dtype=torch.float64, steps=6).steps == 6
    assert all(
        torch.allclose(a, b, atol=1e-12) for a, b in zip(again.parameters(), whole.parameters(), strict=True)
    )


def test_a_game_refuses_validation_data() -> None:
    with pytest.raises(ArgumentError, match="no validation loss"):
        fit(Location(), data(), objective=Game(), steps=2, validation=data())
