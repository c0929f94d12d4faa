"""A program is an ordinary Pyro model and an ordinary module: SVI, Predictive, NUTS, handlers, copies, parts."""

from __future__ import annotations

import copy
import io
import itertools
import pickle

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.infer import (
    MCMC,
    NUTS,
    SVI,
    Predictive,
    RenyiELBO,
    Trace_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)
from torch import nn

from tests.programs import Conditional, Nested, SharedMean, Switch, Toy
from unigen.errors import ArgumentError, NoDensityError, SiteError
from unigen.logprob import Kind
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.objectives.elbo import ELBO
from unigen.program import Program


class Energy(dist.Normal):
    """A normal that says it is unnormalised."""

    kind = Kind.UNNORMALISED
    label = "Energy"


def tiny_vae(**options) -> VAE:
    return VAE(3, 2, hidden=(8,), **options)


def state(program: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in program.state_dict().items()}


def changed(before: dict[str, torch.Tensor], program: nn.Module) -> dict[str, bool]:
    return {name: not torch.equal(before[name], value) for name, value in program.named_parameters()}


def fit(program: Program, x: torch.Tensor, steps: int = 3) -> None:
    loss = (program.objective or ELBO()).players(program)[0].loss
    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(x).backward()
        optimiser.step()


# -- Pyro's inference ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [Trace_ELBO, TraceMeanField_ELBO, TraceGraph_ELBO, RenyiELBO])
@pytest.mark.parametrize("make", [tiny_vae, lambda: PPCA(3, 2), lambda: tiny_vae(prior=PPCA(2, 1))])
def test_plain_svi_trains_every_parameter(make, estimator):
    program, x = make(), torch.randn(6, 3)
    before = state(program)
    svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-2}), estimator())
    for _ in range(2):
        assert torch.isfinite(torch.tensor(svi.step(x)))
    assert all(changed(before, program).values()), changed(before, program)


def test_svi_descends():
    program, x = PPCA(3, 1), torch.randn(200, 3) * torch.tensor([3.0, 1, 1]) + 2
    svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 5e-2}), Trace_ELBO())
    losses = [svi.step(x) for _ in range(300)]
    best = PPCA(3, 1)
    best.solve(x)
    assert losses[-1] / 200 == pytest.approx(-best.log_prob(x).mean().value, abs=0.05)


def test_svi_of_a_nested_plate_a_discrete_latent_and_an_automatic_guide():
    for program, x in (
        (Nested(), torch.randn(4, 3)),
        (Switch(), torch.randn(4, 1)),
        (SharedMean(), torch.randn(4, 1)),
    ):
        before = state(program)
        estimator = TraceGraph_ELBO() if isinstance(program, Switch) else Trace_ELBO()
        svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-2}), estimator)
        for _ in range(3):
            svi.step(x)
        assert all(changed(before, program).values()), program.name


def test_two_instances_share_nothing():
    one, two = tiny_vae(), tiny_vae()
    assert one._pyro_name != two._pyro_name
    x, before = torch.randn(5, 3), state(two)
    for program in (one, two):
        svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
        untouched = state(two) if program is one else None
        svi.step(x)
        if untouched is not None:
            assert not any(changed(untouched, two).values())
    assert all(changed(before, two).values())
    names = set(pyro.get_param_store().keys())
    assert len(names) == len(list(one.parameters())) + len(list(two.parameters()))


def test_minibatches_are_scaled_under_svi():
    program, x = PPCA(3, 1), torch.randn(40, 3)
    full = Trace_ELBO().loss(program.model, program.guide, x)
    assert full == pytest.approx(-program.log_prob(x).value.sum().item(), rel=1e-4)  # the guide is exact
    program.data_size = 40
    parts = [Trace_ELBO().loss(program.model, program.guide, x[i : i + 8]) for i in range(0, 40, 8)]
    assert sum(parts) / 5 == pytest.approx(full, rel=1e-4)
    assert ELBO().players(program)[0].loss(x[:8]).item() == pytest.approx(
        -program.log_prob(x[:8]).mean().value, rel=1e-4
    )


