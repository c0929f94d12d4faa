"""Partly labelled rows: the enumerated bound by hand, Bayes' rule, the classification term, laws, files, refusals."""

from __future__ import annotations

import math

import pytest
import torch

import unigen as ug
from unigen.errors import ArgumentError, NonFiniteError, ShapeError, SupportError, UnigenError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.logprob import Kind
from unigen.models.labelled import Labelled
from unigen.objectives.semi_supervised import SemiSupervised
from unigen.testing.check import check_program

F64 = torch.float64


def flow(classes: int = 3) -> ug.Program:
    return ug.NSF(2, context=classes, transforms=1, hidden=(8,))


def m2(**options) -> Labelled:
    return Labelled(ug.VAE(2, 1, context=3, hidden=(8,)), hidden=(8,), **options)


def rows(program: Labelled) -> torch.Tensor:
    return program.rows(torch.randn(6, 2, dtype=program.dtype), torch.tensor([0, -1, 2, -1, 1, -1]))


def test_the_bound_by_hand():
    program = Labelled(flow(), hidden=(8,)).double()
    torch.nn.init.normal_(program.logits)
    x = rows(program)
    joint = torch.stack(
        [
            program.conditional.log_prob(x[:, :2], torch.eye(3, dtype=F64)[k].expand(6, 3)).value
            + program.logits.log_softmax(0)[k]
            for k in range(3)
        ],
        1,
    ).detach()
    q = program.classify(x[:, :2])
    unlabelled = (q * (joint - q.log())).sum(1)
    labelled = joint.gather(1, x[:, 2:].nan_to_num(0).long())[:, 0]
    scored = program.log_prob(x)
    torch.testing.assert_close(scored.value, torch.where(x[:, 2].isnan(), unlabelled, labelled))
    assert scored.kind is Kind.LOWER_BOUND is program.kind
    log_q = q.log().gather(1, x[:, 2:].nan_to_num(0).long())[:, 0]
    loss = -(scored.value + 0.7 * torch.where(x[:, 2].isnan(), 0.0, log_q)).mean()
    torch.testing.assert_close(SemiSupervised(0.7).players(program)[0].loss(x), loss)


def test_the_enumerated_elbo_of_model_and_guide_is_the_same_bound():
    program = Labelled(flow(), hidden=(8,)).double()
    x = rows(program)
    loss = ug.ELBO(enumerate=True).players(program)[0].loss
    torch.testing.assert_close(-loss(x), program.log_prob(x).value.mean(), rtol=1e-9, atol=1e-9)
    ours = torch.autograd.grad(SemiSupervised(0.0).players(program)[0].loss(x), program.logits)[0]
    torch.testing.assert_close(torch.autograd.grad(loss(x), program.logits)[0], ours)


def test_with_bayes_rule_the_density_is_exact():
    program = Labelled(flow(), classifier="bayes").double()
    x = rows(program)
    joint = program.joint(x).detach()
    free = joint.logsumexp(1)
    scored = program.log_prob(x)
    torch.testing.assert_close(scored.value[1], free[1])
    torch.testing.assert_close(scored.value[0], joint[0, 0])
    assert scored.kind is Kind.EXACT is program.kind
    torch.testing.assert_close(program.classify(x[:, :2]), joint.softmax(1))


@pytest.mark.parametrize("make", [m2, lambda: Labelled(flow(), hidden=(8,))], ids=["VAE", "NSF"])
def test_every_law_holds(make):
    program = make()
    check_program(program, budget=20_000)
    check_program(program, rows(program), budget=20_000)


def test_formula_and_shapes():
    program = m2()
    assert program.formula == "p(x, y) = p_VAE(x | y) p(y);  q(y | x)"
    draws = program.sample(7)
    assert draws.shape == (7, 3) and set(draws[:, 2].tolist()) <= {0.0, 1.0, 2.0}
    x = rows(program)
    assert program.encode(x).shape == (6,) and program.encode(x)[0] == 0
    filled = program.impute(x)
    assert not filled.isnan().any() and torch.equal(filled[0], x[0])
    assert torch.equal(filled[1::2, 2], program.classify(x[1::2, :2]).argmax(1).float())


@pytest.mark.parametrize("make", [m2, lambda: Labelled(flow(), classifier="bayes")], ids=["VAE", "Bayes"])
def test_the_traced_step_equals_the_eager_one(make):
    found = []
    x = torch.cat([rows(m2().double())] * 3)
    for compiled in (True, False):
        torch.manual_seed(3)
        program = make().double()
        player = program.objective.players(program)[0]
        optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
        parts = (player.loss, player.parameters, optimizer)
        step = CompiledStep(*parts, example=(x,), compiler=interpreted) if compiled else EagerStep(*parts)
        torch.manual_seed(4)
        for size in (18, 18, 9):
            step(x[:size])
        found.append(torch.cat([p.detach().flatten() for p in program.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=1e-10)


def test_unlabelled_rows_help_where_classes_are_clusters():
    """Two moons' worth of structure: three far clusters, one label each, and 300 rows without."""
    y = torch.randint(0, 3, (600,))
    centres = torch.tensor([[0.0, 4.0], [4.0, -3.0], [-4.0, -3.0]])
    x = centres[y] + torch.randn(600, 2)
    labels = torch.full((300,), -1)
    for k in range(3):
        labels[(y[:300] == k).nonzero()[:2, 0]] = k
    program = Labelled(ug.VAE(2, 1, context=3, hidden=(16,)), hidden=(16,))
    ug.fit(program, program.rows(x[:300], labels), steps=300, lr=1e-2, seed=0)
    assert (program.classify(x[300:]).argmax(1) == y[300:]).float().mean() > 0.9
    draws = program.sample(300, seed=0)
    near = torch.cdist(draws[:, :2], centres).argmin(1)
    assert (near == draws[:, 2].long()).float().mean() > 0.85


def test_saved_and_loaded_it_is_the_same(tmp_path):
    program = m2()
    again = ug.load(ug.save(program, tmp_path / "m2"))
    x = rows(program)
    assert torch.equal(again.log_prob(x, seed=0).value, program.log_prob(x, seed=0).value)
    assert torch.equal(again.sample(5, seed=0), program.sample(5, seed=0))


def test_frequencies_of_labels_start_the_prior():
    program = m2()
    x = program.rows(torch.randn(8, 2), torch.tensor([0, 0, 0, 1, -1, -1, -1, -1]))
    program.initialise(x)
    torch.testing.assert_close(program.logits.softmax(0), torch.tensor([4.0, 2.0, 1.0]) / 7)


@pytest.mark.parametrize(
    ("row", "error"),
    [([0.0, 0.0, 3.0], SupportError), ([0.0, 0.0, 0.5], SupportError), ([math.nan, 0.0, 1.0], UnigenError),
     ([math.inf, 0.0, 1.0], NonFiniteError), ([0.0, 0.0], ShapeError)],
)  # fmt: skip
def test_rows_outside_are_refused(row, error):
    with pytest.raises(error):
        m2().log_prob(torch.tensor([row]))


def test_programs_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match="context=0"):
        Labelled(ug.VAE(2, 1))
    with pytest.raises(ArgumentError, match="exact density"):
        Labelled(ug.VAE(2, 1, context=3), classifier="bayes")
    with pytest.raises(ShapeError, match="vectors"):
        Labelled(ug.VAE((1, 2, 2), 1, context=3))
