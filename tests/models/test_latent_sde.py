"""The latent SDE: its bound against the evidence of a Gaussian process, missing observations, solvers, laws."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import unigen as ug
from tests.compiled_family import compiled_equals_eager
from unigen.distributions.scales import raw_scale
from unigen.errors import ArgumentError, NonFiniteError
from unigen.models.latent_sde import LatentSDE
from unigen.objectives.elbo import elbo
from unigen.relations.conditioned_ou import OUDrift

TIMES = (0.0, 0.2, 0.7, 0.9, 1.6, 2.0)


def ou_program(dt=0.1, **options):
    """An OU prior θ = 1, μ = .1, σ = .5 from its stationary law, seen with noise .3; only the posterior is trained."""
    program = LatentSDE(
        1, TIMES, 1, dt=dt, likelihood=ug.Gaussian(0.3), drift=OUDrift(1.0, 0.1), decoder=nn.Identity(),
        diffusion=ug.ConstantNoise(1, 0.5, learned=False), hidden=(32,), summary=24, **options,
    )  # fmt: skip
    with torch.no_grad():
        program.start.requires_grad_(False).fill_(0.1)
        program.start_scale.requires_grad_(False).copy_(raw_scale(torch.tensor(0.125).sqrt()))
    program.fitted = True
    return program


def gaussian_process():
    """The same prior and noise as one Gaussian vector, by its kernel."""
    t = torch.tensor(TIMES).double()
    kernel = 0.125 * torch.exp(-(t[:, None] - t).abs())
    return torch.distributions.MultivariateNormal(
        torch.full_like(t, 0.1), kernel + 0.09 * torch.eye(6).double()
    )


def test_the_bound_approaches_the_evidence_from_below():
    process, program = gaussian_process(), ou_program()
    x, held = process.sample((2000,)).float()[..., None], process.sample((300,)).float()[..., None]
    exact = process.log_prob(held[..., 0].double())
    gaps = []
    for steps in (0, 300):
        if steps:
            ug.fit(program, x, steps=steps, batch_size=64, lr=2e-2, seed=0)
        gap = exact - elbo(program, held, samples=50)
        stderr = float(gap.std()) / math.sqrt(300)
        assert float(gap.mean()) > -5 * stderr  # from below, whatever the posterior
        gaps.append(float(gap.mean()))
    assert gaps[1] < 0.35 < gaps[0]
    tight = exact - program.log_prob(held, density=ug.Importance(64)).value
    stderr = float(tight.std()) / math.sqrt(300)
    assert -5 * stderr - 0.05 < float(tight.mean()) < 0.1 + 5 * stderr  # .05: Euler's steps of .1


def test_missing_observations_are_left_out():
    """With times removed, the evidence is that of the others: from a prior that knows nothing of x."""
    program = ou_program(missing=True)
    x = gaussian_process().sample((4,)).float()[..., None]
    x[:, (1, 4)] = torch.nan
    t = torch.tensor(TIMES).double()[[0, 2, 3, 5]]
    kernel = 0.125 * torch.exp(-(t[:, None] - t).abs()) + 0.09 * torch.eye(4).double()
    truth = torch.distributions.MultivariateNormal(torch.full_like(t, 0.1), kernel).log_prob(
        x[:, [0, 2, 3, 5], 0].double()
    )
    found = program.log_prob(x, density=ug.Importance(20_000))
    assert found.stderr is not None
    assert bool(((found.value - truth).abs() < 6 * found.stderr + 0.05).all()), (
        found.value,
        truth,
        found.stderr,
    )


def test_values_at_missing_times_do_not_matter_and_series_of_other_lengths_are_padded():
    program = LatentSDE(2, TIMES, 2, dt=0.5, missing=True)
    x = program.sample(3)
    x[0, 4:], x[1, 1], x[2, 0, 1] = torch.nan, torch.nan, torch.nan
    assert bool(program.log_prob(x).value.isfinite().all())
    record = ug.fit(program, x, steps=3, seed=0)
    assert all(v == v for _, v in record.history["elbo"])
    assert bool(program.impute(x).isfinite().all())
    with pytest.raises(NonFiniteError, match="missing=True"):
        LatentSDE(2, TIMES, 2).log_prob(x)


def test_posterior_paths_and_codes():
    program = LatentSDE(2, TIMES, 3, dt=0.25)
    x = program.sample(4, seed=0)
    path = program.posterior(x).sample()
    assert path.shape == (4, program.grid.steps + 1, 3)
    assert program.encode(x).shape == path.shape and program.decode(path).shape == x.shape
    drawn = program.decode(path)
    torch.testing.assert_close(drawn, program.decoder(path[:, list(program.grid.stops)]))


def test_posterior_reads_only_what_is_still_to_come():
    program = LatentSDE(1, TIMES, 2, dt=0.25)
    x = torch.randn(1, 6, 1, requires_grad=True)
    known = program.controlled(x)[0].known
    for k, t in enumerate(program.grid.points[:-1]):
        (gradient,) = torch.autograd.grad(known[:, k].sum(), x, retain_graph=True)
        reach = (gradient.abs().sum((0, 2)) > 0).tolist()
        assert reach == [time > t for time in TIMES]


def test_time_until_the_next_observation():
    program = LatentSDE(1, (0.0, 1.0, 3.0), 2, dt=0.5)
    known = program.controlled(torch.zeros(1, 3, 1))[0].known
    assert known[0, :, -1].tolist() == pytest.approx(
        [1 / 1.5, 0.5 / 1.5, 2 / 1.5, 1.5 / 1.5, 1 / 1.5, 0.5 / 1.5]
    )


@pytest.mark.usefixtures("interpreted_steps")
def test_compiled_steps_are_the_eager_ones():
    noise = ug.DiagonalNoise(2, 0.3)
    compiled_equals_eager(
        lambda: LatentSDE(2, (0.0, 0.4), 2, dt=0.4, hidden=(8,), summary=5, diffusion=noise, missing=True)
    )


def test_save_and_load(tmp_path):
    program = LatentSDE(
        2, (0.0, 0.4, 1.0), 2, dt=0.3, diffusion=ug.DiagonalNoise(2, 0.3), drift=ug.Autonomous(2, (7,)), missing=True,
        likelihood=ug.Gaussian(0.2), objective=ug.PathELBO("srk"),
    )  # fmt: skip
    again = ug.load(ug.save(program, tmp_path / "sde.safetensors"))
    x = program.sample(3, seed=0)
    torch.testing.assert_close(again.log_prob(x, seed=1).value, program.log_prob(x, seed=1).value)
    assert again.objective.method == "srk" and again.grid == program.grid


def test_laws():
    report = ug.check_program(LatentSDE(2, (0.0, 0.4, 1.0), 2, dt=0.25), torch.randn(30, 3, 2))
    assert all(outcome.held is not False for outcome in report.outcomes), report


def test_other_likelihoods():
    program = LatentSDE(2, (0.0, 0.4, 1.0), 2, dt=0.25, likelihood=ug.Bernoulli())
    x = program.sample(5)
    assert set(x.unique().tolist()) <= {0.0, 1.0} and bool(program.log_prob(x).value.isfinite().all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, (0.0, 1.0), 0), "sizes"),
        ((2, (0.0,)), "two times"),
        ((2, (0.0, 2.0, 1.0)), "strictly increasing"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        LatentSDE(*arguments)
