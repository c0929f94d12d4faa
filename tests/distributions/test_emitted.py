"""The marginal of observations over a hidden path: the sum over all paths by hand, and draws counted one by one."""

from __future__ import annotations

import itertools

import pytest
import torch
from pyro import distributions as dist
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.discrete_chain import DiscreteChain
from unigen.distributions.emitted import Emitted
from unigen.errors import ShapeError
from unigen.logprob import Kind

F64, T = torch.float64, 3
INITIAL = torch.tensor([0.7, 0.3], dtype=F64)
TRANSITION = torch.tensor([[0.9, 0.1], [0.4, 0.6]], dtype=F64)
HEADS = torch.tensor([[0.2, 0.9], [0.8, 0.3]], dtype=F64)  # p(x_td = 1 | z_t = k), two coins a state
EVERY = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2 * T)), dtype=F64).reshape(-1, T, 2)


def coins(z: Tensor) -> dist.TorchDistribution:
    return dist.Bernoulli(HEADS[z.long()]).to_event(2)


def chain(x: Tensor | None) -> DiscreteChain:
    if x is None:
        return DiscreteChain(INITIAL.log(), TRANSITION.log(), T)
    evidence = dist.Bernoulli(HEADS).log_prob(x[..., None, :]).sum(-1)
    return DiscreteChain(INITIAL.log(), TRANSITION.log(), T, evidence)


def marginal(batch: tuple[int, ...] = ()) -> Emitted:
    return Emitted(chain, coins, torch.Size((T, 2)), constraints.boolean, batch)


def summed(x: Tensor) -> float:
    """p(x_{1:T}) = Σ over all 2^T paths."""
    total = 0.0
    for path in itertools.product(range(2), repeat=T):
        p = float(INITIAL[path[0]])
        for a, b in itertools.pairwise(path):
            p *= float(TRANSITION[a, b])
        for t, k in enumerate(path):
            p *= float(torch.where(x[t] == 1, HEADS[k], 1 - HEADS[k]).prod())
        total += p
    return total


def test_the_density_is_the_sum_over_all_paths():
    p = marginal()
    found = p.log_prob(EVERY)
    truth = torch.tensor([summed(x) for x in EVERY], dtype=F64)
    torch.testing.assert_close(found, truth.log())
    assert found.logsumexp(0).item() == pytest.approx(0.0, abs=1e-12)
    assert p.kind is Kind.EXACT and p.event_shape == (T, 2) and p.batch_shape == ()


def test_every_sequence_is_drawn_as_often_as_its_probability_says():
    n = 40_000
    x = marginal().sample(torch.Size((n,)))
    assert x.shape == (n, T, 2)
    index = (x.flatten(1) @ (2.0 ** torch.arange(2 * T - 1, -1, -1, dtype=F64))).long()
    share = torch.bincount(index, minlength=64) / n
    truth = marginal().log_prob(EVERY).exp()
    assert float(((share - truth) / (truth * (1 - truth) / n).sqrt()).abs().max()) < 5


def test_steps_depend_on_one_another_by_the_path_alone():
    """x_1 and x_2 are not independent: the product of their marginals is another number."""
    p_1 = float(INITIAL @ HEADS[:, 0])
    both = sum(float(marginal().log_prob(x).exp()) for x in EVERY if x[0, 0] == x[1, 0] == 1)
    p_2 = float(INITIAL @ TRANSITION @ HEADS[:, 0])
    assert abs(both - p_1 * p_2) > 0.01


def test_batches():
    wide = marginal().expand((5, 4))
    assert wide.batch_shape == (5, 4) and wide.sample().shape == (5, 4, T, 2)
    assert wide.sample(torch.Size((2,))).shape == (2, 5, 4, T, 2)
    x = wide.sample()
    torch.testing.assert_close(wide.log_prob(x).flatten(), marginal().log_prob(x.flatten(0, 1)))


def test_the_support_is_that_of_every_entry():
    p = marginal()
    assert p.support.event_dim == 2 and p.support.is_discrete
    assert bool(p.support.check(EVERY).all()) and not bool(p.support.check(EVERY + 0.5).any())
    rows = Emitted(chain, coins, torch.Size((T, 2)), constraints.independent(constraints.real, 2))
    assert rows.support.event_dim == 2


def test_gradients_reach_the_chain():
    logits = INITIAL.log().requires_grad_(True)
    x = EVERY[37]

    def of(x: Tensor | None) -> DiscreteChain:
        assert x is not None
        evidence = dist.Bernoulli(HEADS).log_prob(x[..., None, :]).sum(-1)
        return DiscreteChain(logits, TRANSITION.log(), T, evidence)

    p = Emitted(of, coins, torch.Size((T, 2)), constraints.boolean)
    (slope,) = torch.autograd.grad(p.log_prob(x), logits)
    posterior = chain(x).marginals[0]  # Fisher's identity: ∂ log p / ∂ logits = p(z_1 | x) − p(z_1)
    torch.testing.assert_close(slope, posterior - INITIAL)


def test_a_sequence_of_another_length_is_refused():
    """A chain that takes its length from the evidence would score it as a shorter sequence."""

    def of(x: Tensor | None) -> DiscreteChain:
        assert x is not None
        return DiscreteChain(INITIAL.log(), TRANSITION.log(), evidence=x.new_zeros(*x.shape[:-1], 2))

    p = Emitted(of, coins, torch.Size((T, 2)), constraints.boolean)
    assert p.log_prob(EVERY).shape == (64,)
    for x in (EVERY[:, :2], EVERY[0, 0]):
        with pytest.raises(ShapeError, match=r"Emitted.*\(3, 2\)"):
            p.log_prob(x)
