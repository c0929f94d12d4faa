"""What windows cover, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

import unigen as ug
from unigen.data.windows import Windows
from unigen.errors import ArgumentError, DTypeError, EmptyDataError, ShapeError
from unigen.models.transformer import Transformer


def test_every_window_turns_up_and_none_leaves_the_text():
    data, seen = Windows(torch.arange(23), 5), set()
    assert len(data) == 3  # ⌊(23 − 4) / 5⌋
    for _ in range(400):
        for k in range(len(data)):
            window = data[k]
            assert torch.equal(window, torch.arange(5) + window[0])
            assert 5 * k <= int(window[0]) < 5 * k + 5
            seen.add(int(window[0]))
    assert seen == set(range(15))


def test_without_jitter_the_text_is_cut_once():
    data = Windows(torch.arange(11), 5, jitter=False)
    assert torch.equal(torch.stack(list(data)), torch.arange(10).reshape(2, 5))


def test_nothing_is_copied_in_advance_and_seeds_reproduce_the_batches():
    tokens = torch.randint(9, (1000,))
    data = Windows(tokens, 16)
    assert data.tokens.data_ptr() == tokens.data_ptr()
    passes = []
    for _ in range(2):
        torch.manual_seed(4)
        passes.append(torch.cat(list(DataLoader(data, batch_size=7, shuffle=True))))
    assert torch.equal(*passes) and passes[0].shape == (len(data), 16)


def test_fit_takes_them_and_a_resumed_run_sees_the_same(tmp_path):
    tokens, found = torch.randint(3, (300,)), []
    for stops in ((8,), (5, 8)):
        torch.manual_seed(0)
        program = Transformer(6, 3, width=8, heads=2, layers=1, dropout=0.2)
        for stop in stops:
            ug.fit(
                program, Windows(tokens, 6), steps=8, batch_size=32, seed=1, progress=False, resume=True,
                callbacks=[lambda event, stop=stop: event.step == stop],
                checkpoint=tmp_path / f"{len(stops)}.ckpt",
            )  # fmt: skip
        found.append(torch.cat([p.detach().flatten() for p in program.parameters()]))
    assert torch.equal(*found)


def test_bad_sequences_are_refused():
    tokens = torch.arange(8)
    with pytest.raises(ArgumentError):
        Windows(tokens, 0)
    with pytest.raises(ShapeError):
        Windows(tokens[None], 2)
    with pytest.raises(DTypeError):
        Windows(tokens.float(), 2)
    with pytest.raises(EmptyDataError):
        Windows(tokens, 5)
    assert len(Windows(tokens, 8, jitter=False)) == 1
    with pytest.raises(IndexError):
        Windows(tokens, 2)[7]
