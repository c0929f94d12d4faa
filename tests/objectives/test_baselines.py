"""Baselines: what they take off, what they learn, and by how much the gradient then varies less."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from tests.gradients import draws_of
from tests.programs import SharedMean, Switch
from unigen.errors import ArgumentError
from unigen.inference.fit import fit
from unigen.objectives.baselines import LearnedBaseline, LeaveOneOut
from unigen.objectives.elbo import ELBO
from unigen.objectives.iwae import IWAE
from unigen.objectives.score_function import leave_one_out, leave_one_out_bound

X = torch.tensor([[-0.5], [1.2], [0.1]])


def test_leave_one_out_serves_one_and_several_draws():
    part, log_w = LeaveOneOut().part(Switch()), torch.randn(4, 3)
    assert torch.equal(part(log_w, None, X, None)[0], leave_one_out(log_w))
    bound = log_w.logsumexp(0, keepdim=True)
    assert torch.equal(part(bound, log_w, X, None)[0], leave_one_out_bound(log_w))
    assert torch.equal(part(bound, log_w[:1], X, None)[0], leave_one_out(bound))
    assert not list(part.parameters())


def test_moments_of_the_reward_are_used_before_they_move():
    torch.manual_seed(0)
    part = LearnedBaseline((4,)).part(Switch())
    first, second = torch.tensor([[1.0, 2.0, 6.0]]), torch.tensor([[5.0, 5.0, 8.0]])
    assert torch.equal(part(first, None, X, None)[0], torch.zeros(1, 3))  # the network starts at 0
    assert part.mean.item() == pytest.approx(3.0) and part.batches.item() == 1
    assert part.spread.item() ** 2 == pytest.approx(14 / 3)
    assert torch.equal(part(second, None, X, None)[0], torch.full((1, 3), 3.0))
    assert part.mean.item() == pytest.approx(4.5)
    assert part.spread.item() ** 2 == pytest.approx((14 / 3 + 2) / 2)
    part.eval()(first, None, X, None)
    assert part.batches.item() == 2


def test_the_network_learns_the_mean_reward_of_each_example():
    """Least squares on f = a(x) + noise: b(x) comes to a(x)."""
    part = LearnedBaseline((16,)).part(Switch())
    optimizer = torch.optim.Adam(part.parameters(), lr=0.02)
    target = torch.tensor([[-4.0, 3.0, 1.0]])
    for _ in range(400):
        b, error = part(target + 0.1 * torch.randn(8, 3), None, X, None)
        assert error.item() == 0.0
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert (b - target).abs().max() < 0.5


def test_missing_entries_do_not_reach_the_network():
    part = LearnedBaseline().part(Switch())
    with torch.no_grad():
        list(part.network.parameters())[-2].fill_(1.0)
    holes = torch.tensor([[torch.nan], [0.0]])
    b, _ = part(torch.zeros(1, 2), None, holes, None)
    assert torch.allclose(b[:, 0], b[:, 1]) and b.isfinite().all()


def spread(objective, **options) -> float:
    """Total standard deviation of single-batch gradients of the guide, at a reward far from 0."""
    program = Switch()
    with torch.no_grad():
        program.means.add_(6.0)
    return float(draws_of(program, objective, X, ["logits"], batches=300, copies=1).var(0).sum().sqrt())


def test_baselines_lower_the_variance():
    plain = spread(ELBO(4, baseline=None))
    assert spread(ELBO(4)) < plain / 2
    assert spread(ELBO(4, baseline=LearnedBaseline())) < plain / 1.5
    assert spread(IWAE(4)) < spread(IWAE(4, baseline=None)) / 2


def test_a_latent_outside_the_plate():
    """The bound of a whole batch is one reward."""
    part = LearnedBaseline().part(SharedMean())
    b, error = part(torch.tensor([[2.0]]), torch.randn(3, 1), torch.randn(5, 1), None)
    assert b.shape == (1, 1) and error.shape == ()


def test_it_trains_beside_the_program_and_resumes_bitwise(tmp_path: Path):
    x, path = torch.randn(30, 1), tmp_path / "run.safetensors"
    start = Switch()
    whole, again = copy.deepcopy(start), copy.deepcopy(start)
    objective = ELBO(baseline=LearnedBaseline((4,)))
    options = {"objective": objective, "batch_size": 10, "progress": False, "steps": 12}
    torch.manual_seed(0)
    record = fit(whole, x, **options)
    torch.manual_seed(0)
    fit(copy.deepcopy(start), x, checkpoint=path, callbacks=[lambda event: event.step == 5], **options)
    resumed = fit(again, x, checkpoint=path, resume=True, **options)
    assert resumed.history == record.history
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in whole.state_dict().items())


@pytest.mark.parametrize(
    "make",
    [lambda: LearnedBaseline((0,)), lambda: LearnedBaseline((1.5,)), lambda: ELBO(baseline="mean"),
     lambda: ELBO(baseline=LeaveOneOut)],
)  # fmt: skip
def test_refuses(make):
    with pytest.raises(ArgumentError):
        make()


def test_names():
    assert repr(LeaveOneOut()) == "LeaveOneOut()"
    assert repr(LearnedBaseline([8, 4])) == "LearnedBaseline(hidden=(8, 4))"
