"""log Z of continuous energies by annealing, against closed forms and quadrature."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from tests.energies import PROBLEMS, gaussian, mixture
from unigen.densities.annealed import AnnealedNormaliser
from unigen.densities.annealed_normaliser import anneal_down, anneal_up
from unigen.densities.annealing import ladder
from unigen.densities.geometric_path import GeometricPath
from unigen.densities.normaliser import Normalised
from unigen.errors import ArgumentError, NonFiniteError, ShapeError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.energy import EnergyModel
from unigen.models.flow import RealNVP
from unigen.models.potential import Potential
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE

SHORT = {"steps": 25, "chains": 300, "leapfrog": 2}


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_log_z_within_standard_errors_from_both_ends(name):
    program, truth = PROBLEMS[name]()
    found = AnnealedNormaliser(**SHORT).bracket(program, sweeps=15)
    assert (found.lower.kind, found.upper.kind) == (Kind.LOWER_BOUND, Kind.ESTIMATE)
    for side in (found.lower, found.upper):  # 3 standard errors as a rule of thumb, 5 under any seed
        assert abs(side.value.item() - truth) < 5 * side.stderr.item() + 2e-6, found
        assert side.stderr.item() < 0.2


def narrow():
    """½x² → 2x²: log ½."""
    energy = Potential(lambda x: 2 * x.square().sum(-1) + 0.5 * math.log(2 * math.pi), 1)
    return energy, MultivariateNormal(torch.zeros(1), torch.eye(1))


def test_worked_example_of_jarzynski_and_where_the_bounds_lie():
    torch.set_default_dtype(torch.float64)
    try:
        program, base = narrow()
        path, betas = GeometricPath(program, base, leapfrog=1), ladder(3)
        up, _ = anneal_up(path, betas, 20_000)
        down = anneal_down(path, betas, 0.5 * torch.randn(20_000, 1))
    finally:
        torch.set_default_dtype(torch.float32)
    truth = -math.log(2)
    for log_w, sign in ((up, 1.0), (down, -1.0)):
        w = torch.exp(log_w - sign * truth)
        assert abs(w.mean() - 1) < 5 * w.std() / 20_000**0.5  # E w = Z, E 1/w' = 1/Z
        spread = 5 * log_w.std() / 20_000**0.5
        assert sign * truth - log_w.mean() > spread  # Jensen: below going up, above going down


def test_a_flow_read_as_an_energy_has_log_z_zero_and_exact_draws_give_a_bound():
    flow = RealNVP(2, transforms=1, hidden=(4,)).double()
    found = AnnealedNormaliser(**SHORT).bracket(flow, flow.sample(300))
    assert found.upper.kind is Kind.UPPER_BOUND
    for side in (found.lower, found.upper):
        assert abs(side.value.item()) < 5 * side.stderr.item() + 1e-9


@pytest.mark.parametrize("base", ["program", "distribution", "factorised"])
def test_any_density_with_draws_is_a_base(base):
    program, truth = mixture(2)
    bases = {
        "program": PPCA(2, 1),
        "distribution": MultivariateNormal(torch.zeros(2), 9 * torch.eye(2)),
        "factorised": Normal(torch.zeros(2), 2.0),
    }
    found = AnnealedNormaliser(**SHORT, base=bases[base]).log_z(program)
    assert abs(found.value.item() - truth) < 5 * found.stderr.item()


def test_log_prob_of_an_energy_model_is_an_estimate_that_integrates_to_one():
    program, _ = PROBLEMS["EnergyModel"]()
    x = torch.linspace(-30.0, 30.0, 2001, dtype=torch.float64)[:, None]
    log_z = AnnealedNormaliser(**SHORT).log_z(program)
    found = program.log_prob(x, density=Normalised(log_z))
    assert found.kind is Kind.ESTIMATE and found.stderr.shape == found.value.shape
    total = torch.trapezoid(found.value.exp(), x[:, 0]).log().item()
    assert abs(total) < 5 * log_z.stderr.item() + 1e-6
    fresh = program.log_prob(x[:2], density=Normalised(AnnealedNormaliser(steps=5, chains=20)), seed=0)
    assert fresh.kind is Kind.ESTIMATE


def test_transitions_leave_every_density_invariant():
    """A Gaussian path has Gaussian f_β: second moments of chains that start at exact draws stay."""
    program, _ = gaussian(1, 4.0)
    path = GeometricPath(program, MultivariateNormal(torch.zeros(1).double(), torch.eye(1).double()))
    for beta in (0.3, 1.0):
        precision = 1 - beta + 4 * beta
        mean = 4 * beta * 0.5 / precision
        state = path.state(mean + torch.randn(20_000, 1).double() / precision**0.5)
        for _ in range(3):
            state = path.transition(state, beta)
        z = (path.place(state.u)[:, 0] - mean) * precision**0.5
        assert abs(z.mean()) < 5 / 20_000**0.5 and abs(z.square().mean() - 1) < 5 * (2 / 20_000) ** 0.5


def test_what_has_no_path_is_refused():
    with pytest.raises(UnsupportedQueryError, match="path"):
        GeometricPath(VAE(2, 1))
    with pytest.raises(UnsupportedQueryError, match="context"):
        GeometricPath(EnergyModel(2, context=1))
    program, _ = mixture(2)
    with pytest.raises(ShapeError, match="base"):
        GeometricPath(program, PPCA(3, 1))
    with pytest.raises(ShapeError, match="base"):
        GeometricPath(program, Normal(torch.zeros(3), 1.0))
    for base in (VAE(2, 1), object()):
        with pytest.raises(ArgumentError, match="exact density"):
            GeometricPath(program, base)
    cut = Potential(lambda x: torch.where(x[:, 0] > 0, x[:, 0], torch.inf) + x.square().sum(-1), 2)
    with pytest.raises(NonFiniteError, match="not finite at a draw"):
        GeometricPath(cut, PPCA(2, 1))
