"""Priors over parameters against the program with those parameters written in."""

from __future__ import annotations

import copy

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal
from pyro.optim import Adam

import unigen as ug
from unigen.errors import ArgumentError, ShapeError
from unigen.models.bayesian import bayesian, with_parameters
from unigen.traces import log_joint


def ppca():
    return ug.PPCA(features=3, latents=2).double()


def test_joint_density_is_prior_plus_likelihood():
    program, x = ppca(), torch.randn(6, 3).double()
    model = bayesian(program, {"weight": dist.Normal(0.0, 2.0), "log_variance": dist.Normal(0.0, 1.0)})
    weight, log_variance = torch.randn(3, 2).double(), torch.randn(1).double()
    value = log_joint(lambda: model.model(x, None, 6), {"weight": weight, "log_variance": log_variance})
    with torch.no_grad():
        program.weight.copy_(weight)
        program.log_variance.copy_(log_variance)
    one = torch.ones(()).double()
    prior = (
        dist.Normal(0 * one, 2 * one).log_prob(weight).sum()
        + dist.Normal(0.0, 1.0).log_prob(log_variance).sum()
    )
    torch.testing.assert_close(value, prior + program.log_prob(x).value.sum(), atol=1e-10, rtol=0)


def test_the_program_itself_stays_as_it_is():
    program = ppca()
    before = {name: value.clone() for name, value in program.state_dict().items()}
    model = bayesian(program, {"*": dist.Normal(0.0, 1.0)})
    ug.fit(model, torch.randn(20, 3), steps=3)
    assert all(torch.equal(before[name], value) for name, value in program.state_dict().items())
    assert all(p.requires_grad for p in program.parameters())
    with with_parameters(program, {"mean": torch.ones(3).double()}):
        assert float(program.mean.sum()) == 3.0
    assert float(program.mean.detach().sum()) == 0.0


def test_mean_field_finds_the_conjugate_posterior():
    """μ ~ N(0, 1), x ~ N(μ, C): posterior mean (I + N C⁻¹)⁻¹ N C⁻¹ x̄; the guide's mean tends to it."""
    program = ppca()
    x = torch.randn(50, 3).double() + torch.tensor([1.0, 0.0, -1.0])
    model = bayesian(program, {"mean": dist.Normal(0.0, 1.0)})
    for parameter in model.program.parameters():
        parameter.requires_grad_(False)
    precision = torch.linalg.inv(program.weight @ program.weight.T + program.variance * torch.eye(3)).detach()
    exact = torch.linalg.solve(torch.eye(3) + 50 * precision, 50 * precision @ x.mean(0))
    ug.fit(model, x, steps=1500, batch_size=50, lr=2e-2, schedule=ug.Cosine(), seed=0)
    found = model.posterior_of_parameters.loc["mean"].detach()
    torch.testing.assert_close(found, exact, atol=0.05, rtol=0)


def test_a_program_with_latents_of_its_own_keeps_its_guide():
    model = bayesian(ug.VAE(features=3, latents=1, hidden=(8,)), {"decoder.*": dist.Normal(0.0, 1.0)})
    names = [site.name for site in model.structure.latents]
    assert names[-1] == "z" and names[0].startswith("decoder.")
    record = ug.fit(model, torch.randn(20, 3), steps=3)
    assert all(value == value for _, value in record.history["elbo"])


def test_bad_priors_are_refused():
    with pytest.raises(ArgumentError, match="no parameter"):
        bayesian(ppca(), {"weigth": dist.Normal(0.0, 1.0)})
    with pytest.raises(ArgumentError, match="no priors"):
        bayesian(ppca(), {})
    with pytest.raises(ShapeError, match="shape of the parameter"):
        bayesian(ppca(), {"weight": dist.Normal(torch.zeros(4), 1.0)})
    whole = dist.MultivariateNormal(torch.zeros(3), torch.eye(3))
    assert bayesian(ppca(), {"mean": whole}).priors["mean"].event_shape == (3,)


def test_priors_move_with_the_program():
    """Another dtype is what a test without an accelerator can see; "meta" shows that no prior stays behind."""
    model = bayesian(ug.PPCA(features=3, latents=2), {"*": dist.Normal(torch.zeros(()), 1.0)})
    assert model.priors["weight"].sample().dtype == torch.float32
    model.double()
    for prior in model.priors.values():
        assert prior.sample().dtype == torch.float64
    assert model.sample(2).dtype == torch.float64
    model.to("meta")
    assert {prior.base_dist.loc.device.type for prior in model.priors.values()} == {"meta"}


def test_priors_start_on_the_device_and_in_the_dtype_of_the_program():
    model = bayesian(ppca(), {"mean": dist.MultivariateNormal(torch.zeros(3), torch.eye(3))})
    assert model.priors["mean"].sample().dtype == torch.float64
    model.float()
    assert model.priors["mean"].sample().dtype == torch.float32
    assert copy.deepcopy(model).double().priors["mean"].sample().dtype == torch.float64
    assert model.priors["mean"].sample().dtype == torch.float32


@pytest.mark.device
def test_everything_runs_on_an_accelerator():
    model = bayesian(ug.PPCA(features=3, latents=2), {"mean": dist.Normal(0.0, 1.0)}).cuda()
    x = torch.randn(20, 3)
    for engine in (
        ug.NUTS(chains=3, draws=10, warmup=10, compile=False),
        ug.HMC(chains=3, draws=10, warmup=10, compile=False),
        ug.Variational("multivariate", draws=10, steps=10),
        ug.Laplace(draws=10),
    ):
        draws = ug.infer(model, x, engine=engine, seed=0)
        assert draws["mean"].device.type == "cuda" and bool(draws["mean"].isfinite().all())
        assert draws.sample(4, seed=0).device.type == "cuda"
        assert bool(draws.log_prob(x).value.isfinite().all())
        ug.to_arviz(draws, samples=2)


def test_pyros_autoguides_run_on_the_program_as_it_is():
    """Plain SVI from zero, ten posterior standard deviations away, comes within two in a few steps."""
    x = torch.randn(30, 2).double() + 3
    model = bayesian(ug.PPCA(features=2, latents=1).double(), {"mean": dist.Normal(0.0, 3.0)})
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    guide = AutoMultivariateNormal(model.model, init_scale=0.1)
    svi = SVI(model.model, guide, Adam({"lr": 0.2}), Trace_ELBO())
    for _ in range(60):
        svi.step(x)
    exact = ug.infer(model, x, engine=ug.Laplace(draws=500), seed=0)["mean"][0]
    away = (guide.get_posterior().mean.detach() - exact.mean(0)) / exact.std(0)
    assert away.abs().max() < 2 and (exact.mean(0) / exact.std(0)).abs().min() > 5
