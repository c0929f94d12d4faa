"""The path ELBO by torchsde against the program's own, exact posteriors, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

import unigen as ug
from unigen.errors import ArgumentError
from unigen.models.latent_sde import LatentSDE
from unigen.models.vae import VAE
from unigen.objectives.path_elbo import PathELBO
from unigen.relations.conditioned_ou import Conditioned, elbo_by_moments, gp_evidence
from unigen.relations.latent_sde_gp import TIMES, VALUES, LatentSDEtoGP

TRUTH = (1.0, 0.1, 0.5, 0.3)


def conditioned(dt):
    """A latent SDE whose posterior is exact, its control, and the series."""
    from unigen.dynamics.solver_grid import solver_grid

    control = Conditioned(solver_grid(TIMES, dt), VALUES, *TRUTH)
    return LatentSDEtoGP().program(control, TRUTH[-1]), control, torch.tensor(VALUES).double()[None, :, None]


def value(objective, program, x, repeats=1500):
    """Mean of so many one-path bounds of x, and its standard error, in 30 groups."""
    loss = objective.players(program)[0].loss
    with torch.no_grad():
        groups = torch.stack([-loss(x.expand(repeats // 30, -1, -1)) for _ in range(30)])
    return float(groups.mean()), float(groups.std()) / math.sqrt(30)


def test_eulers_method_is_the_programs_own_bound():
    program, control, x = conditioned(0.1)
    found, stderr = value(PathELBO(), program, x)
    assert abs(found - elbo_by_moments(control, VALUES, TRUTH[-1])) < 5 * stderr


@pytest.mark.parametrize("method", ["srk", "heun"])
def test_other_solvers_are_below_the_evidence_and_near(method):
    program, _, x = conditioned(0.05)
    found, stderr = value(PathELBO(method), program, x)
    truth = gp_evidence(TIMES, VALUES, *TRUTH)
    assert truth - 5 * stderr - 0.15 < found < truth + 5 * stderr + 0.05


@pytest.mark.parametrize("adjoint", [False, True])
def test_gradients_reach_every_parameter_and_agree(adjoint):
    program = LatentSDE(2, (0.0, 0.3, 1.0), 2, dt=0.02, hidden=(8,), summary=5).double()
    x = program.sample(6, seed=0)
    found = []
    for objective in (PathELBO("reversible_heun"), PathELBO("reversible_heun", adjoint=adjoint)):
        torch.manual_seed(3)
        program.zero_grad()
        objective.players(program)[0].loss(x).backward()
        found.append({name: p.grad.clone() for name, p in program.named_parameters()})
    for name, gradient in found[0].items():
        assert float((gradient - found[1][name]).norm()) < 1e-6 * float(gradient.norm()) + 1e-9, name
        assert float(gradient.norm()) > 0, name


def test_it_trains():
    program = LatentSDE(
        1, (0.0, 0.5, 1.0), 1, dt=0.25, hidden=(8,), summary=5, objective=PathELBO(adjoint=True, samples=2)
    )
    x = torch.randn(32, 1, 1) + 0.1 * torch.randn(32, 3, 1)
    record = ug.fit(program, x, steps=25, batch_size=32, lr=2e-2, seed=0)
    losses = [v for _, v in record.history["elbo"]]
    assert sum(losses[-5:]) < sum(losses[:5])


class Mixing(torch.nn.Module):
    def forward(self, x, t):
        return 1 + x.flip(-1).square()


def test_what_does_not_fit_is_refused_before_any_work():
    with pytest.raises(ArgumentError, match="euler"):
        PathELBO("rk4")
    with pytest.raises(ArgumentError, match="samples"):
        PathELBO(samples=0)
    with pytest.raises(ArgumentError, match="controlled SDE"):
        PathELBO().players(VAE(3, 2))
    program = LatentSDE(1, (0.0, 1.0), 2, diffusion=Mixing())
    for objective in (PathELBO("srk"), PathELBO(adjoint=True)):
        with pytest.raises(ArgumentError, match="that coordinate alone"):
            ug.fit(program, torch.zeros(3, 2, 1), objective=objective, steps=1)
    own = LatentSDE(1, (0.0, 1.0), 2, diffusion=ug.DiagonalNoise(2))
    with pytest.raises(ArgumentError, match="Stratonovich"):
        ug.fit(own, torch.zeros(3, 2, 1), objective=PathELBO("heun"), steps=1)
