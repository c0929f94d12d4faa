"""Transformer: laws, a Markov chain to its entropy, compiled training, files, tokens outside the vocabulary."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import unigen as ug
from tests.programs import traces_with_symbolic_batch
from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.distributions.logistic_likelihood import MixtureOfLogistics
from unigen.errors import ArgumentError, SupportError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.transformer import Transformer
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.testing.check import check_program

SMALL = {"width": 8, "heads": 2, "layers": 1}
HEADS = [Gaussian("network"), Bernoulli(), Categorical(3), MixtureOfLogistics(2, levels=3)]
each_head = pytest.mark.parametrize("head", HEADS, ids=lambda h: f"{type(h).__name__} {h.extra_repr()}")


@each_head
def test_every_law_holds(head):
    report = check_program(Transformer(2, likelihood=head, **SMALL), budget=40_000)
    assert report["normalised"].held and report["density and draws"].held


def test_conditional_laws():
    assert check_program(Transformer(2, 3, context=2, positions="learned", **SMALL))["kind"].held


@each_head
def test_one_step_is_one_graph_for_every_batch_size(head):
    program = Transformer(3, likelihood=head, dropout=0.1, **SMALL)
    assert traces_with_symbolic_batch(program, MaximumLikelihood(), program.sample(6))


@pytest.mark.slow
@pytest.mark.usefixtures("interpreted_steps")
def test_compiled_training_equals_eager():
    x, found = torch.randint(3, (40, 6)), []
    for compiled in (True, False):
        torch.manual_seed(3)
        program = Transformer(6, 3, context=2, **SMALL).double()
        data = (x, torch.randn(40, 2, generator=torch.Generator().manual_seed(1)))
        record = ug.fit(program, data, steps=6, batch_size=16, seed=0, compile=compiled, progress=False)
        assert record.compiled is compiled
        found.append(torch.cat([p.detach().flatten() for p in program.parameters()]))
    assert (found[0] - found[1]).abs().max() < 1e-8


def test_a_markov_chain_is_learnt_to_its_entropy():
    """x_1 uniform on three letters, each next the following letter with probability 0.9, else the one after."""
    first, skip = torch.randint(3, (4000, 1)), 1 + (torch.rand(4000, 3) < 0.1).long()
    x = torch.cat((first, first + skip.cumsum(1)), 1) % 3
    program = Transformer(4, 3, width=16, heads=2, layers=1)
    ug.fit(program, x, steps=250, batch_size=128, lr=1e-2, seed=0, progress=False)
    states = torch.tensor(list(itertools.product(range(3), repeat=4)))
    log_p = program.log_prob(states).value.double()
    step = (states[:, 1:] - states[:, :-1]) % 3
    truth = torch.tensor([0.0, 0.9, 0.1]).double()[step].prod(1) / 3
    kl = float(torch.special.xlogy(truth, truth).sum() - (truth * log_p).sum())
    assert abs(float(log_p.exp().sum()) - 1) < 1e-5
    assert -1e-6 < kl < 0.02


def test_training_starts_at_the_frequencies():
    x = (torch.rand(3000, 5) < 0.2).long()
    program = Transformer(5, 2, **SMALL)
    program.initialise(x)
    entropy = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8)) * 5
    assert abs(float(program.log_prob(x).value.mean()) + entropy) < 0.2
    real = Transformer(5, likelihood=Gaussian("network"), **SMALL)
    x = 1000 + 50 * torch.randn(3000, 5)
    real.initialise(x)
    independent = torch.distributions.Normal(x.mean(), x.std()).log_prob(x).sum(-1).mean()
    assert (real.log_prob(x).value.mean() - independent).abs() < 0.5


@pytest.mark.parametrize(
    "options", [{"vocabulary": 4}, {"likelihood": MixtureOfLogistics(2, levels=4)}], ids=str
)
def test_saved_and_loaded_it_is_the_same(options, tmp_path):
    program = Transformer(3, context=1, positions="learned", **SMALL, **options)
    c = torch.randn(5, 1)
    x = program.sample(5, c)
    ug.save(program, tmp_path / "t")
    again = ug.load(tmp_path / "t")
    assert torch.equal(again.log_prob(x, c).value, program.log_prob(x, c).value)
    assert torch.equal(again.sample(5, c, seed=0), program.sample(5, c, seed=0))


def test_kinds_and_refusals():
    program = Transformer(3, 4, **SMALL)
    assert program.kind is Kind.EXACT and program.formula == "p(x)"
    with pytest.raises(SupportError, match=r"got 4 at place \(1, 2\), expected 0 … 3"):
        program.log_prob(torch.tensor([[0, 1, 2], [0, 1, 4]]))
    with pytest.raises(SupportError, match=r"got -1 at place \(0, 0\)"):
        ug.fit(program, torch.tensor([[-1, 0, 0], [0, 0, 0]]), steps=1)
    with pytest.raises(UnsupportedQueryError):
        program.score(torch.zeros(1, 3))
    for bad in (
        {},
        {"vocabulary": 3, "likelihood": Bernoulli()},
        {"vocabulary": 1},
        {"vocabulary": 3, "heads": 3},
    ):
        with pytest.raises(ArgumentError):
            Transformer(3, **bad)
