"""Oracles: every token scored alone with the window it should see, and the whole text where one window holds it."""

from __future__ import annotations

import math

import pytest
import torch

from tests.sequences import pixelcnn, transformer
from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import ArgumentError, EmptyDataError, ShapeError, SupportError, UnsupportedQueryError
from unigen.evaluate.sliding_window import sliding_log_prob
from unigen.logprob import Kind
from unigen.models.ppca import PPCA


@torch.no_grad()
def alone(program, text, first, t, context=None):
    """log p(x_t | x_first … x_{t−1})."""
    x = torch.zeros(1, program.event_shape[0], dtype=torch.long)
    x[0, : t - first + 1] = text[first : t + 1]
    return program.net(x, context)[0, t - first].log_softmax(-1)[text[t]]


@pytest.mark.parametrize(("m", "stride"), [(17, 3), (17, 6), (17, 1), (6, 2), (4, 3), (1, 1), (18, 6)])
def test_each_token_sees_the_window_that_reaches_it_first(m, stride):
    program, text = transformer(6, 4), torch.randint(4, (m,))
    score = sliding_log_prob(program, text, stride=stride)
    starts = sorted({*range(0, max(m - 6, 0), stride), max(m - 6, 0)})
    expected = [alone(program, text, next(s for s in starts if t < s + 6), t) for t in range(m)]
    assert score.kind is Kind.EXACT and score.value.shape == (m,)
    assert torch.allclose(score.value, torch.stack(expected), atol=1e-10)
    if m > 6:
        past = [t - next(s for s in starts if t < s + 6) for t in range(6, m)]
        assert min(past) >= 6 - stride


def test_history_is_read_and_not_scored():
    program, text = transformer(6, 4, context=2), torch.randint(4, (20,))
    c = torch.randn(1, 2).double()
    whole = sliding_log_prob(program, text, c, stride=2)
    part = sliding_log_prob(program, text[4:], c, stride=2, history=text[:4])
    assert torch.allclose(whole.value[4:], part.value, atol=1e-12)
    assert part.value.shape == (16,)
    none = sliding_log_prob(program, text[4:], c, stride=6, history=text[:4])
    assert torch.equal(none.value, sliding_log_prob(program, text[4:], c, stride=6).value)


def test_one_window_is_the_joint_density_and_units_follow():
    program, text = transformer(6, 4), torch.randint(4, (6,))
    score = sliding_log_prob(program, text)
    assert float(score.value.sum()) == pytest.approx(float(program.log_prob(text[None]).value), abs=1e-10)
    assert score.bits_per_dim().value == pytest.approx(-score.mean().value / math.log(2))
    assert score.perplexity().value == pytest.approx(math.exp(-score.mean().value))


def test_many_windows_are_scored_in_parts():
    program, text = transformer(4, 3), torch.randint(3, (150,))
    assert torch.allclose(
        sliding_log_prob(program, text, stride=1).value[3:],
        torch.stack([alone(program, text, t - 3, t) for t in range(3, 150)]),
        atol=1e-10,
    )


def test_refusals():
    program, text = transformer(6, 4), torch.zeros(9, dtype=torch.long)
    for stride in (0, 7):
        with pytest.raises(ArgumentError):
            sliding_log_prob(program, text, stride=stride)
    with pytest.raises(SupportError, match="got 4 at place 8"):
        sliding_log_prob(program, torch.cat((text[:-1], torch.tensor([4]))))
    with pytest.raises(SupportError, match="history"):
        sliding_log_prob(program, text, history=torch.tensor([9]))
    with pytest.raises(ShapeError):
        sliding_log_prob(program, text[None])
    with pytest.raises(EmptyDataError):
        sliding_log_prob(program, text[:0])
    for other in (PPCA(3, 1), pixelcnn((1, 2, 2), Bernoulli())):
        with pytest.raises(UnsupportedQueryError):
            sliding_log_prob(other, text)
