"""Per-example log weights against hand-written densities; isolation from the caller's handlers."""

from __future__ import annotations

import threading
from functools import partial

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro import poutine
from torch import Tensor

from tests import problems
from tests.programs import Nested, Outside, SharedMean, Switch, Toy
from unigen.errors import SiteError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.traces import base_of, draw, isolated, kind_of, log_weights, site_log_prob, tracing


def weights(program, x: Tensor, samples: int = 1, **options):
    guide = partial(program.guide, x) if program.structure.latents else None
    return log_weights(
        partial(program.model, x), guide, samples=samples, nesting=program.structure.nesting, **options
    )


def rows(n: int = 5) -> Tensor:
    return torch.linspace(-1, 2, n, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_shapes(samples):
    w = weights(Toy(), rows(), samples)
    assert w.local.shape == (samples, 5) and w.shared.shape == (samples,)
    assert w.kind is Kind.EXACT and not w.shared_latents
    assert set(w.parts) == {"x", "z"}
    assert w.parts["x"].shape == w.parts["z"].shape == (samples, 5)


@pytest.mark.parametrize("samples", [1, 3])
def test_exact_posterior_gives_constant_weights(samples):
    w = weights(Toy(exact=True), rows(), samples).local
    truth = torch.tensor([problems.toy_evidence(x) for x in rows()[:, 0].tolist()], dtype=torch.float64)
    assert (w - truth).abs().max() < 1e-12


@pytest.mark.parametrize("samples", [1, 4])
def test_sites_outside_the_plate_are_kept_apart(samples):
    y = dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.7, dtype=torch.float64))
    w = weights(Outside(exact=True), rows(), samples)
    truth = torch.tensor([problems.toy_evidence(x) for x in rows()[:, 0].tolist()], dtype=torch.float64)
    assert (w.local - truth).abs().max() < 1e-12
    assert torch.allclose(w.shared, y.expand(samples))
    assert not w.shared_latents


@pytest.mark.parametrize("samples", [1, 4])
def test_shared_latents(samples):
    program = SharedMean()
    x = rows().float()
    torch.manual_seed(0)
    w = weights(program, x, samples)
    assert w.shared_latents and w.local.shape == (samples, 5) and w.shared.shape == (samples,)
    assert w.parts["theta"].shape == (samples,)


@pytest.mark.parametrize("samples", [1, 4])
def test_nested_plates_sum_to_one_number_an_example(samples):
    program, x = Nested(), torch.randn(6, 3)
    torch.manual_seed(1)
    w = weights(program, x, samples)
    assert w.local.shape == (samples, 6)
    with isolated():
        torch.manual_seed(1)
        with pyro.plate("particles", samples, dim=-3) if samples > 1 else poutine.scale(scale=1.0):
            q = poutine.trace(program.guide).get_trace(x)
            p = poutine.trace(poutine.replay(program.model, trace=q)).get_trace(x)
    total = 0
    for trace, sign in ((p, 1), (q, -1)):
        for name in ("z", "w", "x"):
            if name in trace.nodes:
                node = trace.nodes[name]
                value = node["fn"].log_prob(node["value"]).reshape(samples, -1, 6).sum(1)
                total = total + sign * value
    assert torch.allclose(w.local, total, atol=1e-5)


def test_analytic_kl_has_the_same_mean_and_less_noise():
    program, x = Toy(), rows()
    torch.manual_seed(0)
    sampled, analytic = (weights(program, x, 20_000, analytic=a).local for a in (False, True))
    kl = weights(program, x, analytic=True).parts["z"]
    assert kl.abs().max() == 0  # q is the prior
    stderr = ((sampled.var(0) + analytic.var(0)) / 20_000).sqrt()
    assert ((sampled.mean(0) - analytic.mean(0)) / stderr).abs().max() < 5


