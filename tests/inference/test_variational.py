"""Variational engines against conjugate posteriors, closed-form evidences, and Pyro's own autoguides."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoLaplaceApproximation

import unigen as ug
from benchmarks.conjugate import PROGRAMS, Coin, Mean, Rate, Regression, simulated
from tests.programs import SharedMean
from unigen.errors import ArgumentError, DivergedError, NoDensityError, UnsupportedQueryError
from unigen.inference.infer import infer, infer_each
from unigen.inference.variational import Laplace, Variational

S = 6000  # independent draws: z-tests find 0.1 sd in means with probability .99, as 7.33 / √S < 0.1
EXACT = {
    "laplace": Laplace(draws=S),
    "multivariate": Variational("multivariate", draws=S, steps=600, lr=0.1),
    "lowrank": Variational("lowrank", draws=S, steps=900, lr=0.05),
}


def seed() -> int:
    return int(torch.randint(9999, ()))


def check_draws(draws, exact):
    assert 7.33 / S**0.5 < 0.1
    unit = (draws[exact.site][0] - exact.mean) / exact.sd
    assert (unit.mean(0) * S**0.5).abs().max() < 5
    assert ((unit.square().mean(0) - 1) * (S / 2) ** 0.5).abs().max() < 5


@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("family", [Mean, Regression])
def test_gaussian_posteriors_are_found_exactly(family, engine):
    """Where q is the posterior every weight is p(x), so one draw gives the evidence."""
    program = family().double()
    x = simulated(program, 12)
    exact = program.exact(*x)
    draws = infer(program, *x, engine=EXACT[engine], seed=seed())
    check_draws(draws, exact)
    assert draws.log_weights.std() < 1e-3
    assert float(draws.log_evidence.value) == pytest.approx(exact.evidence, abs=1e-3)


def test_the_mean_field_has_the_exact_mean_and_the_inverse_diagonal_of_the_precision():
    """argmin KL(q ‖ N(m, Λ⁻¹)) over diagonal q is N(m, 1/Λ_ii): too narrow, and known how much."""
    program = Regression().double()
    x, context = simulated(program, 12)
    exact = program.exact(x, context)
    draws = infer(
        program, x, context, engine=Variational("diagonal", draws=S, steps=900, particles=400), seed=seed()
    )
    precision = torch.linalg.inv(program.moments(x, context)[1]).diagonal()
    sd = precision**-0.5
    unit = (draws["w"][0] - exact.mean) / sd
    assert unit.mean(0).abs().max() < 5 / S**0.5 + 0.1  # .1: what is left of the optimiser's noise
    assert (unit.std(0) - 1).abs().max() < 5 / (2 * S) ** 0.5 + 0.05
    assert bool((sd <= exact.sd + 1e-12).all())


@pytest.mark.parametrize("family", [Coin, Rate])
def test_weights_correct_a_gaussian_on_the_reals(family):
    """The evidence by weighted draws of Laplace's Gaussian; it is a lower bound in expectation, by Var(w)/2S."""
    program = family().double()
    (x,) = simulated(program, 12)
    evidence = infer(program, x, engine=Laplace(draws=S), seed=seed()).log_evidence
    assert evidence.stderr is not None and float(evidence.stderr) < 0.02
    assert abs(float(evidence.value) - program.exact(x).evidence) < 5 * float(evidence.stderr)
    assert str(evidence.kind) == "lower bound"


@pytest.mark.parametrize("family", PROGRAMS, ids=lambda family: family.__name__)
def test_a_flow_comes_closer_than_a_gaussian(family):
    program = family().double()
    x = simulated(program, 4)
    exact = program.exact(*x)
    flow = infer(
        program, *x, engine=Variational("flow", draws=2000, steps=250, lr=0.02, compile=False), seed=seed()
    )
    evidence = flow.log_evidence
    assert abs(float(evidence.value) - exact.evidence) < 5 * float(evidence.stderr) + 0.02
    elbo, error = float(flow.log_weights.mean()), float(flow.log_weights.std()) / 2000**0.5
    assert exact.evidence - 0.2 < elbo < exact.evidence + 5 * error + 1e-6


