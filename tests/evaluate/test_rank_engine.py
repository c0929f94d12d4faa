"""Calibration of engines, all simulated data sets side by side: right ones pass, a narrow or shifted one is found."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from benchmarks.conjugate import PROGRAMS, Coin, Mean, contexts
from benchmarks.sbc import Narrowed
from tests.programs import SharedMean
from unigen.errors import ShapeError, UnsupportedQueryError
from unigen.evaluate.calibration import simulation_based_calibration
from unigen.evaluate.rank_engine import _joint
from unigen.inference.infer import infer_each
from unigen.traces import log_joint

SURE = 0.999999
NUTS = ug.NUTS(warmup=80, doublings=3, compile=False)
ENGINES = {
    "NUTS": (NUTS, 3),
    "HMC": (ug.HMC(warmup=100, leaps=5, compile=False), 3),
    "exact guide": (None, 1),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", PROGRAMS, ids=lambda family: family.__name__)
def test_engines_are_calibrated(family, engine):
    program = family().double()
    chosen, thin = ENGINES[engine]
    few = {"simulations": 60, "draws": 9} if chosen is None else {"simulations": 200, "draws": 19}
    if chosen is None and family.__name__ in ("Mean", "Regression"):
        chosen = ug.Variational("multivariate", steps=250, lr=0.15, compile=False)
        few = {"simulations": 200, "draws": 19}
    found = simulation_based_calibration(
        program, chosen, size=6, thin=thin, level=SURE, context=contexts(program, 6), **few
    )
    assert found.passed, str(found)


def test_draws_too_narrow_are_found():
    """sd × 0.8 at 1,500 simulations: U-shaped ranks, p below 10⁻³ in all but one of 10⁴ runs (by ``power``)."""
    found = simulation_based_calibration(
        Mean().double(), Narrowed(NUTS), simulations=1500, draws=19, size=6, thin=3, level=SURE
    )
    assert found.p_values["mu[0]"] < 1e-3 and "narrow" in found.describe("mu[0]")


def test_log_joints_are_those_of_the_model():
    program = Coin().double()
    x = torch.bernoulli(torch.full((3, 5, 1), 0.5).double())
    theta = torch.rand(3, 20).double()
    found = _joint(program, x, None, {"theta": theta})
    for m in range(3):
        for s in (0, 19):
            expected = log_joint(lambda: program.model(x[m], None, 5), {"theta": theta[m, s]})  # noqa: B023
            torch.testing.assert_close(found[m, s], expected, atol=1e-12, rtol=0)


def test_a_data_set_gets_the_chain_that_it_would_get_alone():
    program, x = Mean().double(), torch.randn(4, 5, 1).double()
    engine = ug.NUTS(draws=5, warmup=20, compile=False)
    together, alone = (infer_each(program, data, engine=engine, seed=0)["mu"] for data in (x, x[:2]))
    torch.testing.assert_close(together[:2], alone, atol=0, rtol=0)


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(UnsupportedQueryError, match="latents of their own"):
        simulation_based_calibration(SharedMean(), NUTS, simulations=2, draws=2, size=2)
    with pytest.raises(ShapeError, match="data"):
        infer_each(Mean(), torch.zeros(3, 1))
