"""Optimisers as functions of tensors against the optimisers themselves, step after step; what a trace would freeze."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from unigen.inference.muon import Muon
from unigen.inference.optimizers import (
    Untraceable,
    frozen_options,
    group_of,
    rehearse,
    traced_update,
    why_not,
)

F64 = torch.float64
MAKERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "AMSGrad": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True, weight_decay=0.1, maximize=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.5, 0.9), weight_decay=0.1),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.5, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, lr_decay=0.1),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=0.5),
    "Muon": lambda p: Muon(p[:1], p[1:], lr=0.1),
    "groups": lambda p: torch.optim.Adam([{"params": [q], "lr": 0.1 * (i + 1)} for i, q in enumerate(p)]),
}


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(3, 2, dtype=F64)), nn.Parameter(torch.randn(4, dtype=F64))]


@pytest.mark.parametrize("name", MAKERS)
def test_the_function_is_the_optimisers_own_step(name):
    """Five steps of both, from what the optimiser keeps after its first step, under a falling learning rate."""
    ours = parameters()
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizer, reference = MAKERS[name](ours), MAKERS[name](theirs)
    untouched = copy.deepcopy(optimizer.state_dict())
    values: list[Tensor] = []
    states: list[dict[str, Tensor]] = []
    for t in range(6):
        grads = [torch.randn_like(p) for p in ours]
        for p, g in zip(theirs, grads, strict=True):
            p.grad = g.clone()
        for group in reference.param_groups:
            group["lr"] *= 0.9
        rates = [torch.tensor(group["lr"], dtype=F64) for group in reference.param_groups]
        reference.step()
        if t == 0:
            values, states = (
                [p.detach().clone() for p in theirs],
                copy.deepcopy([reference.state[p] for p in theirs]),
            )
            continue
        states = traced_update(optimizer, group_of(optimizer, ours), values, grads, states, rates)
        for value, p, state in zip(values, theirs, states, strict=True):
            torch.testing.assert_close(value, p.detach(), rtol=1e-6, atol=1e-8)
            for key, kept in reference.state[p].items():
                torch.testing.assert_close(state[key].to(kept), kept, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(optimizer.state_dict(), untouched)


@pytest.mark.parametrize("name", MAKERS)
def test_the_rehearsal_is_a_first_step_without_gradient(name):
    ours = parameters()
    before, optimizer = [p.detach().clone() for p in ours], MAKERS[name](ours)
    untouched = copy.deepcopy(optimizer.state_dict())
    states = rehearse(optimizer, ours)
    assert all(torch.equal(p, q) and p.grad is None for p, q in zip(ours, before, strict=True))
    torch.testing.assert_close(optimizer.state_dict(), untouched)
    for p in ours:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for p, state in zip(ours, states, strict=True):
        kept = dict(optimizer.state[p])
        assert set(state) == set(kept)
        assert all(
            torch.equal(state[k], v) if isinstance(v, Tensor) else state[k] == v for k, v in kept.items()
        )


def test_adam_by_its_formula():
    """m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², θ ← θ − lr m̂ / (√v̂ + ε)."""
    (p, _), g = parameters(), [torch.randn(3, 2, dtype=F64) for _ in range(3)]
    optimizer = torch.optim.Adam([p], lr=0.05, betas=(0.8, 0.95))
    theta = p.detach().clone()
    value, m, v = theta.clone(), torch.zeros_like(theta), torch.zeros_like(theta)
    states = [{"step": torch.tensor(0.0), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}]
    for t in range(1, 4):
        states = traced_update(optimizer, [0], [value], [g[t - 1]], states, [torch.tensor(0.05, dtype=F64)])
        m, v = 0.8 * m + 0.2 * g[t - 1], 0.95 * v + 0.05 * g[t - 1] ** 2
        theta = theta - 0.05 * (m / (1 - 0.8**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
        torch.testing.assert_close(value, theta, rtol=1e-9, atol=1e-12)
    assert states[0]["step"].item() == 3 and states[0]["step"].dtype is F64


def test_states_that_are_given_are_not_changed():
    p, _ = parameters()
    optimizer = torch.optim.Adam([p], lr=0.1)
    (given,) = rehearse(optimizer, [p])
    copies = {k: v.clone() for k, v in given.items()}
    traced_update(optimizer, [0], [p.detach().clone()], [torch.ones_like(p)], [given], [torch.tensor(0.1)])
    assert all(torch.equal(given[k], v) for k, v in copies.items())


def test_parameters_belong_to_their_groups_in_any_order():
    p, q = parameters()
    optimizer = torch.optim.SGD([{"params": [p], "lr": 0.1}, {"params": [q], "lr": 0.2}])
    assert group_of(optimizer, [q, p, q]) == [1, 0, 1]
    with pytest.raises(KeyError):
        group_of(optimizer, [torch.zeros(1)])


def test_all_options_but_the_learning_rate_are_frozen():
    options = {name: value for _, name, value in frozen_options(MAKERS["Adam"](parameters()))}
    assert options["betas"] == (0.9, 0.999) and options["eps"] == 1e-8 and "lr" not in options
    assert "params" not in options
    assert len(frozen_options(MAKERS["groups"](parameters()))) == 2 * len(options)


def test_a_learning_rate_is_a_tensor_and_zero_moves_nothing():
    p, _ = parameters()
    optimizer, rate = torch.optim.SGD([p], lr=0.1), torch.tensor(0.3, dtype=F64)
    for r in (0.0 * rate, rate):
        value = p.detach().clone()
        traced_update(optimizer, [0], [value], [torch.ones_like(p)], [{}], [r])
        torch.testing.assert_close(value, p.detach() - r)


class Counting(torch.optim.SGD):
    """Keeps its step count as a Python number, which a trace would take as constant."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                count = self.state[p]["count"] = self.state[p].get("count", 0) + 1
                p.add_(p.grad, alpha=-0.1 / count)


def test_what_a_trace_would_freeze_is_refused():
    p, _ = parameters()
    state: list[dict[str, int]] = [{"count": 1}]
    with pytest.raises(Untraceable, match="Counting keeps Python numbers"):
        traced_update(
            Counting([p]), [0], [p.detach().clone()], [torch.ones_like(p)], state, [torch.tensor(0.1)]
        )
    assert state == [{"count": 1}]


def test_why_an_optimiser_cannot_be_traced_is_said():
    plain, hooked = (torch.optim.SGD(parameters(), lr=0.1) for _ in range(2))
    hooked.register_step_pre_hook(lambda *_: None)
    assert why_not(plain) is None
    assert why_not(hooked) == "it has step hooks"
    tensor = torch.optim.Adam(
        parameters(), lr=torch.tensor(0.1), betas=(torch.tensor(0.9), torch.tensor(0.99))
    )
    assert "tensor" in str(why_not(tensor))
    assert why_not(torch.optim.Adam(parameters(), lr=torch.tensor(0.1))) is None