@pytest.mark.parametrize("fitted", [False, True])
def test_predictive(fitted):
    program, x = tiny_vae(), torch.randn(5, 3)
    if fitted:
        fit(program, x)
    prior = Predictive(program.model, num_samples=7)(None, None, 4)
    assert prior["x"].shape == (7, 4, 3) and prior["z"].shape == (7, 4, 2)
    posterior = Predictive(program.guide, num_samples=7)(x)
    assert posterior["z"].shape == (7, 5, 2)
    replicated = Predictive(lambda *_: program.model(None, None, 5), guide=program.guide, num_samples=7)(x)
    assert replicated["x"].shape == (7, 5, 3)
    parallel = Predictive(program.model, num_samples=7, parallel=True)(None, None, 4)
    assert parallel["x"].shape == (7, 4, 3)


def test_nuts_on_a_shared_latent():
    """x_i ~ N(θ, 1), θ ~ N(0, 1): the posterior is N(Σx/(N+1), 1/(N+1))."""

    class Mean(Program):
        def model(self, x=None, n=1):
            theta = pyro.sample("theta", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            with self.plate(x, n):
                return pyro.sample("x", dist.Normal(theta, 1.0).to_event(1), obs=x)

    program, x = Mean(), torch.full((9, 1), 1.5)
    mcmc = MCMC(NUTS(program.model), num_samples=300, warmup_steps=100, disable_progbar=True)
    mcmc.run(x)
    draws = mcmc.get_samples()["theta"][:, 0]
    assert (
        abs(draws.mean().item() - 1.35) < 5 * (0.1 / 60) ** 0.5
    )  # at least 60 effective draws of variance 1/10
    assert 0.05 < draws.var().item() < 0.2


def test_nuts_on_a_program_with_parameters():
    program = PPCA(3, 1)
    mcmc = MCMC(NUTS(program.model), num_samples=5, warmup_steps=5, disable_progbar=True)
    mcmc.run(program.sample(4, seed=0))
    assert mcmc.get_samples()["z"].shape == (5, 4, 1)


# -- handlers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fitted", [False, True])
def test_handlers_run_unchanged(fitted):
    program, x = tiny_vae(), torch.randn(5, 3)
    if fitted:
        fit(program, x)
    trace = poutine.trace(program.model).get_trace(x)
    assert trace.nodes["x"]["is_observed"] and torch.equal(trace.nodes["x"]["value"], x)
    assert {n["name"].split(".", 1)[1] for n in trace.nodes.values() if n["type"] == "param"} == {
        name for name, _ in program.named_parameters()
    }
    z = torch.zeros(5, 2)
    conditioned = poutine.trace(poutine.condition(program.model, data={"z": z})).get_trace(x)
    assert torch.equal(conditioned.nodes["z"]["value"], z)
    q = poutine.trace(program.guide).get_trace(x)
    replayed = poutine.trace(poutine.replay(program.model, trace=q)).get_trace(x)
    assert torch.equal(replayed.nodes["z"]["value"], q.nodes["z"]["value"])
    hidden = poutine.trace(poutine.block(program.model, hide=["z"])).get_trace(x)
    assert "z" not in hidden.nodes and "x" in hidden.nodes
    base = trace_sum(program.model, x, z)
    assert trace_sum(poutine.scale(program.model, scale=2.0), x, z).item() == pytest.approx(
        2 * base.item(), rel=1e-5
    )
    assert trace_sum(poutine.mask(program.model, mask=torch.tensor(False)), x, z).item() == 0.0
    half = poutine.mask(program.model, mask=torch.tensor([True, False, True, False, False]))
    assert trace_sum(half, x, z).item() == pytest.approx(
        trace_sum(program.model, x[[0, 2]], z[[0, 2]]).item(), rel=1e-4
    )
    seeded = poutine.seed(program.model, rng_seed=3)
    assert torch.equal(seeded(None, None, 4), seeded(None, None, 4))


def trace_sum(model, x, z):
    return poutine.trace(poutine.condition(model, data={"z": z})).get_trace(x).log_prob_sum()


def test_do_and_lift_and_substitute():
    program = tiny_vae()
    intervened = poutine.do(program.model, data={"z": torch.ones(4, 2)})(None, None, 4)
    assert intervened.shape == (4, 3)


# -- names, copies, pickles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch"])
def test_a_copy_is_equal_independent_and_newly_named(how):
    program = tiny_vae(prior=PPCA(2, 1))
    x = torch.randn(4, 3)
    SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO()).step(x)
    if how == "deepcopy":
        twin = copy.deepcopy(program)
    elif how == "pickle":
        twin = pickle.loads(pickle.dumps(program))
    else:
        buffer = io.BytesIO()
        torch.save(program, buffer)
        buffer.seek(0)
        twin = torch.load(buffer, weights_only=False)
    assert twin._pyro_name != program._pyro_name
    assert twin.prior._pyro_name != program.prior._pyro_name
    for (name, a), (other, b) in zip(program.named_parameters(), twin.named_parameters(), strict=True):
        assert name == other and torch.equal(a, b) and a is not b
    before = state(program)
    svi = SVI(twin.model, twin.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    svi.step(x)
    assert not any(changed(before, program).values())
    assert all(changed(before, twin).values())
    assert torch.equal(twin.sample(3, seed=0).isfinite(), torch.ones(3, 3, dtype=torch.bool))


def test_a_copy_keeps_its_supports_and_its_analytic_terms():
    """A copied constraint is equal to none: comparisons by identity would change what the copy computes."""
    program = SharedMean()
    twin = copy.deepcopy(program)
    assert twin.structure.observed.support.base_constraint is torch.distributions.constraints.real
    x = torch.randn(4, 1)
    torch.manual_seed(0)
    ours = ELBO().players(program)[0].loss(x)
    torch.manual_seed(0)
    assert torch.equal(ELBO().players(twin)[0].loss(x), ours)


def test_state_dict_round_trip():
    one, two = tiny_vae(), tiny_vae()
    two.load_state_dict(one.state_dict())
    x = torch.randn(3, 3)
    assert torch.equal(one.encode(x), two.encode(x))
    assert torch.equal(one.sample(4, seed=1), two.sample(4, seed=1))


def test_loaded_parameters_are_used_after_svi():
    """Pyro's store must not bring the old values back."""
    program, x = tiny_vae(), torch.randn(4, 3)
    svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    svi.step(x)
    program.load_state_dict({k: torch.zeros_like(v) for k, v in program.state_dict().items()})
    before = state(program)
    poutine.trace(program.model).get_trace(x)
    assert not any(changed(before, program).values())
    svi.step(x)
    assert any(changed(before, program).values())


def test_to_double_and_back():
    program = tiny_vae().double()
    assert program.dtype is torch.float64
    assert program.sample(2).dtype is torch.float64
    assert program.log_prob(torch.randn(2, 3)).value.dtype is torch.float64


def test_frozen_parameters_are_not_announced():
    program = tiny_vae()
    for p in program.decoder.parameters():
        p.requires_grad_(False)
    before = state(program)
    SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO()).step(torch.randn(4, 3))
    moved = changed(before, program)
    assert not any(v for k, v in moved.items() if k.startswith("decoder"))
    assert all(v for k, v in moved.items() if k.startswith("encoder"))


