"""Programs from two plain functions: the same numbers as the class written out, and nothing left in Pyro's store."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.infer import SVI, Trace_ELBO
from torch import nn
from torch.distributions import constraints

from tests.problems import toy_evidence
from unigen.densities.importance import Importance
from unigen.errors import ArgumentError, SiteError
from unigen.inference.fit import fit
from unigen.logprob import Kind
from unigen.models.function import from_functions
from unigen.objectives.likelihood import MaximumLikelihood


def toy(x=None, n=1):
    with pyro.plate("data", n if x is None else x.shape[0], dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def exact_guide(x):
    with pyro.plate("data", x.shape[0], dim=-1):
        pyro.sample("z", dist.Normal(x / 2, 0.5**0.5).to_event(1))


def normal(x=None, n=1):
    loc = pyro.param("loc", torch.zeros(2))
    scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    with pyro.plate("data", n if x is None else x.shape[0], dim=-1):
        return pyro.sample("x", dist.Normal(loc, scale).to_event(1), obs=x)


def test_the_toy_with_its_exact_guide():
    program = from_functions(toy, exact_guide)
    assert program.formula == "p(x, z) = p(x | z) p(z);  q(z | x)" and program.has_own_guide
    scored = program.log_prob(torch.ones(3, 1), density=Importance(2))
    assert scored.kind is Kind.LOWER_BOUND
    assert scored.value.tolist() == pytest.approx(
        [toy_evidence()] * 3, abs=1e-5
    )  # any draw: the guide is exact
    assert torch.allclose(program.encode(torch.ones(1, 1)), torch.full((1, 1), 0.5))


def test_pyro_params_become_parameters_and_the_fit_is_the_sample_moments():
    program, x = from_functions(normal, objective=MaximumLikelihood()), torch.randn(64, 2) * 2 + 1
    assert {name: tuple(p.shape) for name, p in program.named_parameters()} == {
        "weights.loc": (2,), "weights.scale": (1,),  # no 0-d parameters
    }  # fmt: skip
    fit(program, x, steps=400, batch_size=64, lr=0.05, seed=0)
    assert torch.allclose(program.weights["loc"], x.mean(0), atol=0.05)
    sigma = (x - x.mean(0)).square().mean().sqrt()
    assert program.weights["scale"].exp().item() == pytest.approx(sigma.item(), rel=0.02)
    expected = dist.Normal(program.weights["loc"], program.weights["scale"].exp()).to_event(1).log_prob(x)
    assert torch.allclose(program.log_prob(x).value, expected, atol=1e-5)
    assert not list(pyro.get_param_store().keys())


def test_two_programs_of_one_function_share_nothing():
    one, two = from_functions(normal), from_functions(normal)
    with torch.no_grad():
        one.weights["loc"].fill_(5.0)
    assert two.weights["loc"].abs().max() == 0


def test_networks_are_found_and_trained():
    net = nn.Linear(1, 2)

    def model(x=None, n=1):
        pyro.module("net", net)
        with pyro.plate("data", n if x is None else x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(net(z), 1.0).to_event(1), obs=x)

    program = from_functions(model)
    names = {name for name, _ in program.named_parameters()}
    assert {"parts.net.weight", "parts.net.bias"} <= names
    before = net.weight.detach().clone()
    fit(program, torch.randn(8, 2), steps=2, seed=0)
    assert not torch.equal(before, net.weight)
    explicit = from_functions(model, modules={"decoder": net})
    assert "parts.decoder.weight" in dict(explicit.named_parameters())


def test_a_model_without_n_draws_once_its_shape_is_known():
    def model(x):
        with pyro.plate("data", x.shape[0], dim=-1):
            return pyro.sample("x", dist.Normal(torch.full((2,), 3.0), 0.1).to_event(1), obs=x)

    with pytest.raises(ArgumentError, match="event_shape"):
        from_functions(model).sample(2)
    x = from_functions(model, event_shape=(2,)).sample(50)
    assert x.shape == (50, 2) and abs(x.mean().item() - 3) < 5 * 0.1 / 10


def test_contexts_reach_the_functions():
    def model(x=None, context=None, n=1):
        with pyro.plate("data", n if x is None else x.shape[0], dim=-1):
            return pyro.sample("x", dist.Normal(context, 1.0).to_event(1), obs=x)

    program, c = from_functions(model, context=2), torch.randn(4, 2)
    x = torch.randn(4, 2)
    expected = dist.Normal(c, 1.0).to_event(1).log_prob(x)
    assert torch.allclose(program.log_prob(x, c).value, expected)


def test_bad_functions_are_refused():
    def two_latents(x):
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))
            pyro.sample("extra", dist.Normal(x, 1.0).to_event(1))

    def unset(x=None, n=1):
        loc = pyro.param("loc")
        with pyro.plate("data", n if x is None else x.shape[0], dim=-1):
            return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    with pytest.raises(SiteError):
        from_functions(toy, two_latents)
    with pytest.raises(SiteError):
        from_functions(lambda n=1: pyro.sample("y", dist.Normal(torch.zeros(n), 1.0)))
    with pytest.raises(ArgumentError, match="before it has an initial value"):
        from_functions(unset)


def test_it_runs_under_plain_svi():
    net = nn.Linear(1, 2)

    def network(x=None, n=1):
        pyro.module("net", net)
        with pyro.plate("data", n if x is None else x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(net(z), 1.0).to_event(1), obs=x)

    for function in (normal, network):
        program, x = from_functions(function), torch.randn(32, 2) + 3
        before = {name: p.detach().clone() for name, p in program.named_parameters()}
        svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
        losses = [svi.step(x) for _ in range(60)]
        assert losses[-1] < losses[0]
        assert not any(torch.equal(before[name], p) for name, p in program.named_parameters())
        assert len(list(pyro.get_param_store().keys())) == len(before)
        pyro.clear_param_store()