def test_laplace_is_pyros():
    """Mode and covariance on the reals, against AutoLaplaceApproximation at the same mode."""
    program = Rate().double()
    (x,) = simulated(program, 6)
    draws = infer(program, x, engine=Laplace(draws=200_000), seed=seed())
    log = draws["rate"].log()
    guide = AutoLaplaceApproximation(lambda: program.model(x))
    guide()
    with torch.no_grad():
        guide.loc.copy_(((2 + x.sum()) / 7).log())  # the mode of log λ: λ = a / b
    exact = guide.laplace_approximation().get_posterior()
    assert abs(float(log.mean() - exact.mean)) < 5 * float(exact.stddev) / 200_000**0.5
    assert float(log.std() / exact.stddev) == pytest.approx(1.0, abs=5 / (2 * 200_000) ** 0.5)


def test_laplace_finds_a_mode_far_away():
    program = Mean().double()
    draws = infer(program, torch.full((4, 1), 1e4).double(), engine=Laplace(draws=10))
    expected = 4e4 / 2.25 / (0.25 + 4 / 2.25)
    assert float(draws["mu"].mean()) == pytest.approx(expected, rel=1e-3)


def test_any_program_with_a_density_may_be_the_guide():
    program = Mean().double()
    (x,) = simulated(program, 5)
    engine = Variational(lambda d: ug.GaussianMixture(features=d, components=2), steps=2)
    with pytest.raises(NoDensityError, match="draws with gradients"):
        infer(program, x, engine=engine)
    engine = Variational(
        lambda d: ug.NICE(features=d, transforms=1, hidden=(4,)), steps=60, lr=0.05, draws=500
    )
    draws = infer(program, x, engine=engine, seed=seed())
    assert math.isfinite(float(draws.log_evidence.value)) and draws["mu"].shape == (1, 500, 1)


@pytest.mark.parametrize(
    "engine", [Laplace(draws=40), Variational("multivariate", draws=40, steps=600, lr=0.1)]
)
def test_many_data_sets_are_as_many_problems(engine):
    """Each of them gets its own posterior, whatever stands beside it."""
    program = Regression().double()
    data = [simulated(program, 6) for _ in range(5)]
    context = data[0][1]
    draws = infer_each(program, torch.stack([x for x, _ in data]), context, engine=engine, seed=1)
    assert draws["w"].shape == (5, 40, 3)
    for i, (x, _) in enumerate(data):
        exact = program.exact(x, context)
        assert float(draws.log_evidence.value[i]) == pytest.approx(exact.evidence, abs=0.02)


def test_latents_of_examples_are_drawn_too():
    program = SharedMean().double()
    draws = infer(program, torch.randn(4, 1), engine=Laplace(draws=30), seed=0)
    assert draws["theta"].shape == (1, 30, 1) and draws["z"].shape == (1, 30, 4, 1)
    assert draws.log_weights.std() < 1e-6  # all is Gaussian


def test_a_seed_reproduces_and_leaves_the_global_state():
    program = Mean().double()
    (x,) = simulated(program, 5)
    state = torch.get_rng_state()
    one, two = (
        infer(program, x, engine=Variational("lowrank", draws=5, steps=5), seed=2)["mu"] for _ in range(2)
    )
    assert torch.equal(one, two) and torch.equal(state, torch.get_rng_state())


class Line(ug.Program):
    """θ on a line without end: no mode, and no curvature."""

    def model(self, x=None, n=1):
        import pyro

        theta = pyro.sample("theta", dist.Normal(torch.zeros(1), 1.0).mask(False).to_event(1))
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(theta.exp() * 0, 1.0).to_event(1), obs=x)


def test_bad_settings_and_densities_are_refused():
    with pytest.raises(ArgumentError, match="multivariate"):
        Variational("gaussian")
    with pytest.raises(ArgumentError, match="Laplace"):
        Variational("laplace")
    for bad in ({"draws": 0}, {"steps": 0}, {"particles": 0}, {"lr": 0.0}):
        with pytest.raises(ArgumentError):
            Variational(**bad)
    with pytest.raises(ArgumentError, match="draws"):
        Laplace(draws=0)
    with pytest.raises(DivergedError, match="curvature"):
        infer(Line(), torch.zeros(3, 1), engine=Laplace())
    x = torch.ones(3, 1)
    with pytest.raises(DivergedError, match="non-finite"):
        infer(Mean(), x, engine=Variational("diagonal", lr=1e30, steps=50, draws=5), seed=0)
    chains = infer(Mean(), x, engine=ug.NUTS(chains=1, draws=2, warmup=2, compile=False))
    with pytest.raises(UnsupportedQueryError, match="importance weights"):
        _ = chains.log_weights
    with pytest.raises(ArgumentError, match="Gaussian family"):
        infer_each(Mean(), torch.zeros(2, 3, 1), engine=Variational("flow", steps=2))
