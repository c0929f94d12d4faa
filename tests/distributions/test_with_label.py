"""Rows of features and a label: agreement with the class, missing labels, draws, the set of valid rows."""

from __future__ import annotations

import math

import torch

import unigen as ug
from unigen.distributions.with_label import LabelledRows, WithLabel, average, one_hot

F64 = torch.float64


def test_a_label_has_mass_one_at_its_class_and_none_elsewhere():
    flow = ug.NSF(2, context=3, transforms=1, hidden=(8,)).double()
    y, x = torch.tensor([0, 1, 2, 1]), torch.randn(4, 2, dtype=F64)
    p = WithLabel(flow, y)
    alone = flow.log_prob(x, one_hot(y, 3, F64)).value
    every = torch.stack(
        [p.log_prob(torch.cat((x, torch.full((4, 1), float(k), dtype=F64)), 1)) for k in range(3)]
    )
    torch.testing.assert_close(every.exp(), one_hot(y, 3, F64).T * alone.exp())
    assert every.isfinite().all()
    missing = torch.cat((x, torch.full((4, 1), math.nan, dtype=F64)), 1)
    torch.testing.assert_close(p.log_prob(missing), alone)
    torch.testing.assert_close(p.surrogate(missing), alone)


def test_draws_carry_the_class():
    vae = ug.VAE(2, 1, context=3, hidden=(8,))
    p = WithLabel(vae, torch.tensor([0, 2]))
    assert p.sample(torch.Size((4,))).shape == (4, 2, 3) and torch.equal(
        p.sample()[:, 2], torch.tensor([0.0, 2.0])
    )
    assert p.expand(torch.Size((5, 2))).batch_shape == (5, 2) and p.kind is vae.kind


def test_valid_rows():
    rows = LabelledRows(ug.VAE(2, 1, context=3).support, 3)
    nan = math.nan
    x = torch.tensor([[0.0, 0, 2], [0, 0, nan], [0, 0, 3], [0, 0, 0.5], [0, nan, 1], [0, 0, -1]])
    assert rows.check(x).tolist() == [True, True, False, False, False, False]


def test_average_is_minus_the_divergence_and_has_gradients_at_zero():
    log_q = torch.tensor([[0.3, 0.7]], dtype=F64).log()
    joint = torch.tensor([[0.6, 0.4]], dtype=F64).log()
    kl = 0.3 * math.log(0.5) + 0.7 * math.log(0.7 / 0.4)
    torch.testing.assert_close(average(log_q, joint), torch.tensor([-kl], dtype=F64))
    sure = torch.tensor([[0.0, -1e4]], requires_grad=True)
    value = average(sure, joint.float())
    value.sum().backward()
    assert sure.grad is not None and sure.grad.isfinite().all()
    torch.testing.assert_close(value, joint[:, 0].float())