# -- declaration ---------------------------------------------------------------------------------------------


def test_event_shape_is_found_and_methods_declare_what_they_need():
    program = SharedMean()
    assert program.event_shape == (1,)
    assert program.sample(3).shape == (3, 1)
    assert Toy().event_shape == (1,) and Conditional().event_shape == (2,)


def test_automatic_guide():
    program = SharedMean()
    assert program.automatic_guide is not None and not program.has_own_guide
    assert Toy().has_own_guide and "automatic_guide" not in Toy()._modules
    assert Conditional().automatic_guide is None
    fit(program, torch.randn(10, 1))
    program.check()


class Discrete(Program):
    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Categorical(torch.ones(2)))
            return pyro.sample("x", dist.Normal(z.float()[..., None], 1.0).to_event(1), obs=x)


class Bounded(Program):
    """Latents on the interval, the simplex and the positive reals."""

    def model(self, x=None, n=1):
        with self.plate(x, n):
            u = pyro.sample("u", dist.Beta(2.0, 2.0))
            s = pyro.sample("s", dist.Dirichlet(torch.ones(3)))
            t = pyro.sample("t", dist.Gamma(torch.ones(2), torch.ones(2)).to_event(1))
            return pyro.sample(
                "x", dist.Normal(s * u[..., None] + t.sum(-1, keepdim=True), 1.0).to_event(1), obs=x
            )


def test_the_automatic_guide_meets_supports():
    program, x = Bounded(), torch.randn(4, 3)
    program.check()
    fit(program, x)
    loss = ELBO(samples=3).players(program)[0].loss(x)
    assert torch.isfinite(loss)
    draws = Predictive(program.guide, num_samples=20)(x)
    assert ((draws["u"] > 0) & (draws["u"] < 1)).all() and (draws["t"] > 0).all()
    assert torch.allclose(draws["s"].sum(-1), torch.ones(20, 4), atol=1e-5)


