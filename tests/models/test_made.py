"""MADE: laws, enumeration, a Markov chain and a Gaussian in closed form, digits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import unigen as ug
from tests import problems
from tests.programs import traces_with_symbolic_batch
from unigen.data.digits import digits
from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.distributions.mixture_likelihood import MixtureOfGaussians
from unigen.errors import ArgumentError, DTypeError, SupportError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.made import MADE
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.testing.check import check_program

SEVERAL = ((0, 1, 2), (2, 0, 1), (1, 2, 0))
HEADS = [Gaussian("network"), Gaussian("learned"), Bernoulli(), Categorical(3), MixtureOfGaussians(2)]
each_head = pytest.mark.parametrize("head", HEADS, ids=lambda h: f"{type(h).__name__} {h.extra_repr()}")


@each_head
def test_every_law_holds(head):
    report = check_program(MADE(2, likelihood=head, hidden=(8,)))
    assert report["normalised"].held and report["density and draws"].held


def test_conditional_laws():
    assert check_program(MADE(2, likelihood=Bernoulli(), hidden=(8,), context=2))["kind"].held


@each_head
def test_one_step_is_one_graph_for_every_batch_size(head):
    program = MADE(3, likelihood=head, hidden=(8,))
    assert traces_with_symbolic_batch(program, MaximumLikelihood(), program.sample(6))


def test_a_markov_chain_is_learnt_to_its_entropy():
    """x_1 fair, P(x_i = x_{i−1}) = 0.9: the entropy is log 2 + 5 H(0.9) = 2.318562 nats."""
    flips = (torch.rand(20_000, 5) < 0.1).long().cumsum(1)
    first = torch.randint(2, (20_000, 1))
    x = torch.cat((first, (first + flips) % 2), 1).float()
    made = MADE(6, likelihood=Bernoulli(), hidden=(32,))
    ug.fit(made, x, steps=600, lr=1e-2, batch_size=512, seed=0, progress=False)
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)))
    log_p = made.log_prob(states).value.double()
    assert abs(float(log_p.exp().sum()) - 1) < 1e-5
    same = (states[:, 1:] == states[:, :-1]).sum(1).double()
    truth = math.log(0.5) + same * math.log(0.9) + (5 - same) * math.log(0.1)
    kl = float((truth.exp() * (truth - log_p)).sum())
    assert -float((truth.exp() * truth).sum()) == pytest.approx(2.318562, abs=5e-6)
    assert 0 <= kl < 0.01
    draws = made.sample(20_000, seed=1)
    assert abs(float((draws[:, 1:] == draws[:, :-1]).float().mean()) - 0.9) < 0.01


def test_gaussian_conditionals_reach_the_full_gaussian():
    covariance = torch.tensor([[1.4, 0.8, 0.1], [0.8, 1.2, -0.4], [0.1, -0.4, 0.9]])
    x = torch.randn(4000, 3) @ torch.linalg.cholesky(covariance).T + 5
    made = MADE(3, hidden=(), order=(2, 0, 1))
    ug.fit(made, x, steps=400, lr=0.02, seed=0, progress=False)
    best = problems.gaussian_log_density(x.numpy(), x.mean(0).numpy(), np.cov(x.T.numpy())).mean()
    assert best - 0.005 < float(made.log_prob(x).value.mean()) < best + 5e-3


def test_training_starts_at_independent_features():
    x = 1000 + 50 * torch.randn(2000, 4)
    made = MADE(4, hidden=(16,))
    made.initialise(x)
    independent = torch.distributions.Normal(x.mean(0), x.std(0)).log_prob(x).sum(-1)
    assert (made.log_prob(x).value.mean() - independent.mean()).abs() < 0.1


def test_a_mixture_on_digits_beats_the_full_gaussian():
    """250 held-out images, dequantised; a full-covariance Gaussian has 48.7 nats."""
    data = digits()
    made = MADE(64, likelihood=MixtureOfGaussians(5), hidden=(128,))
    ug.fit(made, data, steps=150, seed=0, progress=False)
    full = problems.gaussian_log_density(
        data.test.numpy(), data.train.double().mean(0).numpy(), torch.cov(data.train.double().T).numpy()
    )
    assert made.log_prob(data.test).value.mean() > full.mean() + 5


@pytest.mark.parametrize("head", [None, Gaussian("learned"), Bernoulli(), Categorical(3)], ids=str)
def test_saved_and_loaded_it_is_the_same(head, tmp_path):
    made = MADE(3, likelihood=head, hidden=(8,), order=(2, 0, 1))
    x = made.sample(20)
    if head is None:
        made.initialise(x)  # standardised inputs belong to the state
    ug.save(made, tmp_path / "made")
    assert torch.equal(ug.load(tmp_path / "made").log_prob(x).value, made.log_prob(x).value)


@pytest.mark.parametrize("head", [Gaussian("network"), Bernoulli(), Categorical(3)], ids=str)
def test_every_law_holds_for_a_mixture_of_orders(head):
    report = check_program(MADE(2, likelihood=head, hidden=(8,), orders=2, dropout=0.1))
    assert report["normalised"].held and report["density and draws"].held


def test_a_conditional_mixture_of_orders_obeys_the_laws():
    made = MADE(2, likelihood=Bernoulli(), hidden=(8,), context=2, orders=2)
    assert check_program(made)["kind"].held and made.formula == "p(x | c)"


@pytest.mark.parametrize("head", [Gaussian("network"), Bernoulli()], ids=str)
@pytest.mark.parametrize("options", [{}, {"dropout": 0.2, "direct": True}], ids=str)
def test_one_step_over_orders_is_one_graph_for_every_batch_size(head, options):
    program = MADE(3, likelihood=head, hidden=(8,), orders=SEVERAL, **options)
    assert traces_with_symbolic_batch(program, program.objective, program.sample(6))


@pytest.mark.usefixtures("interpreted_steps")
def test_compiled_training_over_orders_equals_eager():
    x = MADE(4, likelihood=Bernoulli(), hidden=(8,)).sample(200, seed=3)
    losses = []
    for compiled in (False, True):
        torch.manual_seed(1)
        made = MADE(4, likelihood=Bernoulli(), hidden=(8,), orders=3)
        record = ug.fit(made, x, steps=20, batch_size=32, seed=0, progress=False, compile=compiled)
        assert record.compiled is compiled
        losses.append(made.log_prob(x).value)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-4)


def test_the_mixture_is_better_than_its_orders_on_average():
    """A Markov chain: log p is above the mean over orders, and near its entropy, 5 H(0.9) = 1.6254 nats."""
    flips = (torch.rand(5000, 5) < 0.1).long().cumsum(1)
    x = torch.cat((torch.zeros(5000, 1, dtype=torch.long), flips % 2), 1).float()
    made = MADE(6, likelihood=Bernoulli(), hidden=(64,), orders=2)
    ug.fit(made, x, steps=600, lr=1e-2, batch_size=512, seed=0, progress=False)
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)))
    log_p = made.log_prob(states).value
    assert abs(float(log_p.exp().sum()) - 1) < 1e-5
    with torch.no_grad():
        each = torch.stack([made.eval().marginal().log_prob_given(states, m) for m in range(2)])
    assert bool((log_p >= each.mean(0) - 1e-5).all())
    truth = 5 * (0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert truth - 0.1 < float(made.log_prob(x).value.mean()) < truth + 0.1


def test_several_orders_are_saved_with_their_masks(tmp_path):
    for arguments in (
        {"orders": 3},
        {"orders": SEVERAL, "activation": "SiLU", "dropout": 0.1},
        {"direct": True},
        {"orders": 2, "direct": True},
    ):
        made = MADE(3, likelihood=Bernoulli(), hidden=(8,), **arguments)
        x = made.sample(20)
        made.initialise(x)
        ug.save(made, tmp_path / "made")
        loaded = ug.load(tmp_path / "made")
        assert torch.equal(loaded.log_prob(x).value, made.log_prob(x).value)
        assert torch.equal(loaded.sample(5, seed=0), made.sample(5, seed=0))


def test_dropout_is_off_outside_training():
    made = MADE(3, likelihood=Bernoulli(), hidden=(64,), dropout=0.5)
    x = made.sample(20)
    assert torch.equal(made.log_prob(x).value, made.log_prob(x).value) and made.training
    assert not torch.equal(made.marginal().log_prob(x), made.marginal().log_prob(x))


@pytest.mark.parametrize(
    "arguments",
    [
        {"orders": 0},
        {"orders": [(0, 1)]},
        {"orders": 2, "order": (0, 1, 2)},
        {"dropout": 1.0},
        {"activation": "Id"},
    ],
)
def test_bad_orders_and_regularisation_are_refused(arguments):
    with pytest.raises(ArgumentError):
        MADE(3, hidden=(4,), **arguments)


def test_kinds_and_refusals():
    made = MADE(3, likelihood=Bernoulli(), hidden=(8,))
    assert made.kind is Kind.EXACT and made.formula == "p(x)"
    with pytest.raises(UnsupportedQueryError):
        made.score(made.sample(2))
    with pytest.raises(SupportError):
        made.log_prob(torch.full((2, 3), 2.0))
    with pytest.raises(DTypeError):
        made.log_prob(torch.full((2, 3), 0.5))
    with pytest.raises(ArgumentError):
        MADE(3, order=(0, 1, 1))
    with pytest.raises(ArgumentError):
        MADE(3, likelihood=Gaussian("per_feature", features=3)).sample(2)
