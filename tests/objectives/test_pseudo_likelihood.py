from __future__ import annotations

import pytest
import torch

from tests.boltzmann_problems import ising_log_mass, log_p, random_ising, random_rbm, states
from unigen.errors import ArgumentError, NoDensityError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.fit import fit
from unigen.inference.step import EagerStep
from unigen.models.energy import EnergyModel
from unigen.models.ising import Ising
from unigen.objectives.pseudo_likelihood import PseudoLikelihood


def by_table(log_joint: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Return Σ_i log p(x_i | x_−i) of every state, from the table of all states."""
    d = s.shape[1]
    total = torch.zeros(s.shape[0], dtype=s.dtype)
    for i in range(d):
        rest = [j for j in range(d) if j != i]
        same = (s[:, None, rest] == s[None, :, rest]).all(-1)
        total += log_joint - torch.where(same, log_joint, -torch.inf).logsumexp(1)
    return total


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_the_loss_is_the_sum_of_log_conditionals(low):
    program = random_rbm(4, 3) if low == 0.0 else random_ising(4)
    table = log_p(program) if low == 0.0 else ising_log_mass(program)
    each = by_table(table.detach(), states(4, low))
    s = states(4, low)[:5]  # over all states the sign of the log odds would not be seen
    (player,) = PseudoLikelihood().players(program)
    torch.testing.assert_close(player.loss(s), -each[:5].mean(), atol=1e-10, rtol=0)
    (few,) = PseudoLikelihood(features=2).players(program)
    found = torch.stack([few.loss(s).detach() for _ in range(400)])
    assert abs(float(found.mean() - player.loss(s).detach())) < 5 * float(found.std()) / 20 + 1e-12
    assert player.measure and not few.measure


def test_it_is_consistent():
    truth = random_ising(5, 0.4)
    x = truth.states().sample(50_000).float()
    model = Ising(5, objective=PseudoLikelihood())
    fit(model, x, steps=250, lr=0.05, batch_size=5000, progress=False, seed=0)
    assert float((model.coupling - truth.coupling).detach().abs().max()) < 0.08


def test_the_traced_step_equals_the_eager_one():
    results = []
    for traced in (False, True):
        torch.manual_seed(0)
        program = Ising.grid(2, 2).double()
        (player,) = PseudoLikelihood(features=2).players(program)
        optimizer = torch.optim.Adam(player.parameters.values(), lr=0.1)
        step = EagerStep(player.loss, player.parameters, optimizer)
        if traced:
            step = CompiledStep(
                player.loss, player.parameters, optimizer, example=(states(4, -1.0),), compiler=interpreted
            )
        torch.manual_seed(1)
        for n in (5, 9):
            step(states(4, -1.0)[:n])
        results.append(torch.cat([p.detach().flatten() for p in program.parameters()]))
    torch.testing.assert_close(results[0], results[1], atol=1e-10, rtol=0)


def test_refusals():
    with pytest.raises(ArgumentError, match="features"):
        PseudoLikelihood(features=0)
    with pytest.raises(ArgumentError, match="at most 4"):
        PseudoLikelihood(features=5).players(random_ising(4))
    with pytest.raises(NoDensityError, match="binary"):
        PseudoLikelihood().players(EnergyModel(3))