def test_no_analytic_kl_where_the_guide_has_another_order():
    def model():
        with pyro.plate("data", 2, dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros(2), 1.0))
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("x", dist.Normal(b, 1.0), obs=torch.zeros(2))

    def guide():
        with pyro.plate("data", 2, dim=-1):
            b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0))
            pyro.sample("a", dist.Normal(b / 2, 1.0))

    torch.manual_seed(0)
    one = log_weights(model, guide, analytic=True)
    torch.manual_seed(0)
    two = log_weights(model, guide, analytic=False)
    assert torch.equal(one.local, two.local)


def test_masks_and_scales_are_applied_and_minibatch_scaling_is_undone():
    x = torch.tensor([0.3, -0.4])
    prior = dist.Normal(torch.zeros(2), 1.0).log_prob(x)

    def masked():
        with pyro.plate("data", 2, dim=-1), poutine.mask(mask=torch.tensor([True, False])):
            pyro.sample("x", dist.Normal(torch.zeros(2), 1.0), obs=x)

    def scaled():
        with pyro.plate("data", 2, dim=-1), poutine.scale(scale=3.0):
            pyro.sample("x", dist.Normal(torch.zeros(2), 1.0), obs=x)

    def subsampled():
        with pyro.plate("data", 10, subsample=torch.arange(2), dim=-1):
            pyro.sample("x", dist.Normal(torch.zeros(2), 1.0), obs=x)

    assert torch.allclose(log_weights(masked, None).local[0], prior * torch.tensor([1.0, 0.0]))
    assert torch.allclose(log_weights(scaled, None).local[0], 3 * prior)
    assert torch.allclose(log_weights(subsampled, None).local[0], prior)


def test_auxiliary_sites_of_the_guide_are_subtracted():
    def model():
        with pyro.plate("data", 2, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=torch.zeros(2))

    def guide():
        with pyro.plate("data", 2, dim=-1):
            u = pyro.sample("u", dist.Normal(torch.zeros(2), 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Delta(u))

    q = poutine.trace(guide).get_trace()
    u = q.nodes["u"]["value"]
    w = log_weights(model, partial(poutine.condition(guide, data={"u": u})))
    expected = (
        dist.Normal(0.0, 1.0).log_prob(u)
        + dist.Normal(u, 1.0).log_prob(torch.zeros(2))
        - dist.Normal(0.0, 1.0).log_prob(u)
    )
    assert torch.allclose(w.local[0], expected)


def test_kinds_of_sites_compose():
    class Bound(dist.Normal):
        kind = Kind.LOWER_BOUND

    class Energy(dist.Normal):
        kind = Kind.UNNORMALISED

    def model(*parts):
        with pyro.plate("data", 4, dim=-1):
            for i, part in enumerate(parts):
                pyro.sample(f"x{i}", part, obs=torch.zeros(part.event_shape))

    bound, energy, exact = Bound(0.0, 1.0), Energy(0.0, 1.0), dist.Normal(0.0, 1.0)
    for parts, kind in (((exact,), Kind.EXACT), ((exact, bound), Kind.LOWER_BOUND),
                        ((bound, energy), Kind.UNNORMALISED)):  # fmt: skip
        assert log_weights(partial(model, *parts), None).kind is kind
    assert kind_of(energy.expand((3,)).to_event(1)) is Kind.UNNORMALISED
    assert kind_of(exact.to_event(0).mask(False)) is Kind.EXACT
    assert base_of(energy.expand((3,)).to_event(1)).__class__ is Energy


def test_stand_ins_keep_their_wrappers():
    """A surrogate belongs to the part itself: inside a transform, a mask or an event it must not be used bare."""

    class Part(dist.Normal):
        kind = Kind.LOWER_BOUND

        def surrogate(self, value):
            return self.log_prob(value)

        def expand(self, batch_shape, _instance=None):
            return Part(self.loc.expand(batch_shape), self.scale.expand(batch_shape))

    x = torch.rand(4, 3) + 0.5
    part = Part(torch.zeros(3), 1.0)
    wrapped = [
        part.to_event(1),
        part.to_event(1).mask(torch.tensor([True, False, True, True])),
        dist.TransformedDistribution(part, [dist.transforms.ExpTransform()]).to_event(1),
    ]
    for fn in wrapped:

        def model(fn=fn):
            with pyro.plate("data", 4, dim=-1):
                pyro.sample("x", fn, obs=x)

        plain, trained = (log_weights(model, None, surrogate=s).local for s in (False, True))
        assert plain.shape == trained.shape == (1, 4)
        assert torch.allclose(plain, trained), fn


@pytest.mark.parametrize(
    "handler",
    [
        poutine.block(),
        poutine.scale(scale=3.0),
        poutine.mask(mask=False),
        poutine.condition(data={"z": torch.zeros(5, 1, dtype=torch.float64)}),
        poutine.trace(),
        pyro.plate("outer", 3, dim=-1),
        pyro.plate("data", 7, dim=-1),
    ],
    ids=lambda h: type(h).__name__,
)
def test_handlers_of_the_caller_do_not_reach_in(handler):
    program, x = Toy(exact=True), rows()
    expected = weights(program, x, 3).local
    with handler:
        inside = weights(program, x, 3).local
        assert not tracing()
    assert torch.allclose(inside, expected)
    assert not poutine.runtime._PYRO_STACK


def test_nothing_enters_the_parameter_store():
    program = Switch()
    weights(program, torch.zeros(2, 1))
    draw(partial(program.model, None, None, 2))
    assert not list(pyro.get_param_store().keys())


def test_the_stack_is_restored_after_an_error():
    def broken():
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), poutine.scale(scale=2.0):
        log_weights(broken, None)
    assert not poutine.runtime._PYRO_STACK


