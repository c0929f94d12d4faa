"""A walk had again from its random state: the same states, no further than the last finite one, nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from unigen.samplers.rerun import Rerun

CPU = torch.device("cpu")
TIMES = torch.linspace(1, 0, 6)


def steps(z: Tensor, breaks: int | None = None, asked: list[int] | None = None) -> Iterator[Tensor]:
    """Five steps of a random walk, one of which ends in NaN."""
    for k in range(1, 6):
        if asked is not None:
            asked.append(k)
        z = z + torch.randn_like(z)
        if k == breaks:
            z = torch.full_like(z, torch.nan)
        yield z


@pytest.mark.parametrize("breaks", [1, 3, 5])
def test_the_states_are_those_of_the_first_walk_up_to_the_last_finite_one(breaks):
    z, rerun = torch.randn(4, 2), Rerun(CPU)
    first = [z, *steps(z, breaks)]
    torch.randn(7)  # whatever happened since
    partial = rerun.partial(TIMES, z, steps(z, breaks))
    assert torch.equal(partial.states, torch.stack(first[:breaks]))
    assert torch.equal(partial.times, TIMES[:breaks])


def test_a_walk_that_stays_finite_is_kept_whole():
    z, rerun = torch.randn(4, 2), Rerun(CPU)
    first = torch.stack([z, *steps(z)])
    partial = rerun.partial(TIMES, z, steps(z))
    assert torch.equal(partial.states, first) and torch.equal(partial.times, TIMES)


def test_states_are_computed_as_they_are_asked_for_and_no_further():
    asked: list[int] = []
    z = torch.zeros(2, 1)
    Rerun(CPU).partial(TIMES, z, steps(z, 3, asked))
    assert asked == [1, 2, 3]


def test_the_random_state_is_left_as_it_is():
    z, rerun = torch.zeros(2, 1), Rerun(CPU)
    torch.randn(3)
    before = torch.get_rng_state()
    one, two = (rerun.partial(TIMES, z, steps(z)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(one.states, two.states)


def test_states_carry_no_graph():
    z = torch.zeros(2, 1, requires_grad=True)
    assert not Rerun(CPU).partial(TIMES, z, steps(z)).states.requires_grad


def test_an_error_in_the_walk_passes_and_leaves_the_random_state():
    def broken(z: Tensor) -> Iterator[Tensor]:
        yield z + torch.randn_like(z)
        raise RuntimeError("broken")

    rerun, before = Rerun(CPU), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="broken"):
        rerun.partial(TIMES, torch.zeros(2, 1), broken(torch.zeros(2, 1)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_start_that_is_not_finite_is_kept_alone():
    z = torch.full((2, 1), torch.inf)
    partial = Rerun(CPU).partial(TIMES, z, steps(z))
    assert partial.states.shape == (1, 2, 1) and torch.equal(partial.times, TIMES[:1])
