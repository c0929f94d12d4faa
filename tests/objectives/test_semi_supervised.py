"""Partly labelled rows: the loss from tables by hand, and whom the classification term reaches."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

import unigen as ug
from unigen.distributions.with_label import IMPOSSIBLE, one_hot
from unigen.errors import ArgumentError
from unigen.models.labelled import Labelled
from unigen.objectives.semi_supervised import SemiSupervised
from unigen.program import Program

F64, NAN, N, K = torch.float64, math.nan, 5, 3
LABELS = torch.tensor([0.0, NAN, 2.0, NAN, 1.0], dtype=F64)


class Tables(Program):
    """log p(x_i, y) and the logits of q(y | x_i) are free numbers; a given label is certain under q."""

    def __init__(self) -> None:
        super().__init__((2,))
        self.scores, self.logits = (nn.Parameter(torch.randn(N, K, dtype=F64)) for _ in range(2))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(torch.zeros(2, dtype=F64), 1.0).to_event(1), obs=x)

    def joint(self, x: Tensor, surrogate: bool = False) -> Tensor:
        assert surrogate  # a part that is trained by a stand-in gets the chance
        return self.scores

    def log_posterior(self, x: Tensor, joint: Tensor | None = None) -> Tensor:
        assert joint is self.scores
        certain = (1 - one_hot(x[:, -1], K, F64)) * IMPOSSIBLE
        return torch.where(x[:, -1:].isnan(), self.logits.log_softmax(1), certain)


def rows() -> Tensor:
    return torch.stack((torch.zeros(N, dtype=F64), LABELS), 1)


def by_hand(program: Tables, alpha: float) -> float:
    total, q = 0.0, program.logits.softmax(1)
    for i, label in enumerate(LABELS.tolist()):
        if math.isnan(label):
            total += sum(float(q[i, y] * (program.scores[i, y] - q[i, y].log())) for y in range(K))
        else:
            total += float(program.scores[i, int(label)] + alpha * q[i, int(label)].log())
    return -total / N


@pytest.mark.parametrize("alpha", [0.0, 0.7, 50.0])
def test_the_loss_is_the_sum_by_hand(alpha: float) -> None:
    program = Tables()
    (player,) = SemiSupervised(alpha).players(program)
    with torch.no_grad():
        assert float(player.loss(rows())) == pytest.approx(by_hand(program, alpha), rel=1e-10)
    assert player.name == "bound"


def test_a_given_label_is_learned_by_the_classifier_only_through_its_own_term() -> None:
    program, x = Tables(), rows()
    labelled = ~LABELS.isnan()
    slopes = {}
    for alpha in (0.0, 2.0):
        loss = SemiSupervised(alpha).players(program)[0].loss
        slopes[alpha] = torch.autograd.grad(loss(x), program.logits)[0]
    assert bool((slopes[0.0][labelled] == 0).all()) and bool((slopes[0.0][~labelled] != 0).any())
    wanted = one_hot(LABELS, K, F64) - program.logits.softmax(1)  # ∂ log q(l) / ∂ logits
    torch.testing.assert_close(slopes[2.0][labelled], -2.0 / N * wanted[labelled])
    torch.testing.assert_close(slopes[2.0][~labelled], slopes[0.0][~labelled])


def test_the_best_classifier_of_unlabelled_rows_is_bayes_rule() -> None:
    """There the gradient vanishes and the bound is log Σ_y p(x, y)."""
    program, x = Tables(), rows()
    with torch.no_grad():
        program.logits.copy_(program.scores)
    loss = SemiSupervised(0.0).players(program)[0].loss
    free = LABELS.isnan()
    assert float(torch.autograd.grad(loss(x), program.logits)[0][free].abs().max()) < 1e-12
    given = program.scores[~free].gather(1, LABELS[~free].long()[:, None]).sum()
    with torch.no_grad():
        expected = -(program.scores[free].logsumexp(1).sum() + given) / N
        torch.testing.assert_close(loss(x), expected)


def test_a_family_with_labels_is_trained_by_it() -> None:
    program = Labelled(ug.NSF(2, context=3, transforms=1, hidden=(4,)), hidden=(4,)).double()
    x = program.rows(torch.randn(6, 2, dtype=F64), torch.tensor([0, -1, 2, -1, 1, -1]))
    loss = SemiSupervised(0.7).players(program)[0].loss(x)
    log_q = program.classify(x[:, :2]).log().gather(1, x[:, 2:].nan_to_num(0).long())[:, 0]
    expected = -(program.log_prob(x).value + 0.7 * torch.where(x[:, 2].isnan(), 0.0, log_q)).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in program.parameters())


def test_programs_without_labels_and_negative_weights_are_refused() -> None:
    wrong: Any = ug.VAE(2, 1)
    with pytest.raises(ArgumentError, match=r"no labels.*Labelled"):
        SemiSupervised().players(wrong)
    for alpha in (-1.0, NAN):
        with pytest.raises(ArgumentError, match=r"alpha.*≥ 0"):
            SemiSupervised(alpha)
