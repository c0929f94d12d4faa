"""The compiled step against the eager one, from the same seed; most tests run the trace without a compiler."""

from __future__ import annotations

import copy
import math
import random

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import nn
from torch.nn.utils import parametrize

from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.optimizers import Untraceable
from unigen.inference.step import EagerStep, make_step


class Positive(nn.Module):
    def forward(self, w):
        return nn.functional.softplus(w)


class Latent(nn.Module):
    """−ELBO of a small Pyro program with dropout, batch statistics, a tied weight and a parametrised one."""

    def __init__(self, features=3, latents=2):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(features, 5, bias=False), nn.BatchNorm1d(5, affine=False), nn.Dropout(0.3)
        )
        self.loc, self.raw = nn.Linear(5, latents, bias=False), nn.Linear(5, latents, bias=False)
        self.decoder = nn.Linear(latents, features)
        self.again = nn.Linear(latents, features, bias=False)
        self.again.weight = self.decoder.weight
        parametrize.register_parametrization(self.decoder, "bias", Positive())
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.scale = 0.5

    def guide(self, x):
        with pyro.plate("data", x.shape[0]):
            h = self.encoder(x)
            return pyro.sample("z", dist.Normal(self.loc(h), self.raw(h).exp()).to_event(1))

    def model(self, x):
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).expand([x.shape[0], 2]).to_event(1))
            mean = nn.functional.dropout(self.decoder(z), 0.2) + self.again(z)
            pyro.sample("x", dist.Normal(mean, self.scale).to_event(1), obs=x)

    def forward(self, x):
        self.seen = self.seen + x.shape[0]  # assigned anew, unlike batch statistics
        q = pyro.poutine.trace(self.guide).get_trace(x)
        p = pyro.poutine.trace(pyro.poutine.replay(self.model, trace=q)).get_trace(x)
        return (q.log_prob_sum() - p.log_prob_sum()) / x.shape[0]


