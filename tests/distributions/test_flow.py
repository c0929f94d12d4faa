"""Oracles: torch's closed-form transformed distributions; the laws of Pyro's plates and handlers."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch.distributions import constraints
from torch.distributions.transforms import AffineTransform, ExpTransform, StickBreakingTransform
from torch.fx.experimental.proxy_tensor import make_fx

from unigen.distributions.flow import FlowDistribution
from unigen.errors import ArgumentError, DTypeError, ShapeError, SupportError
from unigen.logprob import Kind
from unigen.models.flow import MAF, NSF, RealNVP


def coupling_affine(features, **options):
    return RealNVP(features, **options).flow


def coupling_spline(features, **options):
    return NSF(features, **options).flow


def autoregressive_spline(features, **options):
    return NSF(features, autoregressive=True, **options).flow


def masked_affine(features, **options):
    return MAF(features, **options).flow


BUILDERS = [coupling_affine, coupling_spline, autoregressive_spline, masked_affine]


def log_normal(batch=()):
    base = dist.Normal(torch.zeros(3).double(), torch.ones(3).double()).to_event(1).expand(batch)
    return FlowDistribution(ExpTransform().inv, base)


def test_log_normal_in_closed_form():
    p, x = log_normal(), torch.rand(7, 3, dtype=torch.float64) + 0.1
    oracle = dist.LogNormal(torch.zeros(3).double(), 1.0).to_event(1)
    torch.testing.assert_close(p.log_prob(x), oracle.log_prob(x), rtol=0, atol=1e-13)
    assert (p.event_shape, p.batch_shape, p.kind) == (torch.Size([3]), torch.Size(), Kind.EXACT)


def test_scalar_event_and_multivariate_base():
    p = FlowDistribution(AffineTransform(1.0, 2.0).inv, dist.Normal(0.0, 1.0))
    torch.testing.assert_close(
        p.log_prob(torch.tensor(0.3)), dist.Normal(1.0, 2.0).log_prob(torch.tensor(0.3))
    )
    cov = torch.tensor([[1.4, 0.8], [0.8, 1.2]])
    q = FlowDistribution(AffineTransform(1.0, 2.0).inv, dist.MultivariateNormal(torch.zeros(2), cov))
    x = torch.randn(5, 2)
    torch.testing.assert_close(q.log_prob(x), dist.MultivariateNormal(torch.ones(2), 4 * cov).log_prob(x))


def test_transform_that_changes_the_event_shape():
    simplex = StickBreakingTransform()  # R² → simplex in R³
    p = FlowDistribution(simplex.inv, dist.Normal(torch.zeros(2), 1.0).to_event(1))
    x = p.sample((4,))
    assert p.event_shape == (3,) and x.shape == (4, 3)
    oracle = dist.TransformedDistribution(dist.Normal(torch.zeros(2), 1.0).to_event(1), [simplex])
    torch.testing.assert_close(p.log_prob(x), oracle.log_prob(x), rtol=1e-4, atol=1e-4)


def test_expand_changes_the_batch_and_nothing_else():
    p, x = log_normal(), torch.rand(5, 3, dtype=torch.float64) + 0.1
    q = p.expand((2, 5))
    assert q.batch_shape == (2, 5) and q.event_shape == (3,) and q.sample((4,)).shape == (4, 2, 5, 3)
    assert torch.equal(q.log_prob(x), p.log_prob(x).expand(2, 5))
    assert q.transform is p.transform and q.support.event_dim == 1


def test_draws_carry_gradients_only_when_asked():
    flow = coupling_affine(3)
    assert flow().rsample((4,)).requires_grad and not flow().sample((4,)).requires_grad
    assert not FlowDistribution(AffineTransform(0.0, 2.0), dist.Poisson(3.0)).has_rsample


def test_no_cache_survives_a_parameter_update():
    flow = coupling_affine(3)
    p = flow()
    x = p.rsample((2,)).detach()
    before = p.log_prob(x)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1)
    assert not torch.allclose(flow().log_prob(x), before)


def test_bad_values_are_refused():
    flow = coupling_spline(3, support="unit")
    p = flow()
    with pytest.raises(ShapeError):
        p.log_prob(torch.zeros(5, 2))
    with pytest.raises(DTypeError):
        p.log_prob(torch.zeros(5, 3, dtype=torch.long))
    with pytest.raises(SupportError, match="1 of 5"):
        p.log_prob(torch.tensor([[0.5, 0.5, 1.5]]).expand(5, 3).clone().index_fill_(0, torch.arange(4), 0.5))
    with pytest.raises(ShapeError, match="broadcast"):
        p.expand((4,)).log_prob(torch.zeros(5, 3))
    with pytest.raises(SupportError):
        coupling_affine(3)().log_prob(torch.full((2, 3), float("nan")))


def test_a_map_that_is_no_bijection_is_refused():
    with pytest.raises(ArgumentError):
        FlowDistribution(torch.distributions.AbsTransform(), dist.Normal(0.0, 1.0))


def test_support_has_the_rank_of_the_event():
    assert log_normal().support.event_dim == 1
    unit = coupling_spline(2, support="unit")().support
    assert bool(unit.check(torch.tensor([0.0, 1.0]))) and not bool(unit.check(torch.tensor([0.5, 1.1])))
    assert constraints.is_dependent(unit) is False


@pytest.mark.parametrize("build", BUILDERS, ids=lambda b: b.__name__)
@pytest.mark.parametrize("context", [0, 2])
def test_under_plates_handlers_and_vectorised_particles(build, context):
    flow = build(3, context=context, hidden=(16,))
    c = torch.randn(6, context) if context else None

    def model():
        with pyro.plate("data", 6):
            return pyro.sample("z", flow(c))

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    z = trace.nodes["z"]["value"]
    assert z.shape == (6, 3) and trace.nodes["z"]["log_prob"].shape == (6,)
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], flow(c).log_prob(z))

    def particles():
        with pyro.plate("particles", 5, dim=-2):
            return model()

    wide = poutine.trace(particles).get_trace()
    wide.compute_log_prob()
    assert wide.nodes["z"]["value"].shape == (5, 6, 3) and wide.nodes["z"]["log_prob"].shape == (5, 6)
    again = poutine.trace(poutine.replay(model, trace=trace)).get_trace()
    assert torch.equal(again.nodes["z"]["value"], z)
    fixed = poutine.condition(model, data={"z": torch.zeros(6, 3)})()
    assert torch.equal(fixed, torch.zeros(6, 3))


def test_plain_svi_trains_a_flow_prior_and_a_flow_guide():
    prior, posterior = coupling_affine(2, hidden=(8,)), coupling_affine(2, hidden=(8,))

    def model():
        pyro.module("prior", prior)
        with pyro.plate("data", 4):
            pyro.sample("z", prior())

    def guide():
        pyro.module("posterior", posterior)
        with pyro.plate("data", 4):
            pyro.sample("z", posterior())

    svi = SVI(
        model, guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO(num_particles=8, vectorize_particles=True)
    )
    before = [p.clone() for p in [*prior.parameters(), *posterior.parameters()]]
    svi.step()
    moved = [
        not torch.equal(a, b)
        for a, b in zip(before, [*prior.parameters(), *posterior.parameters()], strict=True)
    ]
    assert all(moved)


@pytest.mark.parametrize(
    ("build", "support"),
    [
        (coupling_affine, "real"),
        (coupling_spline, "unit"),
        (autoregressive_spline, "real"),
        (masked_affine, "unit"),
    ],
)
def test_log_prob_and_draws_trace_with_a_symbolic_batch(build, support):
    flow = build(2, hidden=(8,), transforms=1, support=support)
    tensors = dict(flow.named_parameters()) | dict(flow.named_buffers())

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def forward(self, x):
            z = self.flow().expand((x.shape[0],)).rsample()
            return self.flow().expand((x.shape[0],)).log_prob(x), z

    def run(values, x):
        named = {f"flow.{name}": value for name, value in zip(tensors, values, strict=True)}
        value, z = torch.func.functional_call(Loss(), named, (x,))
        grads = torch.autograd.grad(value.mean(), [v for v in values if v.requires_grad])
        return value, z, grads

    with pyro.validation_enabled(False):
        graph = make_fx(run, tracing_mode="symbolic")(list(tensors.values()), torch.rand(5, 2))
    x = torch.rand(9, 2)
    value, z, grads = graph(list(tensors.values()), x)
    oracle = flow().log_prob(x)
    torch.testing.assert_close(value, oracle)
    assert z.shape == (9, 2)
    expected = torch.autograd.grad(oracle.mean(), list(flow.parameters()))
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_one_value_under_several_contexts():
    """x (N, D) under contexts (K, N, C), as in importance weighting over latents: as if x were repeated."""
    from unigen.models.flow import MAF, NSF, RealNVP

    x, c = torch.randn(5, 2), torch.randn(7, 5, 3)
    for flow in (RealNVP(2, context=3, transforms=2, hidden=(4,)), MAF(2, context=3, transforms=2, hidden=(4,)),
                 NSF(2, context=3, transforms=2, hidden=(4,))):  # fmt: skip
        p = flow.distribution(c)
        torch.testing.assert_close(p.log_prob(x), p.log_prob(x.expand(7, 5, 2)))
