"""Relation 24: contrastive divergence and maximum likelihood, and the identity broken on purpose."""

from __future__ import annotations

import math

import pytest
import torch

from tests.boltzmann_problems import joint_table, random_rbm, states
from unigen.errors import UnsupportedQueryError
from unigen.models.rbm import RBM
from unigen.relations.rbm_likelihood import RBMtoMaximumLikelihood, bars_and_stripes

RELATION = RBMtoMaximumLikelihood()


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert -math.log(30) - 0.5 < evidence.details["log_likelihood"] <= -math.log(30)


@pytest.mark.parametrize("seed", [1, 2])
def test_other_machines(seed):
    evidence = RELATION.check(features=4, hidden=3, steps=5, seed=seed)
    assert evidence.holds, evidence


def test_bars_and_stripes_are_what_they_are_called():
    x = bars_and_stripes(3).reshape(-1, 3, 3)
    assert x.shape[0] == 14 == len({tuple(image.flatten().tolist()) for image in x})
    rows, columns = (x == x[:, :1]).flatten(1).all(1), (x == x[:, :, :1]).flatten(1).all(1)
    assert bool((rows | columns).all())


def test_the_sweep_is_the_product_of_the_conditionals():
    rbm = random_rbm(4, 3)
    table = joint_table(rbm).detach()
    order = (states(4).long() << torch.arange(4)).sum(1).argsort()
    expected = (table.softmax(1) @ table.softmax(0).mT)[order][:, order]
    torch.testing.assert_close(RELATION.sweep(rbm), expected, atol=1e-12, rtol=0)


class Backwards(RBMtoMaximumLikelihood):
    """A sweep run backwards and normalised again: it does not leave p invariant."""

    def sweep(self, rbm):
        sweep = super().sweep(rbm)
        return sweep.mT / sweep.mT.sum(1, keepdim=True)


class Unnormalised(RBMtoMaximumLikelihood):
    """Forgets log Z."""

    def bound(self, rbm, x):
        lifted = super().bound(rbm, x)[0]
        shifted = lifted.left + rbm.states().log_z().item()
        return [type(lifted)(lifted.name, shifted, lifted.right, lifted.tolerance, sense="≤")]


@pytest.mark.parametrize("broken", [Backwards, Unnormalised])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check(steps=20).holds


def test_programs():
    rbm = random_rbm(5, 3)
    evidence = RELATION.check_programs(rbm, rbm, rbm.states().sample(300))
    assert evidence.holds, evidence
    with pytest.raises(UnsupportedQueryError, match="Bernoulli units"):
        RELATION.check_programs(RBM(30, 25), RBM(30, 25), torch.zeros(2, 30))


def test_figure():
    (axes,) = RELATION.figure().axes
    gaps = axes.lines[0].get_ydata()
    assert len(gaps) == 5 and gaps[-1] < gaps[0]
