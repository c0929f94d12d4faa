"""The head: laws through a MADE, starting values, encoding, refusals, saving."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests.programs import traces_with_symbolic_batch
from unigen.distributions.logistic_likelihood import MixtureOfLogistics
from unigen.errors import ArgumentError
from unigen.models.made import MADE
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.testing.check import check_program

F64 = torch.float64
each_head = pytest.mark.parametrize("head", [MixtureOfLogistics(2), MixtureOfLogistics(2, 5)], ids=str)


@each_head
def test_every_law_holds(head):
    report = check_program(MADE(2, likelihood=head, hidden=(8,)))
    assert report["normalised"].held and report["density and draws"].held


@each_head
def test_one_step_is_one_graph_for_every_batch_size(head):
    program = MADE(3, likelihood=head, hidden=(8,))
    assert traces_with_symbolic_batch(program, MaximumLikelihood(), program.sample(6))


def test_levels_are_fed_to_the_network_between_minus_one_and_one():
    head = MixtureOfLogistics(2, levels=256)
    assert head.encode(torch.tensor([0, 255])).tolist() == [-1.0, 1.0] and head.discrete
    assert torch.equal(MixtureOfLogistics(2).encode(torch.ones(2)), torch.ones(2))


@pytest.mark.parametrize("levels", [None, 9])
def test_training_starts_near_the_marginals(levels):
    x = torch.randn(4000, 3, dtype=F64) * torch.tensor([0.1, 0.2, 0.3]) + 0.2
    if levels is not None:
        x = ((x + 1) * 4 + 0.5).floor().clamp(0, 8)
    x[:, 2] = 1.0  # a constant column
    head = MixtureOfLogistics(4, levels)
    p = head(head.marginals(x).flatten(), (3,))
    assert bool(p.log_prob(x).isfinite().all())
    assert ((p.mean - x.mean(0)).abs() < 0.5 * x.std(0) + 0.1).all()


def test_a_coarse_grid_is_learnt_to_its_entropy():
    """x_1 uniform on 4 levels, x_2 = x_1 or its neighbour (mod 4), half and half: log 4 + log 2 = 2.0794 nats."""
    first = torch.randint(4, (8000, 1))
    x = torch.cat((first, (first + torch.randint(2, (8000, 1))) % 4), 1).float()
    made = MADE(2, likelihood=MixtureOfLogistics(4, levels=4), hidden=(32,))
    ug.fit(made, x, steps=500, lr=1e-2, batch_size=256, seed=0, progress=False)
    states = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    log_p = made.log_prob(states).value.double()
    follows = (states[:, 1] - states[:, 0]) % 4 < 2
    kl = float((-torch.log(torch.tensor(8.0)) - log_p[follows]).mean())
    assert abs(float(log_p.exp().sum()) - 1) < 1e-5 and -1e-6 < kl < 0.1


@each_head
def test_saved_and_loaded_it_is_the_same(head, tmp_path):
    made = MADE(3, likelihood=head, hidden=(8,))
    x = made.sample(20)
    ug.save(made, tmp_path / "made")
    assert torch.equal(ug.load(tmp_path / "made").log_prob(x).value, made.log_prob(x).value)


@pytest.mark.parametrize("arguments", [(0,), (2, 1), (2, None, 0.0), (2, None, 1.0)])
def test_refusals(arguments):
    components, levels, floor = (*arguments, None, None)[:3]
    with pytest.raises(ArgumentError):
        MixtureOfLogistics(components, levels, **({} if floor is None else {"floor": floor}))
