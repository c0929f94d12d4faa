"""Oracles: a Jacobian for causality, attention written out, rotations, and passes against single steps."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from tests.sequences import F64, strong
from unigen.errors import ArgumentError
from unigen.nn.transformer import CausalTransformer, rotate, rotations


def net(length=6, parameters=3, **options):
    return strong(CausalTransformer(length, parameters, **({"width": 16, "heads": 2, "layers": 2} | options)))


def reference(model, x, context=None):
    """The same network, attention written out as a masked softmax."""
    n, t = x.shape[0], model.length
    h = model.embedding((x[:, : t - 1] - model.centre) / model.spread)
    h = torch.cat((model.start.expand(n, 1, -1), h), 1)
    h = h if context is None else h + context[:, None] @ model.context.weight.T
    h = h if model.place is None else h + model.place
    later = torch.ones(t, t, dtype=torch.bool).triu(1)
    for block in model.blocks:
        q, k, v = F.linear(F.layer_norm(h, h.shape[-1:]), block.qkv.weight).chunk(3, -1)
        q, k, v = (y.unflatten(-1, (block.heads, -1)) for y in (q, k, v))
        if model.place is None:
            angle = torch.arange(t)[:, None] * 10_000.0 ** (
                -torch.arange(0, q.shape[-1], 2, dtype=F64) / q.shape[-1]
            )
            turn = torch.polar(torch.ones_like(angle), angle)[:, None]
            q, k = (
                torch.cat(((z := torch.complex(*y.chunk(2, -1)) * turn).real, z.imag), -1) for y in (q, k)
            )
        weight = torch.einsum("nthd,nshd->nhts", q, k) / math.sqrt(q.shape[-1])
        weight = weight.masked_fill(later, -math.inf).softmax(-1)
        h = h + F.linear(torch.einsum("nhts,nshd->nthd", weight, v).flatten(-2), block.mix.weight)
        h = h + F.linear(
            F.linear(F.layer_norm(h, h.shape[-1:]), block.up.weight).relu() ** 2, block.down.weight
        )
    return F.linear(F.layer_norm(h, h.shape[-1:]), model.head.weight, model.head.bias)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@torch.no_grad()
def test_it_is_the_network_written_out(positions):
    model, x, c = (
        net(context=2, positions=positions),
        torch.randn(4, 6, 1, dtype=F64),
        torch.randn(4, 2, dtype=F64),
    )
    model.rotation = rotations(6, 8).double()
    assert (model(x, c) - reference(model, x, c)).abs().max() < 1e-6  # rotations are kept in float32


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_each_output_depends_on_all_earlier_inputs_and_on_no_other(positions):
    model = net(positions=positions)
    j = torch.autograd.functional.jacobian(
        lambda x: model(x[..., None]).sum(-1)[0], torch.randn(1, 6, dtype=F64)
    )
    seen = j[:, 0] != 0
    assert torch.equal(seen, torch.ones(6, 6).tril(-1).bool())


def test_rotations_make_scores_depend_on_the_distance_alone():
    turn, q, k = rotations(9, 8).double(), torch.randn(8, dtype=F64), torch.randn(8, dtype=F64)
    score = rotate(q.expand(1, 9, 1, 8), turn)[0, :, 0] @ rotate(k.expand(1, 9, 1, 8), turn)[0, :, 0].T
    for distance in range(-8, 9):
        diagonal = score.diagonal(distance)
        assert (diagonal - diagonal[0]).abs().max() < 1e-5
    assert (score[0, 0] - q @ k).abs() < 1e-5


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("known", [0, 2])
@torch.no_grad()
def test_steps_with_a_cache_are_those_without_to_the_bit_and_the_pass_to_rounding(positions, known):
    model = net(classes=5, context=3, parameters=5, positions=positions)
    x, c = torch.randint(5, (7, 6)), torch.randn(7, 3, dtype=F64)
    whole, cached, plain = model(x, c), model.steps(c), model.steps(c, cache=False)
    for t in range(known, 6):
        phi = cached(x, t)
        assert torch.equal(phi, plain(x, t))
        assert (phi - whole[:, t]).abs().max() < 1e-12 * whole.abs().max()


@torch.no_grad()
def test_selected_rows_go_on_as_if_they_had_been_there_from_the_start():
    model = net(classes=5, parameters=5, context=2)
    x, c, rows = torch.randint(5, (4, 6)), torch.randn(4, 2, dtype=F64), torch.tensor([3, 3, 1])
    steps = model.steps(c)
    for t in range(3):
        steps(x, t)
    steps.select(rows)
    expected = model(x[rows], c[rows])
    for t in range(3, 6):
        assert (steps(x[rows], t) - expected[:, t]).abs().max() < 1e-12 * expected.abs().max()


@torch.no_grad()
def test_positions_come_in_order():
    steps, x = net(classes=5, parameters=5).steps(), torch.randint(5, (2, 6))
    steps(x, 3)
    with pytest.raises(ArgumentError):
        steps(x, 3)


def test_dropout_is_off_in_evaluation_and_on_in_training():
    model, x = net(dropout=0.5), torch.randn(2, 6, 1, dtype=F64)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize(
    "bad", [{"width": 6, "heads": 2}, {"positions": "none"}, {"layers": 0}, {"length": 0}, {"dropout": 1.0}]
)
def test_bad_sizes_are_refused(bad):
    with pytest.raises(ArgumentError):
        CausalTransformer(**({"length": 4, "parameters": 2} | bad))
