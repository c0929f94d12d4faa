from __future__ import annotations

import pytest
import torch

from unigen.dynamics.evaluations import Counted, Evaluations
from unigen.errors import DivergedError


def test_calls_are_counted_by_direction_and_limited_in_each():
    count = Evaluations()
    f = Counted(lambda t, x: t * x, torch.tensor([1.0, 0.0]), count, limit=2)
    x = torch.ones(1)
    assert float(f(torch.tensor(3.0), x)) == 1.0  # never asked for a time outside
    assert float(f(torch.tensor(-1.0), x)) == 0.0
    with pytest.raises(DivergedError, match="2 evaluations"):
        f(torch.tensor(0.5), x)
    f.backward_pass = True
    f(torch.tensor(0.5), x)
    assert (count.forward, count.backward) == (2, 1)
    count.begin()
    assert count == Evaluations(0, 0)
