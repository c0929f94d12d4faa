from __future__ import annotations

import torch

from tests.boltzmann_problems import chi_squared, ising_log_mass, random_ising, states
from unigen.distributions.spin_gibbs import SpinPath, log_cosh, spins, sweep_spins

STATES = states(4, -1.0)


def test_a_sweep_leaves_the_density_invariant_and_forgets_where_it_began():
    model, n = random_ising(4, 0.7), 20_000
    p = ising_log_mass(model).softmax(0)
    x = sweep_spins(
        STATES[torch.multinomial(p, n, replacement=True)],
        model.couplings.detach(),
        model.field.detach(),
        model.blocks,
    )
    assert chi_squared(x, STATES, p) > 1e-6
    x = torch.ones(n, 4, dtype=torch.float64)
    for _ in range(60):
        x = sweep_spins(x, model.couplings.detach(), model.field.detach(), model.blocks)
    assert chi_squared(x, STATES, p) > 1e-6


def test_the_path_begins_with_independent_spins_and_ends_with_the_model():
    model, n = random_ising(4, 0.7), 20_000
    path = SpinPath(model.spins(), model.blocks)
    first = path.log_density(STATES, 0.0)
    torch.testing.assert_close(first.logsumexp(0), path.log_z_base, atol=1e-10, rtol=0)
    assert chi_squared(path.start(n), STATES, first.softmax(0)) > 1e-6
    torch.testing.assert_close(
        path.log_density(STATES, 1.0), ising_log_mass(model).detach(), atol=1e-10, rtol=0
    )
    p = path.log_density(STATES, 0.4).softmax(0)
    x = path.transition(path.state(STATES[torch.multinomial(p, n, replacement=True)]), 0.4)
    assert chi_squared(x, STATES, p) > 1e-6


def test_spins_are_plus_and_minus_one():
    assert spins.check(torch.tensor([1.0, -1.0, 0.0, 2.0])).tolist() == [True, True, False, False]


def test_log_cosh_does_not_overflow():
    x = torch.tensor([-3.0, 0.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(log_cosh(x), x.cosh().log(), atol=1e-14, rtol=0)
    assert abs(log_cosh(torch.tensor(1e4)).item() - 1e4) < 1