def test_typed_errors_pass_as_they_are():
    """Pyro rebuilds errors raised inside a trace from their text alone, and adds a table of shapes to it."""

    def refusing():
        raise UnsupportedQueryError("no way back", program="GAN", site="z", hint="a VAE has one")

    for run in (lambda: log_weights(refusing, None), lambda: draw(refusing)):
        with pytest.raises(UnsupportedQueryError) as caught:
            run()
        assert (caught.value.program, caught.value.site) == ("GAN", "z")
        assert str(caught.value) == "GAN, site 'z': no way back. Try: a VAE has one."


def test_a_dimension_that_belongs_to_no_plate_is_refused():
    """Right for one particle, a sum over particles for several: the inner plate's dimension was dropped."""

    def model():
        with pyro.plate("data", 5, dim=-1):
            with pyro.plate("parts", 2, dim=-2):
                w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0))
            pyro.sample("x", dist.Normal(w[..., 0, :], 1.0), obs=torch.zeros(5))

    def guide():
        with pyro.plate("data", 5, dim=-1), pyro.plate("parts", 2, dim=-2):
            pyro.sample("w", dist.Normal(torch.zeros(5), 1.0))

    log_weights(model, guide, nesting=2)
    with pytest.raises(SiteError, match=r"site 'x': got batch shape \(3, 3, 5\).*keep those of plates"):
        log_weights(model, guide, nesting=2, samples=3)


def test_threads_do_not_mix_their_traces():
    program, x = Toy(exact=True), rows()
    expected = weights(program, x, 3).local
    wrong: list[float] = []

    def work():
        for _ in range(20):
            got = weights(program, x, 3).local
            if got.shape != expected.shape or not torch.allclose(got, expected):
                wrong.append(0.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_draw_conditions_and_returns_sites():
    z = torch.full((4, 1), 2.0, dtype=torch.float64)
    nodes = draw(partial(Toy().model, None, None, 4), {"z": z})
    assert list(nodes) == ["z", "x"]
    assert torch.equal(nodes["z"]["value"], z)
    assert torch.equal(nodes["x"]["fn"].mean, z)
    assert site_log_prob(nodes["x"]).shape == (4,)
