"""Oracles: exhaustive search over all sequences, and a beam kept by hand."""

from __future__ import annotations

import pytest
import torch

from tests.sequences import pixelcnn, states, transformer
from unigen.distributions.likelihoods import Bernoulli, Gaussian
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.samplers.beam_search import BeamSearch
from unigen.samplers.decoding import Decoding


@torch.no_grad()
def test_a_beam_of_full_width_finds_all_4_to_the_5_sequences_best_first():
    program, x = transformer(5, 4), states(5, 4)
    log_p = program.log_prob(x).value
    found, score = BeamSearch(4**4).search(program)
    best, order = log_p.sort(descending=True)
    assert torch.allclose(score, best[: 4**4], atol=1e-10) and torch.equal(found[:10], x[order[:10]])
    assert torch.equal(program.sample(1, sampler=BeamSearch(4**4))[0], x[log_p.argmax()])


@torch.no_grad()
def test_a_narrow_beam_keeps_what_it_should():
    program, kept = transformer(6, 3), [((), 0.0)]
    for t in range(6):
        longer = []
        for prefix, score in kept:
            x = torch.tensor([[*prefix, *[0] * (6 - t)]])
            phi = program.net(x)[0, t].log_softmax(-1)
            longer += [((*prefix, k), score + float(phi[k])) for k in range(3)]
        kept = sorted(longer, key=lambda item: -item[1])[:4]
    found, score = BeamSearch(4).search(program)
    assert [tuple(row) for row in found.long().tolist()] == [prefix for prefix, _ in kept]
    assert torch.allclose(score, torch.tensor([s for _, s in kept]).double(), atol=1e-10)
    assert torch.allclose(score, program.log_prob(found).value, atol=1e-10)


@torch.no_grad()
def test_a_prompt_and_a_context_condition_the_search():
    program, x = transformer(5, 3, context=2), states(5, 3)
    c = torch.randn(1, 2).double()
    log_p = program.log_prob(x, c.expand(len(x), 2)).value
    here = (x[:, :2] == torch.tensor([2.0, 0.0]).double()).all(1)
    best, order = log_p[here].sort(descending=True)
    found, score = BeamSearch(27).search(program, [2, 0], c)
    assert torch.equal(found[0], x[here][order[0]])
    assert torch.allclose(score, best - log_p[here].logsumexp(0), atol=1e-10)
    assert torch.equal(program.sample(2, c, sampler=BeamSearch(3**5)), x[log_p.argsort(descending=True)[:2]])


@torch.no_grad()
def test_images_and_beams_of_one():
    image = pixelcnn((2, 2, 2), Bernoulli())
    x = states(8, 2).reshape(-1, 2, 2, 2)
    assert torch.equal(BeamSearch(256).search(image)[0][0], x[image.log_prob(x).value.argmax()])
    program = transformer(6, 5)
    assert torch.equal(BeamSearch(1).search(program)[0], program.sample(1, sampler=Decoding(top_k=1)))


def test_refusals():
    program = transformer(3, 2, context=1)
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ArgumentError):
            BeamSearch(bad)
    with pytest.raises(ArgumentError, match="fewer"):
        program.sample(9, torch.zeros(9, 1), sampler=BeamSearch(100))
    with pytest.raises(ArgumentError, match="one context"):
        program.sample(2, torch.tensor([[0.0], [1.0]]), sampler=BeamSearch(4))
    with pytest.raises(ArgumentError, match="2 prompts"):
        BeamSearch(2).search(program, [[0], [1]], torch.zeros(1, 1))
    with pytest.raises(UnsupportedQueryError):
        BeamSearch(2).search(transformer(3, None, likelihood=Gaussian("network")))