class Small(nn.Module):
    """Cheap to trace: a regression with noise."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 2)
        self.unused = nn.Linear(2, 2)
        self.weight = 1.0

    def forward(self, x, context=None):
        noise = torch.randn(x.shape[0], 2)
        shift = 0.0 if context is None else context.sum()
        return self.weight * (self.net(x).tanh() + 0.1 * noise - shift).square().mean()


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-2)


def pair(make_loss, make_optimizer=adam, **options):
    """Return the eager and the compiled step of two equal losses."""
    steps, loss = [], make_loss()
    generator = torch.get_rng_state()
    for kind in (EagerStep, CompiledStep):
        own = copy.deepcopy(loss)
        parameters = dict(own.named_parameters())
        extra = options if kind is CompiledStep else {k: v for k, v in options.items() if k == "clip"}
        steps.append(kind(own, parameters, make_optimizer(parameters.values()), **extra))
        assert_equal(own.state_dict(), loss.state_dict())
    assert torch.equal(torch.get_rng_state(), generator)  # tracing leaves no trace
    return steps


def assert_same_step(eager, compiled, *batch):
    state = torch.get_rng_state()
    expected = eager(*batch)
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    result = compiled(*batch)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(result.finite, expected.finite)
    torch.testing.assert_close(result.loss, expected.loss, rtol=1e-4, atol=1e-5, equal_nan=True)
    torch.testing.assert_close(result.grad_norm, expected.grad_norm, rtol=1e-3, atol=1e-5, equal_nan=True)
    return result


def assert_same_state(eager, compiled, tolerance=1e-5):
    a, b = eager.optimizer.state_dict(), compiled.optimizer.state_dict()
    assert a["param_groups"] == b["param_groups"]
    torch.testing.assert_close(b["state"], a["state"], rtol=1e-3, atol=tolerance)
    torch.testing.assert_close(compiled.loss.state_dict(), eager.loss.state_dict(), rtol=1e-3, atol=tolerance)


def snapshot(step):
    return copy.deepcopy((step.loss.state_dict(), step.optimizer.state_dict()))


def assert_equal(a, b):
    torch.testing.assert_close(a, b, rtol=0.0, atol=0.0, equal_nan=True)


# -- compiled by Inductor ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_inductor_equals_eager_over_a_whole_run():
    """Dropout, latents, batch statistics, tied and parametrised weights, clipping, schedule, odd batches, resume."""
    x = torch.randn(16, 3)
    said: list[str] = []
    eager, compiled = pair(Latent, clip=3.0, example=(x,), say=said.append)
    assert compiled.optimizer.state_dict()["state"] == {}
    schedules = [torch.optim.lr_scheduler.ExponentialLR(s.optimizer, 0.9) for s in (eager, compiled)]
    for i in range(20):
        x_i = torch.randn(3, 16).T if i == 6 else torch.randn(5 if i % 4 == 3 else 16, 3)
        assert_same_step(eager, compiled, x_i)
        for schedule in schedules:
            schedule.step()
    assert_same_state(eager, compiled)
    assert compiled.loss.seen.item() == 15 * 16 + 5 * 5 and compiled.traces == 1
    assert compiled.loss.decoder.weight is compiled.loss.again.weight

    # A batch with NaN moves nothing.
    before = snapshot(compiled)
    assert not bool(compiled(torch.full((16, 3), math.nan)).finite)
    assert_equal(snapshot(compiled), before)

    # A resumed run is bitwise the same, and the state loaded is the state used.
    weights, state = before
    runs = []
    for _ in range(2):
        compiled.loss.load_state_dict(weights)
        compiled.optimizer.load_state_dict(copy.deepcopy(state))
        torch.manual_seed(1)
        for _ in range(3):
            compiled(x)
        runs.append(snapshot(compiled))
        compiled.optimizer.load_state_dict({"state": {}, "param_groups": state["param_groups"]})
        compiled(x)
        assert compiled.optimizer.state[compiled.loss.loc.weight]["step"].item() == 1
    assert_equal(runs[0], runs[1])
    assert compiled.traces == 1 and not said


class Critic(nn.Module):
    """Wasserstein critic with gradient penalty; the generator inside stays fixed."""

    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1))
        self.generator = nn.Linear(2, 2)

    def forward(self, x):
        fake = self.generator(torch.randn_like(x))
        mix = torch.lerp(x, fake, torch.rand(x.shape[0], 1)).requires_grad_(True)
        (slope,) = torch.autograd.grad(self.critic(mix).sum(), mix, create_graph=True)
        penalty = (slope.square().sum(1).sqrt() - 1).square().mean()
        (push,) = torch.autograd.grad(fake.sum(), self.generator.weight, retain_graph=True)
        return self.critic(fake).mean() - self.critic(x).mean() + 10 * penalty + 0.01 * push.square().sum()


@pytest.mark.parametrize(
    "compiler",
    [
        pytest.param({}, id="inductor", marks=pytest.mark.slow),
        pytest.param({"compiler": interpreted}, id="interpreted"),
    ],
)
def test_gradient_penalty_and_a_fixed_generator(compiler):
    steps, loss, x = [], Critic(), torch.randn(8, 2)
    for kind, options in ((EagerStep, {}), (CompiledStep, {"example": (x,), **compiler})):
        own = copy.deepcopy(loss)
        moved = {n: p for n, p in own.named_parameters() if n.startswith("critic")}
        optimizer = torch.optim.RMSprop(moved.values(), lr=1e-2)
        steps.append(kind(own, moved, optimizer, **options))
    for i in range(10):
        assert_same_step(*steps, torch.randn(8 - i % 2, 2))
        for step in steps:  # the generator is trained by someone else: its new values are seen
            with torch.no_grad():
                step.loss.generator.weight.mul_(1.1)
    assert_same_state(*steps, tolerance=1e-4)
    assert steps[1].traces == 1


# -- every optimiser ---------------------------------------------------------------------------------------

OPTIMIZERS = {
    "adam": adam,
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True, weight_decay=0.1, maximize=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1, betas=(0.5, 0.9), foreach=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2),
    "momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, dampening=0.5, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    "rmsprop centred": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2, lr_decay=0.1),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=0.5),
    "adamax": lambda p: torch.optim.Adamax(p, lr=1e-2),
    "nadam": lambda p: torch.optim.NAdam(p, lr=1e-2),
    "radam": lambda p: torch.optim.RAdam(p, lr=1e-2),
    "asgd": lambda p: torch.optim.ASGD(p, lr=1e-2),
    "two groups": lambda p: torch.optim.Adam(
        [{"params": q, "lr": 1e-2 * (i + 1)} for i, q in enumerate(p)], lr=1e-3
    ),
    "tensor rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-2)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_is_traced(name):
    said: list[str] = []
    x = torch.randn(6, 3)
    eager, compiled = pair(
        Small, OPTIMIZERS[name], clip=0.5, example=(x,), compiler=interpreted, say=said.append
    )
    for i in range(20):
        assert_same_step(eager, compiled, torch.randn(4 if i == 10 else 6, 3))
        for step in (eager, compiled):
            step.optimizer.param_groups[0]["lr"] *= 0.95
    assert_same_state(eager, compiled)
    assert compiled.traces == 1 and not said
    assert torch.equal(compiled.loss.unused.weight, eager.loss.unused.weight)
    before = snapshot(compiled)
    assert not bool(compiled(torch.full((6, 3), math.nan)).finite)
    assert_equal(snapshot(compiled), before)


class Counting(torch.optim.SGD):
    """Keeps its step count as a Python number, as some optimisers do."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                count = self.state[p]["count"] = self.state[p].get("count", 0) + 1
                if p.grad is not None:
                    p.data.add_(p.grad, alpha=-group["lr"] / count)


