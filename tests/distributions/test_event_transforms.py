"""Oracles: torch's own transforms and composition."""

from __future__ import annotations

import torch
from torch.distributions import (
    AbsTransform,
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    StickBreakingTransform,
)

from unigen.distributions.bijection import inverse, value_and_log_det
from unigen.distributions.event_transforms import Chain, Inverted, Lifted, over_event, reals

F64 = torch.float64


def test_lifted_sums_over_the_event_whatever_the_rank_inside():
    x = torch.randn(3, 4, 5, dtype=F64)
    z, ladj = value_and_log_det(Lifted(ExpTransform(), 2), x)
    torch.testing.assert_close(ladj, x.sum((1, 2)))
    torch.testing.assert_close(z, x.exp())
    stick = StickBreakingTransform()
    z, ladj = value_and_log_det(Lifted(stick, 1), x)
    torch.testing.assert_close(ladj, stick.log_abs_det_jacobian(x, z))


def test_chain_equals_torchs_composition():
    parts = [AffineTransform(1.0, 2.0), ExpTransform(), AffineTransform(0.0, -3.0)]
    ours, theirs = Chain([Lifted(f, 1) for f in parts]), ComposeTransform(list(parts))
    x = torch.randn(6, 4, dtype=F64)
    z, ladj = value_and_log_det(ours, x)
    torch.testing.assert_close(z, theirs(x))
    torch.testing.assert_close(ladj, theirs.log_abs_det_jacobian(x, theirs(x)).sum(-1))
    torch.testing.assert_close(inverse(ours, z), x)
    torch.testing.assert_close(ours.log_abs_det_jacobian(x, z), ladj)
    assert ours.bijective and not Chain([Lifted(AbsTransform(), 1)]).bijective
    stick = Chain([Lifted(StickBreakingTransform(), 1)])
    assert stick.forward_shape(torch.Size((7, 4))) == (7, 5) and stick.inverse_shape(torch.Size((7, 5))) == (
        7,
        4,
    )


def test_inverted_swaps_value_and_sign():
    f = Lifted(ExpTransform(), 1)
    x = torch.rand(5, 3, dtype=F64) + 0.5
    z, ladj = value_and_log_det(Inverted(f), x)
    torch.testing.assert_close(z, x.log())
    torch.testing.assert_close(ladj, -x.log().sum(-1))
    torch.testing.assert_close(inverse(Inverted(f), z), x)
    assert not Inverted(Lifted(AbsTransform(), 1)).bijective


def test_domains_have_the_rank_of_the_event():
    assert reals(1).event_dim == 1 and reals(3).event_dim == 3
    assert Lifted(ExpTransform(), 3).codomain.event_dim == 3
    assert over_event(torch.ones(2, 3, 4), 2).tolist() == [12.0, 12.0]
