"""log Z by annealing against enumeration, on machines with weak and strong couplings."""

from __future__ import annotations

import math

import pytest
import torch

from tests.boltzmann_problems import random_ising, random_rbm
from unigen.densities.annealed import AnnealedNormaliser
from unigen.densities.annealed_normaliser import anneal_down, anneal_up, log_mean
from unigen.densities.annealing import ladder
from unigen.errors import ArgumentError, NonFiniteError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.ising import Ising
from unigen.models.rbm import RBM
from unigen.models.vae import VAE

PROBLEMS = {
    "weak RBM": lambda: random_rbm(8, 6, 0.3),
    "RBM": lambda: random_rbm(8, 6, 1.0),
    "strong RBM": lambda: random_rbm(10, 8, 2.0),
    "more visible": lambda: random_rbm(20, 5, 1.0),
    "more hidden": lambda: random_rbm(6, 12, 1.0),
    "Gaussian RBM": lambda: gaussian_rbm(),
    "Ising": lambda: random_ising(10, 0.3),
    "spin glass": lambda: random_ising(8, 1.0),
    "grid": lambda: Ising.grid(3, 3, coupling=0.6).double(),
    "antiferromagnet": lambda: Ising.grid(3, 4, coupling=-0.5, field=0.2).double(),
}


def gaussian_rbm():
    from unigen.distributions.visible_units import GaussianUnits

    rbm = RBM(3, 5, visible=GaussianUnits(3)).double()
    with torch.no_grad():
        rbm.joint.weight.normal_()
        rbm.joint.visible.loc.normal_()
        rbm.joint.visible.spread.fill_(2.0)
    return rbm


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_both_sides_of_the_bracket_agree_with_enumeration(name):
    program = PROBLEMS[name]()
    truth = program.states().log_z().item()
    found = AnnealedNormaliser(steps=300, chains=400).bracket(program)
    assert (found.lower.kind, found.upper.kind) == (Kind.LOWER_BOUND, Kind.UPPER_BOUND)
    # 3 standard errors as a rule of thumb; 5 so that forty such claims under any seed are sound
    assert abs(found.lower.value.item() - truth) < 5 * found.lower.stderr.item() + 1e-9
    assert abs(found.upper.value.item() - truth) < 5 * found.upper.stderr.item() + 1e-9
    assert found.lower.stderr.item() < 0.3


def single_chains(program, steps: int, n: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the bounds of log Z that n chains give by themselves, from below and from above, shape (n,) each."""
    path, betas = program.path(), ladder(steps)
    up, _ = anneal_up(path, betas, n)
    down = anneal_down(path, betas, program.states().sample(n))
    base = float(path.log_z_base)
    return base + up, base - down


def test_forward_lies_below_and_reverse_above_on_average():
    """Single chains on a short path, so that Jensen's gap is wide: the sides are then tens of errors apart."""
    for program in (random_ising(8, 0.5), random_rbm(8, 6, 0.8)):
        truth = program.states().log_z().item()
        lower, upper = single_chains(program, 6, 20_000)
        spread = max(lower.std(), upper.std()) / 20_000**0.5
        assert lower.mean() + 5 * spread < truth < upper.mean() - 5 * spread
        value, stderr = log_mean(lower)  # yet the weights themselves average to Z
        assert abs(value - truth) < 5 * stderr


def test_longer_paths_are_tighter():
    program = random_rbm(8, 6, 2.0)
    gaps = [float((upper - lower).mean()) for lower, upper in (single_chains(program, t) for t in (3, 300))]
    assert gaps[1] < 0.5 * gaps[0]


def test_what_the_upper_side_is_depends_on_where_it_starts():
    annealed = AnnealedNormaliser(steps=20, chains=8)
    large = RBM(25, 25)
    found = annealed.bracket(large, sweeps=5)
    assert found.upper.kind is Kind.ESTIMATE and found.lower.kind is Kind.LOWER_BOUND
    small = random_rbm(4, 3)
    assert annealed.upper(small, small.states().sample(8)).kind is Kind.UPPER_BOUND
    assert annealed.log_z(small).kind is Kind.ESTIMATE
    assert "estimate" in str(found) and "≤ log Z ≤" in str(found)
    assert math.isnan(AnnealedNormaliser(steps=2, chains=1).bracket(small).gap_stderr)


def test_refusals():
    for options in ({"steps": 0}, {"chains": 0}, {"chains": 1.5}, {"rise": 0.0}):
        with pytest.raises(ArgumentError, match="got"):
            AnnealedNormaliser(**options)
    with pytest.raises(UnsupportedQueryError, match="path"):
        AnnealedNormaliser().log_z(VAE(3, 1))
    broken = random_ising(3)
    with torch.no_grad():
        broken.field[0] = 1e308
        broken.coupling[0] = -1e308
    with pytest.raises(NonFiniteError, match="finite"):
        AnnealedNormaliser(steps=5, chains=3).log_z(broken)
