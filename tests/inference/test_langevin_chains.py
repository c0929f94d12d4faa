"""Langevin engines: stationary moments by linear algebra, the same by chains, and where steps are too long."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov
from torch import Tensor

from tests.energies import double_well
from unigen.dynamics.nuts import Point
from unigen.errors import ArgumentError, DivergedError
from unigen.inference.langevin_chains import MALA, ULA, Underdamped
from unigen.inference.mcmc import mcmc

F64 = torch.float64
WELL = 0.840546  # E x² in the double well at D = .3


def quadratic(x: Tensor) -> Tensor:
    return 0.5 * x.square().sum(-1)


def potential(q: Tensor) -> tuple[Tensor, Tensor]:
    """That of N(0, 1/4): U = 2 q²."""
    return 2 * q.square().sum(1), 4 * q


def stationary(engine: ULA | Underdamped) -> np.ndarray:
    """Covariance of (q, v) that one step leaves as it is: it is linear, s' = A s + B ξ, so C = A C Aᵀ + B Bᵀ."""
    step, rows = engine.step(potential), torch.eye(3, dtype=F64)
    q, v, xi = (rows[:, i : i + 1] for i in range(3))
    at, v = step(Point(q, *potential(q)), v, xi)
    both = torch.cat((at.q, v), 1).numpy().T
    a, b = both[:, :2], both[:, 2:]
    if isinstance(engine, ULA):  # which hands the velocity on untouched
        a, b = a[:1, :1], b[:1]
    return solve_discrete_lyapunov(a, b @ b.T)


@pytest.mark.parametrize("h", [0.01, 0.1, 0.4])
def test_ula_has_the_bias_of_its_formula(h):
    """Variance 1/(λ (1 − λ h/2)) of N(0, 1/λ)."""
    assert stationary(ULA(step_size=h))[0, 0] == pytest.approx(0.25 / (1 - 2 * h), rel=1e-12)


@pytest.mark.parametrize("h", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("friction", [0.3, 1.0, 5.0])
def test_underdamped_chains_have_no_bias_on_a_gaussian(h, friction):
    """BAOAB is exact in positions there; velocities have variance 1 − (ωh)²/4, ω² = 4."""
    c = stationary(Underdamped(step_size=h, friction=friction))
    assert c[0, 0] == pytest.approx(0.25, rel=1e-10)
    assert c[1, 1] == pytest.approx(1 - h**2, rel=1e-10) and abs(c[0, 1]) < 1e-10


def test_one_step_of_ula_by_hand():
    q, xi = torch.randn(5, 2, dtype=F64), torch.randn(5, 2, dtype=F64)
    at, v = ULA(step_size=0.03).step(potential)(Point(q, *potential(q)), 7 * q, xi)
    torch.testing.assert_close(at.q, q - 0.03 * 4 * q + math.sqrt(0.06) * xi)
    torch.testing.assert_close(at.gradient, 4 * at.q)
    assert torch.equal(v, 7 * q)


def test_one_step_of_baoab_by_hand():
    q, v, xi = torch.randn(3, 5, 2, dtype=F64)
    at, w = Underdamped(step_size=0.2, friction=1.5).step(potential)(Point(q, *potential(q)), v, xi)
    v = v - 0.1 * 4 * q
    q = q + 0.1 * v
    v = math.exp(-0.3) * v + math.sqrt(1 - math.exp(-0.6)) * xi
    q = q + 0.1 * v
    torch.testing.assert_close(at.q, q)
    torch.testing.assert_close(w, v - 0.1 * 4 * q)


def seed() -> int:
    return int(torch.randint(9999, ()))


def z_of(each: Tensor, truth: float) -> tuple[float, float]:
    """z of the mean of one number a chain, and the error."""
    error = float(each.std() / each.shape[0] ** 0.5)
    return abs(float(each.mean()) - truth) / error, error


@pytest.mark.parametrize(
    ("engine", "variance"),
    [
        (ULA(chains=2000, draws=40, warmup=16, step_size=0.5), 1 / (1 - 0.25)),
        (Underdamped(chains=2000, draws=40, warmup=40, step_size=0.8), 1.0),
    ],
    ids=["ULA", "Underdamped"],
)
def test_chains_have_the_variance_of_their_steps(engine, variance):
    draws = mcmc(quadratic, 1, engine=engine, seed=seed())
    z, error = z_of(draws["x"].square().mean((1, 2)), variance)
    assert z < 5 and error < 0.03
    assert bool((draws.statistics["acceptance_rate"] == 1).all())
    torch.testing.assert_close(draws.statistics["lp"], -quadratic(draws["x"]))
    torch.testing.assert_close(draws.statistics["energy"], quadratic(draws["x"]))
    assert draws.step_size is not None and float(draws.step_size[0]) == pytest.approx(engine.step_size)


def test_mala_has_no_bias_and_learns_its_step():
    engine = MALA(chains=1500, draws=40, warmup=150, compile=False)
    draws = mcmc(double_well, 1, engine=engine, seed=seed())
    z, error = z_of(draws["x"].square().mean((1, 2)), WELL)
    assert z < 5 and error < 0.01
    assert abs(float(draws.statistics["acceptance_rate"].mean()) - engine.target) < 0.08


def test_a_diverging_step_is_stopped_with_the_last_finite_states():
    start = torch.full((4, 1), 3.0)
    with pytest.raises(DivergedError, match=r"of 4 chains.*step_size=5.*step_size=1.25") as caught:
        mcmc(lambda x: x.pow(4).sum(-1), 1, engine=ULA(4, 100, 0, 5.0), starts=start, seed=0)
    partial = caught.value.partial["x"]
    assert partial.shape[0] == 4 and bool(partial.isfinite().all())
    with pytest.raises(DivergedError) as warming:
        mcmc(lambda x: x.pow(4).sum(-1), 1, engine=ULA(4, 100, 50, 5.0), starts=start, seed=0)
    where = warming.value.partial["x"]
    assert where.shape == (4, 1, 1) and bool(where.isfinite().all())
    x = mcmc(lambda x: x.pow(4).sum(-1), 1, engine=MALA(4, 20, 50), starts=start, seed=0)["x"]
    assert bool(x.isfinite().all())


def test_warm_up_is_left_out_and_counted():
    engine = ULA(2, 3, 4, 0.1)
    assert engine.rounds == 7
    long = mcmc(quadratic, 1, engine=ULA(2, 7, 0, 0.1), seed=5)["x"]
    assert torch.equal(mcmc(quadratic, 1, engine=engine, seed=5)["x"], long[:, 4:])


@pytest.mark.parametrize(
    ("engine", "bad"),
    [(ULA, {"step_size": 0.0}), (ULA, {"step_size": math.inf}), (ULA, {"draws": 0}), (ULA, {"warmup": -1}),
     (Underdamped, {"friction": 0.0}), (Underdamped, {"chains": 0}), (MALA, {"target": 1.0})],
)  # fmt: skip
def test_bad_settings_are_refused(engine: Any, bad: dict[str, Any]):
    with pytest.raises(ArgumentError, match=engine.__name__):
        engine(**bad)
