from __future__ import annotations

import math

import pytest
import torch

from unigen.dynamics.learned_snr import LearnedSNR
from unigen.dynamics.schedule import LogLinearSNR, VPCosine
from unigen.errors import EmptyDataError
from unigen.plots.schedules import log_snr_curves


def test_curves_are_those_of_the_schedules():
    fig = log_snr_curves({"linear": LogLinearSNR(100.0, 0.01), "learned": LearnedSNR()}, title="two")
    left, right = fig.axes
    t, level = (torch.as_tensor(values) for values in left.lines[0].get_data())
    torch.testing.assert_close(level, math.log(100.0) * (1 - 2 * t))
    fall = torch.as_tensor(right.lines[0].get_ydata())
    torch.testing.assert_close(fall, torch.full_like(fall, 2 * math.log(100.0)))
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["linear", "learned"]
    assert left.get_title(loc="left") == "two"


def test_infinite_ends_are_left_out_and_nothing_is_refused():
    assert len(log_snr_curves({"cosine": VPCosine()}).axes) == 2
    with pytest.raises(EmptyDataError, match="at least one"):
        log_snr_curves({})
