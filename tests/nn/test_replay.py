from __future__ import annotations

import pytest
import torch

from unigen.errors import ArgumentError
from unigen.nn.replay import ReplayBuffer


def test_chains_start_at_the_first_data_and_stay_thereafter() -> None:
    buffer, data = ReplayBuffer(5, (2,)), torch.arange(6.0).reshape(3, 2)
    x, context = buffer.take(data)
    assert context is None
    torch.testing.assert_close(x, data[[0, 1, 2, 0, 1]])
    buffer.put(x + 1)
    torch.testing.assert_close(buffer.take(-data)[0], data[[0, 1, 2, 0, 1]] + 1)


def test_a_chain_keeps_the_context_it_started_with() -> None:
    buffer = ReplayBuffer(4, (1,), context=2)
    c = torch.eye(2)
    _, context = buffer.take(torch.tensor([[1.0], [2.0]]), c)
    torch.testing.assert_close(context, c[[0, 1, 0, 1]])
    buffer.put(torch.tensor([[1.0], [2.0], [1.0], [2.0]]))
    _, context = buffer.take(torch.zeros(2, 1), 1 - c)
    torch.testing.assert_close(context, c[[0, 1, 0, 1]])
    torch.testing.assert_close(buffer.pick(50, c[:1].expand(50, 2)), torch.ones(50, 1))


def test_draws_do_not_repeat_a_chain_before_all_were_drawn() -> None:
    buffer = ReplayBuffer(10, (1,))
    buffer.put(torch.arange(10.0).unsqueeze(1))
    drawn = buffer.pick(25).squeeze(1)
    assert drawn.shape == (25,)
    for part in (drawn[:10], drawn[10:20]):
        assert sorted(part.tolist()) == list(range(10))
    assert not torch.equal(drawn[:10], drawn[10:20])


def test_the_state_is_saved_and_moved_with_the_module() -> None:
    buffer = ReplayBuffer(3, (2,), context=1).double()
    assert buffer.x.dtype == torch.float64 and set(buffer.state_dict()) == {"x", "context", "started"}
    with pytest.raises(ArgumentError, match="positive"):
        ReplayBuffer(0, (2,))
