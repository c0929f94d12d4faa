"""Summaries of irregular series: against torch's GRU by hand, and blind to what was not observed."""

from __future__ import annotations

import torch
from torch import nn

from unigen.nn.series_reader import SeriesReader

TIMES = (0.0, 1.0, 4.0, 5.0)
GAP = 5 / 3


def test_it_is_the_gru_of_the_observations_and_the_waits_backwards():
    reader, x = SeriesReader(2, 6, TIMES), torch.randn(3, 4, 2)
    cell = nn.GRUCell(3, 6)
    cell.load_state_dict(reader.cell.state_dict())
    h, waits = torch.zeros(3, 6), (1 / GAP, 3 / GAP, 1 / GAP, 0.0)
    for i in (3, 2, 1, 0):
        h = cell(torch.cat((x[:, i], torch.full((3, 1), waits[i])), -1), h)
        torch.testing.assert_close(reader(x)[:, i], h)


def test_a_series_with_holes_is_the_series_without_them():
    reader, x = SeriesReader(2, 6, TIMES, missing=True), torch.randn(3, 4, 2)
    x[:, 2] = torch.nan
    short = SeriesReader(2, 6, (0.0, 1.0, 5.0), missing=True)
    short.load_state_dict(reader.state_dict())
    short.times = tuple(t / GAP for t in (0.0, 1.0, 5.0))  # the same unit
    h, g = reader(x), short(x[:, (0, 1, 3)])
    torch.testing.assert_close(h[:, (0, 1, 3)], g)
    torch.testing.assert_close(h[:, 2], h[:, 3])  # nothing was seen there


def test_entries_that_are_missing_leave_no_gradient():
    reader, x = SeriesReader(2, 6, TIMES, missing=True), torch.randn(1, 4, 2)
    x[0, 1, 0] = torch.nan
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(reader(x).sum(), x)
    assert (
        bool(gradient.isfinite().all())
        and float(gradient[0, 1, 0]) == 0.0
        and float(gradient[0, 1, 1]) != 0.0
    )
