"""Chains in unnormalised densities: z-tests that detect 0.02 sd, starts and seeds, and what is refused."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests.energies import double_well
from unigen.errors import ArgumentError, DivergedError, ShapeError, UnsupportedQueryError
from unigen.inference.langevin_chains import MALA, ULA
from unigen.inference.markov import HMC, NUTS
from unigen.inference.mcmc import mcmc
from unigen.models.energy import EnergyModel
from unigen.models.potential import Potential

POWER = 5 + 2.33  # standard errors: false alarms at |z| > 5, a bias so large found with probability .99
CHAINS = 7000
WELL = 0.840546  # E x² in the double well at D = .3
EXACT = {
    "MALA": MALA(chains=CHAINS, draws=100, warmup=200, compile=False),
    "HMC": HMC(chains=CHAINS, draws=60, warmup=150, leaps=5, compile=False),
}


def quadratic(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x.square().sum(-1)


def seed() -> int:
    return int(torch.randint(9999, ()))


def z_of(each: torch.Tensor, truth: float) -> tuple[float, float]:
    """z of the mean of one number a chain, and the error."""
    error = float(each.std() / each.shape[0] ** 0.5)
    return abs(float(each.mean()) - truth) / error, error


@pytest.mark.parametrize("engine", EXACT)
def test_a_gaussian_to_two_hundredths_of_a_standard_deviation(engine):
    sd = torch.tensor([1.0, 5.0])
    draws = mcmc(lambda x: quadratic(x / sd - 1.0), 2, engine=EXACT[engine], seed=seed())["x"] / sd - 1.0
    for d in range(2):
        for each in (
            draws[..., d].mean(1),
            0.5 * (draws[..., d].square().mean(1) - 1),
        ):  # mean; sd to first order
            z, error = z_of(each, 0.0)
            assert error * POWER < 0.02, "the test has too little power"
            assert z < 5


@pytest.mark.parametrize("engine", EXACT)
def test_the_double_well(engine):
    z, error = z_of(mcmc(double_well, 1, engine=EXACT[engine], seed=seed())["x"].square().mean((1, 2)), WELL)
    assert z < 5 and error < 0.004


def test_nuts_on_an_energy():
    draws = mcmc(
        double_well, 1, engine=NUTS(chains=400, draws=40, warmup=60, doublings=4, compile=False), seed=seed()
    )
    z, error = z_of(draws["x"].square().mean((1, 2)), WELL)
    assert z < 5 and error < 0.02
    assert set(draws.statistics) >= {"acceptance_rate", "tree_depth", "lp", "diverging"}


def test_programs_with_location_length_bounds_and_context():
    model = EnergyModel(1, energy=torch.nn.Linear(1, 1)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        model.loc.fill_(100.0)
        model.length.fill_(7.0)
        model.chains.take(100.0 + torch.zeros(128, 1).double())
        model.chains.put(100.0 + torch.zeros(128, 1).double())
    draws = mcmc(model, engine=HMC(chains=1000, draws=30, warmup=40, compile=False), seed=seed())
    z, _ = z_of(((draws["x"] - 100) / 7).square().mean((1, 2)), 1.0)
    assert draws["x"].dtype is torch.float64 and z < 5
    half = Potential(lambda x: x.sum(-1), 1, support=torch.distributions.constraints.positive)  # Exp(1)
    z, _ = z_of(
        mcmc(half, engine=HMC(chains=1000, draws=40, warmup=60, compile=False), seed=seed())["x"].mean(
            (1, 2)
        ),
        1.0,
    )
    assert z < 5
    flow = ug.RealNVP(2, context=1, hidden=(4,))
    assert mcmc(flow, engine=ULA(chains=3, draws=2, warmup=1), context=torch.ones(1, 1), seed=0)[
        "x"
    ].shape == (3, 2, 2)


def test_the_posterior_of_a_program_takes_the_same_engines():
    import pyro.distributions as dist

    model = ug.bayesian(ug.PPCA(features=2, latents=1), {"mean": dist.Normal(0.0, 1.0)})
    for engine in (
        MALA(chains=2, draws=4, warmup=4),
        ULA(2, 4, 4, 1e-4),
        ug.Tempering(2, 4, 4, temperatures=3),
    ):
        assert ug.infer(model, torch.randn(9, 2), engine=engine, seed=0)["mean"].shape == (2, 4, 2)


def test_a_seed_reproduces_and_leaves_the_global_state():
    before = torch.get_rng_state()
    one, two = (mcmc(quadratic, 2, engine=MALA(2, 5, 5), seed=3)["x"] for _ in range(2))
    assert torch.equal(one, two) and torch.equal(before, torch.get_rng_state())


def test_starts_are_where_chains_begin():
    starts = torch.tensor([[50.0], [-50.0]])
    x = mcmc(quadratic, 1, engine=ULA(2, 1, 0, 1e-6), starts=starts, spread=0.01, seed=0)["x"]
    assert (x[:, 0] - starts).abs().max() < 0.1


def test_bad_energies_and_settings_are_refused():
    with pytest.raises(ShapeError, match="one number an example"):
        mcmc(lambda x: x.square(), 2, seed=0)
    with pytest.raises(UnsupportedQueryError, match="no gradient"):
        mcmc(lambda x: x.detach().square().sum(-1), 2, seed=0)
    with pytest.raises(DivergedError, match="no starting point"):
        mcmc(lambda x: x.square().sum(-1) / 0.0 + torch.nan, 2, seed=0)
    with pytest.raises(ArgumentError, match="event_shape"):
        mcmc(quadratic)
    with pytest.raises(ArgumentError, match="engine"):
        mcmc(quadratic, 1, engine=ug.Laplace())
    with pytest.raises(ArgumentError, match="spread"):
        mcmc(quadratic, 1, spread=0.0)
    with pytest.raises(ShapeError, match="starts"):
        mcmc(quadratic, 1, starts=torch.zeros(3, 1))
    with pytest.raises(UnsupportedQueryError, match="lower bound"):
        mcmc(ug.VAE(2, 1))
    with pytest.raises(UnsupportedQueryError, match="discrete"):
        mcmc(ug.RBM(3, 2))
