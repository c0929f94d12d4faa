"""The bound of partly labelled rows from tables: the sum over classes by hand, and Bayes' rule, where it is exact."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor

import unigen as ug
from unigen.densities.labelled_bound import LabelledBound
from unigen.errors import NoDensityError
from unigen.logprob import Kind
from unigen.models.labelled import Labelled
from unigen.program import Program

F64, NAN = torch.float64, math.nan


class Tables(Program):
    """log p(x, y) of row i and class y, and log q(y | x): two tables (N, K); no more is asked of a program here."""

    def __init__(self, joint: Tensor, log_q: Tensor) -> None:
        super().__init__((3,))
        self.table, self.log_q = joint, log_q

    def model(self, x=None, n=1):
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(torch.zeros(3, dtype=F64), 1.0).to_event(1), obs=x)

    def joint(self, x: Tensor, surrogate: bool = False) -> Tensor:
        return self.table

    def log_posterior(self, x: Tensor, joint: Tensor | None = None) -> Tensor:
        assert joint is self.table
        return self.log_q


def tables(n: int = 5, k: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    joint, log_q = 3 * torch.randn(n, k, dtype=F64), torch.randn(n, k, dtype=F64).log_softmax(1)
    return torch.zeros(n, 3, dtype=F64), joint, log_q


def test_the_bound_is_the_sum_over_classes():
    x, joint, log_q = tables()
    found = LabelledBound().log_prob(Tables(joint, log_q), x)
    q, j = log_q.exp().numpy(), joint.numpy()
    by_hand = [sum(q[i, y] * (j[i, y] - math.log(q[i, y])) for y in range(4)) for i in range(5)]
    np.testing.assert_allclose(found.value.numpy(), by_hand, rtol=1e-12)
    assert found.kind is Kind.LOWER_BOUND and found.stderr is None
    assert found.dims == 2  # of the features: the label counts no bits
    assert bool((found.value < joint.logsumexp(1)).all())


def test_with_bayes_rule_it_is_the_sum_itself():
    x, joint, _ = tables()
    found = LabelledBound(Kind.EXACT).log_prob(Tables(joint, joint.log_softmax(1)), x)
    torch.testing.assert_close(found.value, joint.logsumexp(1))
    assert found.kind is Kind.EXACT


def test_the_gap_is_the_divergence_from_bayes_rule():
    x, joint, log_q = tables()
    found = LabelledBound().log_prob(Tables(joint, log_q), x)
    kl = (log_q.exp() * (log_q - joint.log_softmax(1))).sum(1)
    torch.testing.assert_close(joint.logsumexp(1) - found.value, kl)


def test_a_given_label_leaves_its_own_term_and_impossible_classes_leave_none():
    x, joint, log_q = tables()
    log_q[:] = -math.inf
    log_q[:, 1] = 0.0
    joint[2, 3] = -math.inf
    found = LabelledBound().log_prob(Tables(joint, log_q), x)
    torch.testing.assert_close(found.value, joint[:, 1])


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: Labelled(ug.VAE(2, 1, context=3, hidden=(4,)), hidden=(4,)), Kind.LOWER_BOUND),
        (lambda: Labelled(ug.NSF(2, context=3, transforms=1, hidden=(4,)), classifier="bayes"), Kind.EXACT),
    ],
    ids=["VAE", "Bayes"],
)
def test_a_labelled_program_has_the_kind_of_its_parts(make, kind):
    program = make().double()
    x = program.rows(torch.randn(4, 2, dtype=F64), torch.tensor([0, -1, 2, -1]))
    assert program.log_prob(x, seed=0).kind is kind is program.kind
    with torch.no_grad():
        joint = program.joint(x)
    if kind is Kind.EXACT:
        labelled = x[:, 2].nan_to_num(0).long()
        expected = torch.where(x[:, 2].isnan(), joint.logsumexp(1), joint[torch.arange(4), labelled])
        torch.testing.assert_close(program.log_prob(x).value, expected)


def test_a_program_without_labels_is_refused():
    with pytest.raises(NoDensityError, match=r"no labels.*Labelled"):
        ug.PPCA(3, 1).log_prob(torch.zeros(2, 3), density=LabelledBound())