def test_no_automatic_guide_for_a_discrete_latent():
    with pytest.raises(SiteError, match="write a guide, or sum the site out"):
        Discrete()


def test_refuses_a_negative_context():
    with pytest.raises(ArgumentError):
        Conditional(context=-1)


def test_formula_and_repr():
    assert tiny_vae().formula == "p(x, z) = p(x | z) p(z);  q(z | x)"
    assert Conditional().formula == "p(x | c)"
    assert "x: (3,)  z: (2,)" in repr(tiny_vae())
    assert "p_PPCA(z)" in tiny_vae(prior=PPCA(2, 1)).formula or "p(z)" in tiny_vae(prior=PPCA(2, 1)).formula


# -- parts and kinds -----------------------------------------------------------------------------------------


def test_a_program_stands_as_a_part():
    for prior, kind in (
        (PPCA(2, 1), Kind.LOWER_BOUND),
        (GaussianMixture(2, 3), Kind.LOWER_BOUND),
        (tiny_vae_2(), Kind.LOWER_BOUND),
    ):
        vae, x = tiny_vae(prior=prior), torch.randn(5, 3)
        log_p = vae.log_prob(x)
        assert log_p.kind is kind is vae.kind
        assert log_p.value.shape == (5,) and log_p.value.isfinite().all()
        vae.objective.players(vae)[0].loss(x).backward()
        missing = [name for name, p in vae.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
        assert not missing
        assert vae.sample(4, seed=0).shape == (4, 3)


def tiny_vae_2() -> VAE:
    return VAE(2, 1, hidden=(4,))


def test_kinds_compose():
    """A VAE with an unnormalised prior is unnormalised, and says so before and after the query."""
    vae = tiny_vae(prior=Energy(torch.zeros(2), torch.ones(2)).to_event(1))
    assert vae.log_prob(torch.randn(4, 3)).kind is Kind.UNNORMALISED
    assert vae.kind is Kind.UNNORMALISED
    outer = VAE(4, 3, hidden=(4,), prior=vae)
    assert outer.log_prob(torch.randn(2, 4)).kind is Kind.UNNORMALISED
    assert outer.kind is Kind.UNNORMALISED


def test_a_part_drawn_inside_the_plate_of_another():
    vae = tiny_vae(prior=tiny_vae_2())
    with pyro.plate("data", 6, dim=-1):
        z = pyro.sample("z", vae.prior.distribution())
    assert z.shape == (6, 2)


def test_marginal_is_refused_where_there_is_none():
    with pytest.raises(NoDensityError, match="log_prob gives a bound"):
        tiny_vae().marginal()
    assert not tiny_vae().has_marginal and PPCA(3, 1).has_marginal


def test_names_are_unique_under_any_order_of_construction():
    names = [make()._pyro_name for make in itertools.islice(itertools.cycle([tiny_vae, Toy]), 10)]
    assert len(set(names)) == 10


def test_a_forgotten_observation_is_an_error_and_not_a_number():
    import unigen as ug
    from unigen.errors import SiteError

    class Forgotten(ug.Program):
        def model(self, x=None, n=1):
            with self.plate(x, n):
                z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
                return pyro.sample("x", dist.Normal(z, 1.0).to_event(1))

    program = Forgotten()
    with pytest.raises(SiteError, match="obs=x"):
        program.log_prob(torch.zeros(3, 1))
    with pytest.raises(SiteError, match="obs=x"):
        ug.fit(program, torch.zeros(3, 1), steps=1)


def test_a_declared_event_shape_that_the_model_does_not_have_is_refused():
    import unigen as ug
    from unigen.errors import ArgumentError, ShapeError

    class Wrong(ug.Program):
        def __init__(self):
            super().__init__((7,))

        def model(self, x=None, n=1):
            with self.plate(x, n):
                return pyro.sample("x", dist.Normal(torch.zeros(5), 1.0).to_event(1), obs=x)

    with pytest.raises(ShapeError, match="declares"):
        Wrong()
    with pytest.raises(ArgumentError, match="an instance"):
        ug.VAE(4, 2, prior=ug.NSF)
