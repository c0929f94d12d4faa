"""The gated recurrent unit against torch's fused one."""

from __future__ import annotations

import torch
from torch import nn

from unigen.nn.recurrent import GRUCell


def test_values_are_torchs():
    ours, theirs = GRUCell(3, 5).double(), nn.GRUCell(3, 5).double()
    theirs.load_state_dict(ours.state_dict())
    x, h = torch.randn(4, 3).double(), torch.randn(4, 5).double()
    torch.testing.assert_close(ours(x, h), theirs(x, h), atol=1e-14, rtol=0)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-14, rtol=0)
