"""Oracles: set identities of the masks, and transforms built by hand."""

from __future__ import annotations

import torch
from torch.distributions import AbsTransform, ExpTransform

from unigen.distributions.bijection import inverse, value_and_log_det
from unigen.distributions.conditioners import MaskedConditioner, PlainConditioner
from unigen.distributions.flow_steps import (
    AutoregressiveStep,
    CouplingStep,
    ElementwiseStep,
    FixedStep,
    InverseStep,
    coupling_mask,
)
from unigen.distributions.transforms import Affine


def test_masks_alternate_then_change_and_are_the_same_for_everyone():
    first, second, third, fourth = (coupling_mask(8, t) for t in range(4))
    assert torch.equal(first, ~second) and torch.equal(third, ~fourth) and not torch.equal(first, third)
    torch.manual_seed(1)
    assert torch.equal(third, coupling_mask(8, 2))
    assert all(mask.any() and not mask.all() for mask in (first, second, third, fourth))


def test_coupling_leaves_a_alone_and_moves_b_by_what_the_network_says():
    mask = torch.tensor([True, False, True, False, False])
    step = CouplingStep((5,), mask, Affine(), PlainConditioner(2, 3, 2)).double()
    x = torch.randn(6, 5, dtype=torch.float64)
    z, ladj = value_and_log_det(step(), x)
    phi = step.net(x[:, mask])
    by_hand, slopes = value_and_log_det(Affine()(phi), x[:, ~mask])
    assert torch.equal(z[:, mask], x[:, mask])
    torch.testing.assert_close(z[:, ~mask], by_hand)
    torch.testing.assert_close(ladj, slopes.sum(-1))


def test_autoregressive_step_applies_the_conditionals():
    step = AutoregressiveStep(MaskedConditioner(3, 2, order=(2, 1, 0)), Affine())
    x = torch.randn(4, 3)
    z, _ = value_and_log_det(step(), x)
    torch.testing.assert_close(z, Affine()(step.net(x))(x))


def test_elementwise_steps_start_as_the_identity_and_the_quantile():
    x = torch.rand(5, 2)
    assert torch.equal(ElementwiseStep(2, Affine())()(x), x)
    torch.testing.assert_close(ElementwiseStep(2)()(x), torch.special.ndtri(x), rtol=1e-4, atol=1e-5)


def test_an_inverse_step_swaps_the_two_ways():
    step = AutoregressiveStep(MaskedConditioner(4, 2, gain=1.0), Affine()).double()
    x = torch.randn(6, 4, dtype=torch.float64)
    there, back = step(), InverseStep(step)()
    z, ladj = value_and_log_det(back, x)
    torch.testing.assert_close(there(z), x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ladj, -value_and_log_det(there, z)[1], rtol=0, atol=1e-12)
    assert torch.equal(inverse(back, x), there(x))


def test_fixed_steps_sum_the_slopes_over_the_event():
    x = torch.rand(5, 2, 3) + 0.1
    f = FixedStep(ExpTransform().inv, (2, 3))()
    z, ladj = value_and_log_det(f, x)
    torch.testing.assert_close(z, x.log())
    torch.testing.assert_close(ladj, -x.log().sum((1, 2)))
    assert f.domain.event_dim == 2 and bool(f.domain.check(x).all())
    assert not FixedStep(AbsTransform(), (3,))().bijective
