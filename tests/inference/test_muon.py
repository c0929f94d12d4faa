"""Oracles: torch's AdamW and Muon, the singular value decomposition, and the compiled step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import unigen as ug
from unigen.errors import ArgumentError, ShapeError
from unigen.inference.muon import Muon, orthogonalised
from unigen.models.transformer import Transformer


@pytest.mark.parametrize("shape", [(8, 8), (4, 12), (12, 4), (3, 5, 7)])
def test_singular_vectors_stay_and_singular_values_come_near_one(shape):
    u = torch.randn(shape, dtype=torch.float64)
    left, s, right = torch.linalg.svd(u, full_matrices=False)
    core = left.mT @ orthogonalised(u) @ right.mT
    values = core.diagonal(dim1=-2, dim2=-1)
    assert (core - torch.diag_embed(values)).abs().max() < 1e-10
    large = s > 0.05 * s[..., :1]
    assert values[large].min() > 0.5 and values[large].max() < 1.3


def test_vectors_move_as_under_adamw_and_matrices_as_under_muon():
    ours = [nn.Parameter(torch.randn(24, 8)), nn.Parameter(torch.randn(5))]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizer = Muon(ours[:1], ours[1:], lr=0.02, lr_others=3e-3, weight_decay=0.05)
    muon = torch.optim.Muon(theirs[:1], lr=0.02, momentum=0.95, weight_decay=0.05)
    adam = torch.optim.AdamW(theirs[1:], lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)
    for _ in range(5):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        optimizer.step()
        muon.step()
        adam.step()
    assert (ours[1] - theirs[1]).abs().max() < 1e-6
    assert (ours[0] - theirs[0]).abs().max() < 5 * 0.02 * 2**-6  # torch iterates in bfloat16


def test_a_matrix_moves_by_the_learning_rate_in_spectral_norm():
    p = nn.Parameter(torch.zeros(16, 4))
    optimizer = Muon([p], [], lr=0.1)
    p.grad = torch.randn(16, 4)
    optimizer.step()
    assert 0.5 < float(torch.linalg.matrix_norm(p.detach(), 2)) / (0.1 * 2) < 1.3


@pytest.mark.slow
def test_compiled_it_takes_the_same_steps_and_a_file_continues_it(tmp_path):
    x, found = torch.randint(3, (60, 5)), []
    for compiled, stops in ((False, (6,)), (True, (6,)), (False, (3, 6))):
        torch.manual_seed(2)
        program = Transformer(5, 3, width=8, heads=2, layers=1).double()
        inner = list(program.net.blocks.parameters())
        others = [p for p in program.parameters() if all(p is not q for q in inner)]
        for stop in stops:
            record = ug.fit(
                program, x, optimizer=Muon(inner, others, weight_decay=0.1), steps=6, batch_size=20, seed=0,
                compile=compiled, progress=False, checkpoint=tmp_path / f"{compiled}{stops}", resume=True,
                callbacks=[lambda event, stop=stop: event.step == stop],
            )  # fmt: skip
            assert record.compiled is compiled
        found.append(torch.cat([p.detach().flatten() for p in program.parameters()]))
    assert (found[0] - found[1]).abs().max() < 1e-8
    assert torch.equal(found[0], found[2])


def test_bad_settings_are_refused():
    p, vector = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    with pytest.raises(ShapeError):
        Muon([vector], [])
    for bad in ({"lr": -1.0}, {"momentum": 1.0}, {"betas": (0.9, 1.0)}, {"weight_decay": -0.1}):
        with pytest.raises(ArgumentError):
            Muon([p], [vector], **bad)
