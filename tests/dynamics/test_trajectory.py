from __future__ import annotations

import torch

from unigen.dynamics.trajectory import CAPACITY, Recorder, finite_part


def test_no_more_is_asked_for_than_up_to_the_first_that_is_not_finite():
    asked = []

    def states():
        for value in (1.0, 2.0, torch.nan, 3.0):
            asked.append(value)
            yield torch.full((2,), value)

    times, kept = finite_part(torch.arange(4), states())
    assert times.tolist() == [0, 1]
    assert kept.tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert len(asked) == 3


def test_a_recorder_thins_evenly_and_keeps_the_first_and_the_last():
    recorder = Recorder(torch.tensor(0.0), torch.zeros(1))
    for i in range(1, 1001):
        for _ in range(2):  # a step tried again
            recorder(torch.tensor(float(i)), torch.full((1,), float(i)))
    times, states = recorder.partial()
    assert times[0] == 0.0
    assert times[-1] == 1000.0
    assert CAPACITY // 2 < times.shape[0] <= CAPACITY + 1
    assert torch.equal(states.flatten(), times)
    assert torch.diff(times[:-1]).unique().tolist() == [16.0]


def test_states_of_several_parts_stay_apart():
    recorder = Recorder(torch.tensor(0.0), (torch.zeros(1), torch.ones(2)))
    recorder(torch.tensor(1.0), (torch.zeros(1), torch.full((2,), torch.inf)))
    times, (first, second) = recorder.partial()
    assert (times.shape, first.shape, second.shape) == ((1,), (1, 1), (1, 2))