@pytest.mark.parametrize("kind", ["count in Python", "step hook"])
def test_an_optimiser_that_cannot_be_traced_runs_after_the_compiled_gradient(kind):
    said: list[str] = []
    calls: list[int] = []

    def make(parameters):
        if kind == "count in Python":
            return Counting(parameters, lr=0.1)
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        optimizer.register_step_post_hook(lambda *_: calls.append(1))
        return optimizer

    eager, compiled = pair(
        Small, make, clip=0.5, example=(torch.randn(6, 3),), compiler=interpreted, say=said.append
    )
    for _ in range(5):
        assert_same_step(eager, compiled, torch.randn(6, 3))
    torch.testing.assert_close(compiled.loss.state_dict(), eager.loss.state_dict())
    before = snapshot(compiled)
    assert not bool(compiled(torch.full((6, 3), math.nan)).finite)
    assert_equal(snapshot(compiled)[0], before[0])
    assert len(said) == 1 and "runs eagerly after the compiled gradient" in said[0]
    assert len(calls) == (10 if kind == "step hook" else 0)


# -- what the trace takes as constant ----------------------------------------------------------------------


def test_a_changed_number_or_hyperparameter_is_noticed():
    eager, compiled = pair(Small, example=(torch.randn(6, 3),), compiler=interpreted)
    changes = [
        lambda s: setattr(s.loss, "weight", 3.0),
        lambda s: s.optimizer.param_groups[0].update(weight_decay=0.5),
        lambda s: s.loss.eval(),
    ]
    for traces, change in enumerate(changes, start=2):
        for step in (eager, compiled):
            change(step)
        for _ in range(2):
            assert_same_step(eager, compiled, torch.randn(6, 3))
        assert compiled.traces == traces
    assert_same_state(eager, compiled)


def test_a_number_that_changes_at_every_step_ends_in_eager_steps():
    said: list[str] = []
    eager, compiled = pair(Small, example=(torch.randn(6, 3),), compiler=interpreted, say=said.append)
    for i in range(8):
        for step in (eager, compiled):
            step.loss.weight = float(i)
        assert_same_step(eager, compiled, torch.randn(6, 3))
    assert len(said) == 1 and "'weight' changes again and again" in said[0]
    assert_same_state(eager, compiled)


def test_a_tensor_outside_the_module_is_read_anew():
    offset = torch.zeros(2)

    class Outside(Small):
        def forward(self, x):
            return (self.net(x) - offset).square().mean()

    loss = Outside()
    parameters = dict(loss.named_parameters())
    step = CompiledStep(
        loss,
        parameters,
        adam(parameters.values()),
        example=(torch.randn(6, 3),),
        compiler=lambda graph, _: copy.deepcopy(graph),  # like a real compiler, keeps constants of the trace
    )
    x = torch.randn(6, 3)
    step(x)
    offset.fill_(7.0)
    with torch.no_grad():
        expected = (loss.net(x) - 7.0).square().mean()
    torch.testing.assert_close(step(x).loss, expected)


def test_batches_that_do_not_fit_run_eagerly():
    said: list[str] = []
    x = torch.randn(6, 3)
    eager, compiled = pair(Small, example=(x, None), compiler=interpreted, say=said.append)
    assert_same_step(eager, compiled, x, None)
    assert_same_step(eager, compiled, torch.randn(1, 3), None)
    assert not said
    assert_same_step(eager, compiled, x, torch.randn(6, 1))
    assert_same_step(eager, compiled, torch.randn(3, 6).T, None)  # not contiguous
    assert_same_state(eager, compiled)
    assert len(said) == 1 and "(6, 1)" in said[0]
    schedule = torch.optim.lr_scheduler.ExponentialLR(compiled.optimizer, 0.9)
    compiled(x, None)
    schedule.step()  # would warn if it believed that no step was taken before it


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam])
def test_a_rate_of_zero_moves_nothing(optimizer):
    """Where a gradient has always been zero, torch's capturable optimisers divide zero by the rate."""

    class Constant(Small):
        def forward(self, x):
            return self.net(x * torch.tensor([1.0, 0.0, 1.0])).square().mean()

    x = torch.randn(6, 3)
    _, compiled = pair(Constant, lambda p: optimizer(p, lr=1e-2), example=(x,), compiler=interpreted)
    compiled(x)
    before = [p.detach().clone() for p in compiled.loss.parameters()]
    for group in compiled.optimizer.param_groups:
        group["lr"] = 0.0
    assert bool(compiled(x).finite)
    assert_equal([p.detach() for p in compiled.loss.parameters()], before)


