"""The score-function term against finite sums."""

from __future__ import annotations

import torch

from unigen.objectives.score_function import leave_one_out, leave_one_out_bound, score_term


def test_without_scores_it_is_nothing():
    assert score_term(torch.ones(2, 3), None).shape == ()


def test_value_zero_and_gradient_of_a_leave_one_out_baseline():
    reward = torch.tensor([[1.0, 5.0], [3.0, 9.0], [8.0, 1.0]])
    scores = torch.zeros(3, 2, requires_grad=True)
    term = score_term(reward.requires_grad_(True), scores, leave_one_out(reward))
    assert torch.equal(term, torch.zeros(3, 2))
    (gradient,) = torch.autograd.grad(term.sum(), scores)
    expected = torch.tensor([[1 - 5.5, 5 - 5.0], [3 - 4.5, 9 - 3.0], [8 - 2.0, 1 - 7.0]])
    assert torch.allclose(gradient, expected)


def test_one_draw_takes_the_other_examples_as_its_baseline():
    scores = torch.zeros(1, 3, requires_grad=True)
    reward = torch.tensor([[1.0, 2.0, 6.0]])
    (gradient,) = torch.autograd.grad(score_term(reward, scores, leave_one_out(reward)).sum(), scores)
    assert torch.allclose(gradient, torch.tensor([[1 - 4.0, 2 - 3.5, 6 - 1.5]]))


def test_a_single_draw_has_no_baseline():
    scores = torch.zeros(1, 1, requires_grad=True)
    reward = torch.tensor([[2.0]])
    (gradient,) = torch.autograd.grad(score_term(reward, scores, leave_one_out(reward)).sum(), scores)
    assert gradient.item() == 2.0


def test_without_a_baseline_the_reward_counts_whole():
    scores = torch.zeros(2, 2, requires_grad=True)
    reward = torch.tensor([[1.0, 2.0]])  # one bound for both draws
    (gradient,) = torch.autograd.grad(score_term(reward, scores).sum(), scores)
    assert torch.equal(gradient, torch.tensor([[1.0, 2.0], [1.0, 2.0]]))


def test_the_bound_without_each_draw():
    log_w = torch.randn(4, 3, dtype=torch.float64)
    found = leave_one_out_bound(log_w)
    for k in range(4):
        others = [j for j in range(4) if j != k]
        filled = log_w.clone()
        filled[k] = log_w[others].mean(0)
        assert torch.allclose(found[k], filled.exp().mean(0).log(), rtol=1e-12)
