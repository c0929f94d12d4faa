"""The codebook: nearest by brute force, averages by hand, straight-through gradients, restarts, perplexity."""

from __future__ import annotations

import math

import pytest
import torch

from unigen.errors import ArgumentError
from unigen.nn.codebook import Codebook

F64 = torch.float64


def test_the_nearest_entry_is_the_nearest():
    book, v = Codebook(7, 3).double(), torch.randn(5, 4, 3, dtype=F64)
    k = book.nearest(v)
    assert torch.equal(k, torch.cdist(v.reshape(-1, 3), book.entries).argmin(1).reshape(5, 4))
    assert torch.equal(book.lookup(k.double()), book.entries[k])


def test_gradients_pass_straight_through_and_commitment_moves_vectors_alone():
    book = Codebook(7, 3).double().eval()
    v = torch.randn(5, 3, dtype=F64, requires_grad=True)
    weights = torch.randn(5, 3, dtype=F64)
    k, e, distance = book(v)
    torch.testing.assert_close(e, book.entries[k])
    (grad,) = torch.autograd.grad((e * weights).sum(), v)
    assert torch.equal(grad, weights)
    (grad,) = torch.autograd.grad(distance.sum(), v)
    torch.testing.assert_close(grad, 2 * (v.detach() - book.entries[k]))


def test_averages_by_hand():
    book = Codebook(3, 2, decay=0.9, restart=0.0).double()
    book.start_at(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], dtype=F64))
    counts, sums = book.counts.clone(), book.sums.clone()
    v = torch.cat((book.entries[0] + torch.tensor([[0.5, 0.5], [1.0, 0.0]]), book.entries[1:2]))
    book(v)
    n = 0.9 * counts + 0.1 * torch.tensor([2.0, 1.0, 0.0])
    s = 0.9 * sums + 0.1 * torch.stack((v[0] + v[1], v[2], torch.zeros(2)))
    torch.testing.assert_close(book.counts, n)
    torch.testing.assert_close(book.entries, s / n[:, None])


def test_entries_converge_to_the_means_of_what_they_serve():
    centres = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    x = centres[torch.randint(0, 3, (600,))] + 0.3 * torch.randn(600, 2)
    book = Codebook(3, 2, decay=0.9)
    book.start_at(centres + 0.5)
    for _ in range(100):
        book(x)
    served = torch.cdist(x, centres).argmin(1)
    means = torch.stack([x[served == k].mean(0) for k in range(3)])
    assert torch.cdist(means, book.entries).min(1).values.max() < 1e-3
    assert 2.8 < float(book.perplexity) <= 3.0 + 1e-5


def test_nothing_moves_in_evaluation():
    book = Codebook(3, 2).eval()
    before = book.entries.clone()
    book(torch.randn(9, 2))
    assert torch.equal(book.entries, before)


def test_dead_entries_start_anew_at_vectors_of_the_batch():
    book, v = Codebook(4, 2, decay=0.5, restart=0.1), 0.1 * torch.randn(50, 2)
    book.start_at(torch.tensor([[0.0, 0.0], [90.0, 0.0], [90.0, 90.0], [0.0, 90.0]]))
    still = Codebook(4, 2, decay=0.5, restart=0.0)
    still.load_state_dict(book.state_dict())
    for _ in range(40):
        book(v)
        still(v)
    assert book.entries.abs().max() < 1 and float(book.perplexity) > 2.0
    assert float(still.perplexity) < 1.1


def test_perplexity_is_that_of_the_shares():
    book = Codebook(4, 2)
    book.counts.copy_(torch.tensor([1.0, 1.0, 0.0, 2.0]))
    assert float(book.perplexity) == pytest.approx(math.exp(1.5 * math.log(2)), rel=1e-6)


@pytest.mark.parametrize(
    "options", [{"codes": 0}, {"decay": 1.0}, {"restart": 1.0}, {"features": 0}], ids=str
)
def test_bad_options_are_refused(options):
    with pytest.raises(ArgumentError):
        Codebook(**{"codes": 3, "features": 2} | options)
