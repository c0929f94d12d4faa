"""Oracles: enumerated distributions of completions, greedy decoding written out, tables changed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chi2

from tests.sequences import F64, codes, pixelcnn, states, transformer
from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.errors import ArgumentError, ShapeError, SupportError, UnsupportedQueryError
from unigen.models.ppca import PPCA
from unigen.samplers.decoding import Decoding


def fits(draws, expected_p, levels):
    """χ² of draws (N, D) against probabilities of all states, false-positive rate 10⁻⁷."""
    n = draws.shape[0]
    counts = torch.bincount(codes(draws, levels), minlength=len(expected_p)).double()
    expected = expected_p * n
    assert float(counts[expected_p == 0].sum()) == 0
    rare = expected < 10
    counts = torch.cat((counts[~rare], counts[rare].sum()[None]))
    expected = torch.cat((expected[~rare], expected[rare].sum()[None] + 1e-9))
    return float(((counts - expected).square() / expected).sum()) < chi2.isf(1e-7, len(expected))


@torch.no_grad()
def test_completions_of_a_prompt_follow_the_conditional():
    program, x = transformer(5, 4), states(5, 4)
    p = program.log_prob(x).value.exp()
    here = (x[:, :2] == torch.tensor([3.0, 1.0], dtype=F64)).all(1)
    p = torch.where(here, p, 0.0) / p[here].sum()
    draws = Decoding().complete(program, [3, 1], n=4000, seed=0)
    assert fits(draws, p, 4)


@torch.no_grad()
def test_completions_of_the_upper_half_of_an_image_follow_the_conditional():
    program, x = pixelcnn((2, 2, 2), Bernoulli()), states(8, 2).reshape(-1, 2, 2, 2)
    upper = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]], dtype=F64)
    p = program.log_prob(x).value.exp()
    here = (x[:, :, :1] == upper).flatten(1).all(1)
    p = torch.where(here, p, 0.0) / p[here].sum()
    draws = Decoding().complete(program, upper, n=3000, seed=0)
    assert draws.shape == (3000, 2, 2, 2) and fits(draws, p, 2)


@pytest.mark.parametrize(
    "rule",
    [Decoding(0.5), Decoding(top_k=2), Decoding(top_p=0.6), Decoding(1.7, top_k=3, top_p=0.9)],
    ids=repr,
)
@torch.no_grad()
def test_draws_follow_the_changed_conditionals(rule):
    """The joint law of changed conditionals, enumerated with a rule of its own."""
    program, x = transformer(3, 5), states(3, 5)
    phi = program.net(x.long()).log_softmax(-1)
    joint = torch.ones(len(x), dtype=F64)
    for t in range(3):
        for i in range(len(x)):
            p = (phi[i, t] / rule.temperature).softmax(0)
            order = p.argsort(descending=True).tolist()
            kept, reached = [], 0.0
            whole = sum(float(p[k]) for k in order[: rule.top_k])
            for k in order[: rule.top_k]:
                if reached >= rule.top_p * whole and rule.top_p < 1:
                    break
                kept.append(k)
                reached += float(p[k])
            k = int(x[i, t])
            joint[i] *= p[k] / p[kept].sum() if k in kept else 0.0
    assert abs(float(joint.sum()) - 1) < 1e-10
    assert fits(program.sample(4000, sampler=rule, seed=1), joint, 5)


@torch.no_grad()
def test_greedy_decoding_three_ways():
    program, x = transformer(6, 5), torch.zeros(4, 6, dtype=F64)
    for t in range(6):
        x[:, t] = program.net(x.long())[:, t].argmax(-1).to(F64)
    for rule in (Decoding(top_k=1), Decoding(1e-6), Decoding(1e-300), Decoding(top_p=1e-9)):
        assert torch.equal(program.sample(4, sampler=rule, seed=2), x)


def test_defaults_change_nothing_and_neither_do_rules_that_keep_all():
    program = transformer(6, 5)
    plain = program.sample(20, seed=3)
    for rule in (
        Decoding(),
        Decoding(top_p=1.0),
        Decoding(top_k=5),
        Decoding(top_k=99),
        Decoding(cache=False),
    ):
        assert torch.equal(program.sample(20, sampler=rule, seed=3), plain)
    assert torch.equal(Decoding().complete(program, torch.zeros(0), n=20, seed=3), plain)


def test_a_table_is_changed_as_the_definition_says():
    table = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=F64).log()
    assert torch.allclose(
        Decoding(0.5).warp(table).softmax(-1), torch.tensor([16, 9, 4, 1], dtype=F64) / 30, atol=1e-12
    )
    finite = lambda rule: Decoding(**rule).warp(table).isfinite().tolist()  # noqa: E731
    assert finite({"top_k": 2}) == [True, True, False, False]
    assert finite({"top_p": 0.69}) == [True, True, False, False]
    assert finite({"top_p": 0.71}) == [True, True, True, False]
    assert finite({"top_p": 0.1}) == [True, False, False, False]
    ties = torch.zeros(4)
    assert Decoding(top_k=1).warp(ties).isfinite().all()  # documented: ties stay
    left_out = torch.tensor([0.0, -math.inf])
    assert not Decoding(0.1, top_k=1, top_p=0.5).warp(left_out).isnan().any()


@torch.no_grad()
def test_continuous_values_are_completed_but_not_sharpened():
    program = transformer(4, None, likelihood=Gaussian("network"))
    x = Decoding().complete(program, [0.5, -1.0], n=3, seed=0)
    assert torch.equal(x[:, :2], torch.tensor([[0.5, -1.0]], dtype=F64).expand(3, 2))
    with pytest.raises(UnsupportedQueryError):
        Decoding(0.5).complete(program, [0.5])


def test_contexts_and_several_prompts_go_with_their_rows():
    program = transformer(4, 3, context=2)
    c, prompts = torch.randn(2, 2, dtype=F64), torch.tensor([[0, 1], [2, 2]])
    both = Decoding(top_k=1).complete(program, prompts, c)
    for i in (0, 1):
        assert torch.equal(both[i], Decoding(top_k=1).complete(program, prompts[i], c[i : i + 1])[0])


@pytest.mark.parametrize(
    "bad", [{"temperature": 0.0}, {"temperature": -1.0}, {"temperature": math.inf}, {"temperature": math.nan},
            {"top_k": 0}, {"top_k": 1.5}, {"top_p": 0.0}, {"top_p": 1.1}]
)  # fmt: skip
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ArgumentError):
        Decoding(**bad)


def test_prompts_that_do_not_fit_are_refused():
    program = transformer(4, 3)
    with pytest.raises(ShapeError, match="longer than the context"):
        Decoding().complete(program, [0] * 5)
    with pytest.raises(SupportError, match="got 3 at place"):
        Decoding().complete(program, [0, 3])
    with pytest.raises(UnsupportedQueryError):
        Decoding().complete(PPCA(3, 1), [0.0])
    with pytest.raises(UnsupportedQueryError):
        PPCA(3, 1).sample(2, sampler=Decoding())
    assert torch.equal(Decoding().complete(program, [0, 1, 2, 0])[0], torch.tensor([0.0, 1, 2, 0], dtype=F64))
    image = pixelcnn((1, 2, 2), Categorical(3))
    with pytest.raises(ShapeError):
        Decoding().complete(image, torch.zeros(1, 1, 3))