def test_operations_that_torch_traces_for_one_size_only_are_replaced():
    class Padded(Small):
        def forward(self, x):
            y = nn.functional.pad(self.net(x), (1, 2, 0, 1), value=0.5)  # (N + 1, 5)
            y = nn.functional.pad(y, (-1, 3, -1, 0)).cumsum(1)
            return torch.lerp(y, y.sin(), torch.rand(x.shape[0], 1)).square().mean()

    said: list[str] = []
    eager, compiled = pair(Padded, example=(torch.randn(6, 3),), compiler=interpreted, say=said.append)
    for n in (6, 4, 9):
        assert_same_step(eager, compiled, torch.randn(n, 3))
    assert_same_state(eager, compiled)
    assert compiled.traces == 1 and not said


def test_a_loss_that_fixes_the_batch_size_says_so():
    class Fixed(Small):
        def forward(self, x):
            return sum(self.net(row).square().sum() for row in x) / len(x)

    said: list[str] = []
    eager, compiled = pair(Fixed, example=(torch.randn(4, 3),), compiler=interpreted, say=said.append)
    assert len(said) == 1 and "fixes the batch size to [4]" in said[0]
    for n in (4, 4, 3, 4):
        assert_same_step(eager, compiled, torch.randn(n, 3))
    assert_same_state(eager, compiled)


# -- what cannot be traced ---------------------------------------------------------------------------------


class Branch(Small):
    def forward(self, x):
        y = self.net(x).square().mean()
        return y if y > 1 else 2 * y


class Counter(Small):
    def forward(self, x):
        self.weight += 1.0
        return self.weight * self.net(x).square().mean()


class PythonNoise(Small):
    def forward(self, x):
        return random.random() * self.net(x).square().mean()


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Branch, "data-dependent branch in test_compiled.py:"),
        (Counter, "changes its attribute 'weight'"),
        (PythonNoise, "random numbers from Python"),
    ],
)
def test_what_cannot_be_traced_runs_eagerly_and_says_why(kind, why):
    loss, said, x = kind(), [], torch.randn(6, 3)
    before, python = copy.deepcopy(vars(loss)), random.getstate()
    parameters = dict(loss.named_parameters())
    step = make_step(loss, parameters, adam(parameters.values()), compile=True, example=(x,), say=said.append)
    assert type(step) is EagerStep and loss.weight == before["weight"] and random.getstate() == python
    assert len(said) == 1 and why in said[0]
    assert bool(step(x).finite)


def test_without_say_the_reason_is_a_warning():
    loss = Branch()
    parameters = dict(loss.named_parameters())
    with pytest.warns(UserWarning, match="data-dependent branch"):
        make_step(loss, parameters, adam(parameters.values()), compile=True, example=(torch.randn(6, 3),))


def test_without_a_compiler_the_step_is_eager(monkeypatch):
    from torch._inductor import config

    loss, said = Small(), []
    parameters = dict(loss.named_parameters())
    with config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        step = make_step(
            loss,
            parameters,
            adam(parameters.values()),
            compile=True,
            example=(torch.randn(7, 3),),
            say=said.append,
        )
    assert type(step) is EagerStep and len(said) == 1 and "ompiler" in said[0]


def test_a_compiler_that_miscompiles_is_caught():
    def wrong(graph, inputs):
        def run(*tensors):
            loss, *rest = graph(*tensors)
            return [loss * 1.1, *rest]

        return run

    with pytest.raises(Untraceable, match="disagrees with the eager one"):
        pair(Small, example=(torch.randn(6, 3),), compiler=wrong)


def test_gradient_hooks_are_not_left_out_silently():
    loss = Small()
    loss.net.weight.register_hook(lambda g: 2 * g)
    parameters = dict(loss.named_parameters())
    with pytest.raises(Untraceable, match=r"'net\.weight' has gradient hooks"):
        CompiledStep(
            loss, parameters, adam(parameters.values()), example=(torch.randn(6, 3),), compiler=interpreted
        )
