"""PixelCNN: laws, compiled training, files, and the digits beside a masked network without convolutions."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from tests.programs import traces_with_symbolic_batch
from unigen.data.digits import digits
from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.distributions.logistic_likelihood import MixtureOfLogistics
from unigen.errors import ArgumentError, ShapeError
from unigen.logprob import Kind
from unigen.models.pixelcnn import PixelCNN
from unigen.objectives.likelihood import MaximumLikelihood
from unigen.recipe import Cosine
from unigen.testing.check import check_program

SMALL = {"width": 4, "layers": 1}
CASES = [
    ((1, 1, 2), Gaussian("network")),
    ((1, 2, 2), Bernoulli()),
    ((2, 1, 2), MixtureOfLogistics(2, levels=3)),
]
each_case = pytest.mark.parametrize(("shape", "head"), CASES, ids=str)


@each_case
def test_every_law_holds(shape, head):
    report = check_program(PixelCNN(shape, head, **SMALL), budget=40_000)
    assert report["normalised"].held and report["density and draws"].held


def test_conditional_laws():
    assert check_program(PixelCNN((1, 2, 1), Categorical(3), context=2, **SMALL))["kind"].held


@each_case
def test_one_step_is_one_graph_for_every_batch_size(shape, head):
    program = PixelCNN(shape, head, dropout=0.1, **SMALL)
    assert traces_with_symbolic_batch(program, MaximumLikelihood(), program.sample(6))


@pytest.mark.slow
@pytest.mark.usefixtures("interpreted_steps")
def test_compiled_training_equals_eager():
    x, found = torch.randint(3, (40, 2, 3, 3)), []
    for compiled in (True, False):
        torch.manual_seed(3)
        program = PixelCNN((2, 3, 3), Categorical(3), **SMALL).double()
        record = ug.fit(program, x, steps=6, batch_size=16, seed=0, compile=compiled, progress=False)
        assert record.compiled is compiled
        found.append(torch.cat([p.detach().flatten() for p in program.parameters()]))
    assert (found[0] - found[1]).abs().max() < 1e-8


def test_stripes_are_learnt_across_channels_rows_and_columns():
    """One fair bit decides all of an image: log 2 nats are left, whatever the way the bit has to travel."""
    bit = torch.randint(2, (512, 1, 1, 1))
    x = ((torch.arange(4)[:, None] + torch.arange(4) + torch.arange(2)[:, None, None]) + bit) % 2
    program = PixelCNN((2, 4, 4), Bernoulli(), width=16, layers=2)
    ug.fit(program, x, steps=150, batch_size=64, lr=1e-2, schedule=Cosine(5), seed=0, progress=False)
    assert 0.69 < -float(program.log_prob(x).value.mean()) < 1.2  # independent pixels: 22.2
    draws = program.sample(50, seed=1)
    assert (draws[:, 0, :, :-1] != draws[:, 0, :, 1:]).float().mean() > 0.9


def test_classes_change_the_image():
    y = torch.randint(2, (512,))
    x = y[:, None, None, None].expand(-1, 1, 3, 3)
    program = PixelCNN((1, 3, 3), Bernoulli(), context=2, width=16, layers=2)
    c = torch.nn.functional.one_hot(y).float()
    ug.fit(program, (x, c), steps=80, lr=1e-2, schedule=Cosine(5), seed=0, progress=False)
    assert float(program.log_prob(x, c).value.mean()) > -0.05
    assert float(program.log_prob(1 - x, c).value.mean()) < -5


def test_few_steps_on_digits_beat_independent_pixels():
    """Half a minute's training is in the benchmark; here 60 steps overtake the counts of every pixel by itself."""
    data = digits(dequantise=False)
    train, test = (x.reshape(-1, 1, 8, 8) for x in (data.train, data.test))
    counts = Categorical(17).marginals(data.train).softmax(-1)
    independent = float(counts.log()[torch.arange(64), data.test.long()].sum(-1).mean())
    program = PixelCNN((1, 8, 8), MixtureOfLogistics(3, levels=17), width=12, layers=2)
    ug.fit(program, train, steps=60, lr=1e-2, schedule=Cosine(5), seed=0, progress=False)
    assert float(program.log_prob(test).value.mean()) > independent + 3


@pytest.mark.parametrize(
    ("shape", "head"), [((1, 2, 2), Bernoulli()), ((3, 2, 1), MixtureOfLogistics(2, levels=4))]
)
def test_saved_and_loaded_it_is_the_same(shape, head, tmp_path):
    program = PixelCNN(shape, head, context=1, **SMALL)
    c = torch.randn(5, 1)
    x = program.sample(5, c)
    ug.save(program, tmp_path / "p")
    again = ug.load(tmp_path / "p")
    assert torch.equal(again.log_prob(x, c).value, program.log_prob(x, c).value)


def test_kinds_and_refusals():
    program = PixelCNN((1, 2, 2), Bernoulli(), **SMALL)
    assert program.kind is Kind.EXACT and program.formula == "p(x)"
    with pytest.raises(ShapeError):
        program.log_prob(torch.zeros(3, 4))
    with pytest.raises(ArgumentError):
        PixelCNN((1, 2, 2), Bernoulli(), kernel=2)
    with pytest.raises(ArgumentError):
        PixelCNN((1, 2), Bernoulli())
