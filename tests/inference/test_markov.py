"""Markov chain engines against conjugate posteriors: z-tests that detect 0.1 posterior standard deviations.

800 chains are replicates, so standard errors need no effective sample size. A test fails at |z| > 5 (a false alarm
in 10⁶ runs a number); a bias of (5 + 2.33) standard errors is found with probability .99, and must be at most 0.1 sd.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pyro
import pyro.distributions as dist
import pytest
import torch

import unigen as ug
from benchmarks.conjugate import PROGRAMS, Mean, Rate, simulated
from unigen.errors import ArgumentError
from unigen.inference import kernels
from unigen.inference.engine import Engine
from unigen.inference.infer import infer
from unigen.inference.markov import HMC, NUTS

POWER = 5 + 2.33  # standard errors
CHAINS = 800
ENGINES: dict[str, Engine] = {
    "NUTS": NUTS(chains=CHAINS, draws=30, warmup=80, doublings=3, compile=False),
    "HMC": HMC(chains=CHAINS, draws=40, warmup=80, leaps=6, compile=False),
}


def seed() -> int:
    return int(torch.randint(9999, ()))


def deviations(draws: torch.Tensor, mean: torch.Tensor, sd: torch.Tensor) -> torch.Tensor:
    """z of means and standard deviations; refuses a test that would miss 0.1 sd."""
    unit = (draws - mean) / sd
    found = []
    for each in (unit.mean(1), 0.5 * (unit.square().mean(1) - 1)):  # to first order, s/sd − 1
        error = each.std(0) / CHAINS**0.5
        assert float(error.max()) * POWER < 0.1, "the test has too little power"
        found.append((each.mean(0) / error).reshape(-1))
    return torch.cat(found)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", PROGRAMS, ids=lambda family: family.__name__)
def test_conjugate_posteriors(family, engine):
    program = family().double()
    x = simulated(program, 12)
    exact = program.exact(*x)
    draws = infer(program, *x, engine=ENGINES[engine], seed=seed())
    z = deviations(draws[exact.site], exact.mean, exact.sd)
    assert z.abs().max() < 5, z


def test_a_posterior_a_tenth_too_narrow_is_found():
    program = Mean().double()
    (x,) = simulated(program, 12)
    exact = program.exact(x)
    draws = infer(program, x, engine=ENGINES["NUTS"], seed=seed())["mu"]
    narrow = exact.mean + 0.9 * (draws - exact.mean)
    assert deviations(narrow, exact.mean, exact.sd).abs().max() > 5


def test_statistics_are_those_of_the_sampler():
    program = Rate().double()
    draws = infer(program, *simulated(program, 5), engine=NUTS(chains=3, draws=7, warmup=20, compile=False))
    stats = draws.statistics
    assert {tuple(v.shape) for v in stats.values()} == {(3, 7)}
    assert bool((stats["acceptance_rate"] <= 1).all() and (stats["n_steps"] >= 1).all())
    assert bool((stats["n_steps"] <= 2 ** stats["tree_depth"] - 1).all())
    static = infer(
        program, *simulated(program, 5), engine=HMC(chains=2, draws=3, warmup=5, leaps=4, compile=False)
    )
    assert bool((static.statistics["n_steps"] == 4).all())


def test_lp_is_the_log_joint_on_the_reals():
    program = Rate().double()
    (x,) = simulated(program, 5)
    draws = infer(program, x, engine=NUTS(chains=2, draws=3, warmup=5, compile=False))
    rate, one = draws["rate"], torch.ones(()).double()
    joint = dist.Gamma(2 * one, one).log_prob(rate) + dist.Poisson(rate[..., None]).log_prob(x[:, 0]).sum(-1)
    torch.testing.assert_close(draws.statistics["lp"], joint + rate.log(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("engine", [NUTS, HMC])
def test_the_compiled_transition_is_the_eager_one(engine, monkeypatch):
    """The steps as graphs, run operation by operation: whatever Inductor then makes of them."""
    graphs = []

    def compiler(graph, inputs):
        graphs.append(graph)
        return graph

    monkeypatch.setattr(kernels, "inductor", compiler)
    program = Mean().double()
    (x,) = simulated(program, 5)
    one, two = (
        infer(program, x, engine=engine(chains=3, draws=8, warmup=4, compile=c), seed=3)["mu"]
        for c in (True, False)
    )
    torch.testing.assert_close(one, two, atol=1e-9, rtol=0)
    assert len(graphs) == (4 if engine is NUTS else 1)


def test_first_chains_do_not_depend_on_how_many_follow():
    program = Mean().double()
    (x,) = simulated(program, 3)
    many, few = (
        infer(program, x, engine=HMC(chains=c, draws=5, warmup=20, compile=False), seed=4) for c in (5, 2)
    )
    torch.testing.assert_close(many["mu"][:2], few["mu"], atol=0, rtol=0)


class Faulty(Mean):
    """Fails after some evaluations of its density."""

    calls = 0

    def model(self, x=None, n=1):
        type(self).calls += 1
        if type(self).calls > 20:
            raise OSError("the disk is gone")
        torch.zeros(1).item()  # no tracer takes this, so that every evaluation runs
        return Mean.model(self, x, n=n)


@pytest.mark.parametrize("engine", [NUTS(chains=2, compile=False), HMC(chains=2, compile=False)])
def test_an_error_in_the_density_ends_the_run_at_once(engine):
    """All chains are one process: there is no worker whose death could leave the others waiting."""
    Faulty.calls = 0
    state = torch.get_rng_state()
    with pytest.raises(OSError, match="the disk is gone"):
        infer(Faulty(), torch.ones(3, 1), engine=engine, seed=0)
    assert torch.equal(state, torch.get_rng_state()) and not pyro.poutine.runtime._PYRO_STACK


KILLED = """
import torch, pyro, pyro.distributions as dist, unigen as ug
from benchmarks.conjugate import Mean
print("ready", flush=True)
ug.infer(Mean(), torch.ones(3, 1), engine=ug.NUTS(draws=10**6, warmup=0, compile=False), seed=0)
"""


def test_a_killed_run_leaves_nothing_behind():
    """kill −9: the caller has the signal within seconds, and no process of the group is left."""
    run = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, start_new_session=True)
    assert run.stdout is not None
    assert run.stdout.readline() == b"ready\n"
    time.sleep(0.5)
    start = time.monotonic()
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait(10) == -signal.SIGKILL and time.monotonic() - start < 10
    run.stdout.close()
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)


def test_bad_settings_are_refused():
    for bad in ({"chains": 0}, {"draws": 0}, {"warmup": -1}, {"target": 1.0}):
        for engine in (NUTS, HMC):
            with pytest.raises(ArgumentError):
                engine(**bad)
    with pytest.raises(ArgumentError, match="doublings"):
        NUTS(doublings=0)
    for bad in ({"leaps": 0}, {"jitter": 1.0}):
        with pytest.raises(ArgumentError, match="jitter"):
            HMC(**bad)
    assert ug.NUTS is NUTS and ug.HMC is HMC
