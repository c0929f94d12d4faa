"""Calibration passes exact posteriors, and finds wrong widths, places and a posterior that ignores the data.

Power, by ``power`` at level 95 % and 1,000 × 99: .90 for a variance 20 % too small, .76 for a mean off by a tenth of a
standard deviation; at 4,000 × 99 both are above .99 (0 misses in 200). Exact guides are tested at a family-wise level
of 1 − 1e-6, so that a false alarm comes once in a million runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist

from tests.programs import Conditional, Nested, SharedMean, Switch, Toy
from unigen.errors import ArgumentError, NonFiniteError, ShapeError, SiteError, UnsupportedQueryError
from unigen.evaluate.calibration import power, simulation_based_calibration
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.program import Program

SURE = 1 - 1e-6


class Wrong(PPCA):
    """PPCA whose guide has another width and place."""

    def __init__(self, sd_ratio: float = 1.0, shift: float = 0.0) -> None:
        super().__init__(4, 2)
        self.sd_ratio, self.shift = sd_ratio, shift

    def guide(self, x):
        m = self.weight.mT @ self.weight + self.variance * torch.eye(2).to(x)
        scale = torch.linalg.cholesky(self.variance * torch.linalg.inv(m))
        loc = torch.linalg.solve(m, self.weight.mT @ (x - self.mean).mT).mT + self.shift * scale.diagonal()
        with self.plate(x):
            return pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=self.sd_ratio * scale))


class Theta(Program):
    """θ ~ N(0, 1), x_i | θ ~ N(θ, 1), with the posterior of θ, or another of a chosen width, as guide."""

    def __init__(self, sd_ratio: float = 1.0) -> None:
        super().__init__((1,))
        self.sd_ratio = sd_ratio

    def model(self, x=None, n=1):
        theta = pyro.sample("theta", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(theta, 1.0).to_event(1), obs=x)

    def guide(self, x):
        n = x.shape[0]
        pyro.sample("theta", dist.Normal(x.sum(0) / (n + 1), self.sd_ratio * (n + 1) ** -0.5).to_event(1))


def test_the_exact_guide_of_ppca_passes():
    found = simulation_based_calibration(Wrong().double(), simulations=2000, level=SURE)
    assert found.passed and "calibrated" in str(found)
    assert sorted(found.ranks) == ["log p(x, z)", "z[0]", "z[1]"]
    assert all(r.min() == 0 and r.max() == 99 for r in found.ranks.values())
    assert min(found.chi_squared.values()) > 1e-6
    assert len(found.plot().axes) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [({"sd_ratio": 0.8**0.5}, "narrow"), ({"shift": 0.15}, "large"), ({"sd_ratio": 1.2}, "wide")],
)
def test_a_wrong_guide_is_found_and_described(options, words):
    """4,000 simulations: 0 misses in 200 simulated tests of a variance 20 % too small and of a shift of .1."""
    found = simulation_based_calibration(Wrong(**options).double(), simulations=4000)
    assert not found.passed
    name = min((k for k in found.ranks if k.startswith("z")), key=lambda k: found.p_values[k])
    assert found.p_values[name] < 1e-3 and words in found.describe(name)


def test_the_power_is_that_of_the_test():
    """At 300 × 99 a variance 40 % too small: power by formula-free simulation of ranks, and by the program itself."""
    expected = power(300, sd_ratio=0.6**0.5, level=0.95, replicates=100)
    found = []
    for _ in range(30):
        result = simulation_based_calibration(Wrong(sd_ratio=0.6**0.5).double(), simulations=300)
        found.append(result.p_values["z[0]"] <= 0.05)
    error = (max(expected * (1 - expected), 0.02) * (1 / 100 + 1 / 30)) ** 0.5
    assert abs(np.mean(found) - expected) < 5 * error
    assert power(1000, replicates=100) <= 0.05 + 5 * (0.05 * 0.95 / 100) ** 0.5


def test_a_posterior_that_ignores_the_data_is_found_by_the_joint_alone():
    """The toy's prior as engine: z is calibrated, log p(x, z) is not (Modrák et al. 2023)."""
    found = simulation_based_calibration(Toy(), simulations=1000, level=SURE)
    assert found.p_values["z[0]"] > 1e-6
    assert found.p_values["log p(x, z)"] < 1e-6 and not found.passed


