"""The eager step against steps worked out by hand, and what must not move when a step is void."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import nn

from unigen.errors import ArgumentError
from unigen.inference.step import EagerStep, diagnose, make_step


class Quadratic(nn.Module):
    """L = ½ Σ_i a_i θ_i², gradient a_i θ_i; counts its calls in a buffer."""

    def __init__(self, theta=(3.0, 4.0)):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))
        self.still = nn.Parameter(torch.ones(1))
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, a):
        self.calls.add_(1)
        return 0.5 * (a * self.theta.square()).sum() * self.still.sum()


def sgd(loss, lr=0.1, **options):
    moved = {"theta": loss.theta}
    return moved, torch.optim.SGD(moved.values(), lr=lr, **options)


def test_a_step_of_gradient_descent():
    loss = Quadratic()
    result = EagerStep(loss, *sgd(loss))(torch.tensor([1.0, 2.0]))
    assert result.loss.item() == pytest.approx(0.5 * (9 + 2 * 16))
    assert result.grad_norm.item() == pytest.approx(math.hypot(3.0, 8.0))
    assert bool(result.finite) and not result.loss.requires_grad
    assert loss.theta.tolist() == pytest.approx([3.0 - 0.3, 4.0 - 0.8])
    assert loss.still.item() == 1.0 and loss.still.grad is None
    assert loss.calls.item() == 1


def test_clipping_shortens_the_gradient_to_the_norm_and_leaves_short_ones_alone():
    for clip, factor in ((1.0, 1 / 5), (50.0, 1.0)):
        loss = Quadratic()
        result = EagerStep(loss, *sgd(loss), clip=clip)(torch.ones(2))
        assert result.grad_norm.item() == pytest.approx(5.0)  # before clipping
        expected = [3.0 - 0.1 * 3 * factor, 4.0 - 0.1 * 4 * factor]
        assert loss.theta.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e25])
def test_a_step_that_is_not_finite_moves_nothing(bad):
    loss = Quadratic()
    parameters, optimizer = sgd(loss, momentum=0.9)
    step = EagerStep(loss, parameters, optimizer)
    step(torch.ones(2))
    before = loss.theta.detach().clone(), optimizer.state[loss.theta]["momentum_buffer"].clone()
    result = step(torch.tensor([1.0, bad]))
    assert not bool(result.finite)
    assert torch.equal(loss.theta, before[0])
    assert torch.equal(optimizer.state[loss.theta]["momentum_buffer"], before[1])
    assert loss.calls.item() == 1


def test_a_gradient_alone_that_is_not_finite_moves_nothing():
    class Root(Quadratic):
        def forward(self, x):
            return (self.theta * x).sqrt().sum()  # finite at 0, its slope is not

    loss = Root((0.0, 0.0))
    result = EagerStep(loss, *sgd(loss))(torch.ones(2))
    assert math.isfinite(result.loss.item()) and not bool(result.finite)
    assert loss.theta.tolist() == [0.0, 0.0]


def test_a_loss_that_raises_leaves_its_buffers():
    loss = Quadratic()
    step = EagerStep(loss, *sgd(loss))
    with pytest.raises(RuntimeError):
        step(torch.ones(3))
    assert loss.calls.item() == 0


class Normal(nn.Module):
    """−log p(x, z) of a small Pyro program."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1))
        self.raw = nn.Parameter(torch.zeros(1))

    def model(self, x):
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("z", dist.Normal(self.loc, 1.0))
            pyro.sample("x", dist.Normal(z, self.raw.exp()), obs=x)

    def forward(self, x):
        trace = pyro.poutine.trace(self.model).get_trace(x)
        return -trace.log_prob_sum()


def test_nan_data_end_in_a_flag_not_in_a_validation_error():
    loss = Normal()
    parameters = dict(loss.named_parameters())
    step = EagerStep(loss, parameters, torch.optim.Adam(parameters.values()))
    assert not bool(step(torch.tensor([0.0, math.nan])).finite)
    assert pyro.distributions.is_validation_enabled()


def test_diagnose_names_the_first_thing_that_is_not_finite():
    loss = Normal()
    parameters = dict(loss.named_parameters())
    generator = torch.get_rng_state()
    assert "batch argument 0 is nan (1 of 2 values)" in diagnose(
        loss, parameters, torch.tensor([0.0, math.nan])
    )
    with torch.no_grad():
        loss.raw.fill_(-200.0)  # scale 0 in float32: x | z has density 0
    assert diagnose(loss, parameters, torch.zeros(3)).startswith("observed site 'x': log density is")
    with torch.no_grad():
        loss.raw.fill_(math.inf)
    assert diagnose(loss, parameters, torch.zeros(3)) == "parameter 'raw' is inf (1 of 1 values)"
    with torch.no_grad():
        loss.raw.zero_()
    assert diagnose(loss, parameters, torch.zeros(3)).startswith("everything is finite")
    quadratic = Quadratic()
    assert diagnose(quadratic, {"theta": quadratic.theta}, torch.tensor([1.0, 3e38])).startswith(
        "loss is inf"
    )
    assert quadratic.calls.item() == 0
    assert torch.equal(torch.get_rng_state(), generator)


def test_what_cannot_be_trained_is_refused():
    loss = Quadratic()
    parameters, optimizer = sgd(loss)
    with pytest.raises(ArgumentError, match="nothing to train"):
        EagerStep(loss, {}, optimizer)
    with pytest.raises(ArgumentError, match="other parameters"):
        EagerStep(loss, dict(loss.named_parameters()), optimizer)
    with pytest.raises(ArgumentError, match="does not hold"):
        EagerStep(nn.Linear(2, 2), parameters, optimizer)
    with pytest.raises(ArgumentError, match="closure"):
        EagerStep(loss, parameters, torch.optim.LBFGS([loss.theta]))
    with pytest.raises(ArgumentError, match="clip"):
        EagerStep(loss, parameters, optimizer, clip=0.0)
    with pytest.raises(ArgumentError, match="nothing to train"):
        make_step(loss, {}, optimizer, compile=True, example=(torch.ones(2),))


def test_make_step_is_eager_unless_asked():
    loss = Quadratic()
    assert type(make_step(loss, *sgd(loss), example=(torch.ones(2),))) is EagerStep