def test_discrete_latents_have_ties_broken_at_random():
    mixture = GaussianMixture(2, components=3).double()
    found = simulation_based_calibration(mixture, simulations=1500, draws=19, level=SURE)
    assert found.passed and "z" in found.ranks
    wrong = simulation_based_calibration(Switch(), simulations=1500, draws=19)
    assert not wrong.passed


def test_plates_engines_thinning_and_quantities():
    program, seen = Nested(), []

    def engine(x):
        """Exact posterior of (z, w_1, w_2) by conditioning one Gaussian; draws repeated, so that thin=2 halves them."""
        a = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 1]])  # (z, w1, w2) = A e
        prior, noise = a @ a.mT, torch.eye(3)
        gain = prior @ torch.linalg.inv(prior + noise)
        scale = torch.linalg.cholesky(prior - gain @ prior)
        draws = x @ gain.mT + torch.randn(20, *x.shape) @ scale.mT
        draws = draws.repeat_interleave(2, 0)
        seen.append(draws.shape)
        return {"z": draws[..., 0], "w": draws[..., 1:].movedim(-1, -2)}

    found = simulation_based_calibration(
        program, engine, simulations=1000, draws=20, thin=2, level=SURE,
        quantities={"z + x": lambda values, x: values["z"] + x[:, 0]},
    )  # fmt: skip
    assert seen == [(40, 1000, 3)]
    assert sorted(found.ranks) == ["log p(x, z)", "w[0]", "w[1]", "z", "z + x"]
    assert found.passed, str(found)


def test_shared_latents_are_ranked_data_set_by_data_set():
    found = simulation_based_calibration(Theta(), simulations=100, draws=9, size=4, level=SURE)
    assert found.passed and sorted(found.ranks) == ["log p(x, z)", "theta[0]"]
    narrow = simulation_based_calibration(Theta(0.3), simulations=100, draws=9, size=4)
    assert not narrow.passed and "narrow" in narrow.describe("theta[0]")
    both = simulation_based_calibration(SharedMean(), simulations=3, draws=4, size=2, level=SURE)
    assert sorted(both.ranks) == ["theta[0]"]  # log p(x, θ) is unknown where z is latent too


def test_a_seed_reproduces():
    one, two = (simulation_based_calibration(Toy(True), simulations=30, draws=9, seed=4) for _ in range(2))
    assert all(np.array_equal(one.ranks[k], two.ranks[k]) for k in one.ranks)


def test_refusals():
    toy = Toy()
    for options in ({"simulations": 0}, {"draws": 0}, {"thin": 0}, {"size": 1.5}, {"level": 1.0}):
        with pytest.raises(ArgumentError):
            simulation_based_calibration(toy, **options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnsupportedQueryError):
        simulation_based_calibration(Conditional())
    few: dict[str, Any] = {"simulations": 5, "draws": 9}
    with pytest.raises(ShapeError, match="9"):
        simulation_based_calibration(toy, lambda x: torch.zeros(8, 5, 1), **few)
    with pytest.raises(SiteError):
        simulation_based_calibration(toy, lambda x: {"w": torch.zeros(9, 5, 1)}, **few)
    with pytest.raises(SiteError, match="one tensor"):
        simulation_based_calibration(Nested(), lambda x: torch.zeros(9, 5), **few)
    with pytest.raises(NonFiniteError):
        simulation_based_calibration(toy, lambda x: torch.full((9, 5, 1), torch.nan), **few)
