from __future__ import annotations

import math

import pytest
import torch

from unigen.dynamics.schedule import LogLinearSNR, VPCosine, VPLinear
from unigen.dynamics.time_of_snr import time_of
from unigen.errors import ArgumentError


@pytest.mark.parametrize("schedule", [VPLinear(), VPCosine(), LogLinearSNR()], ids=repr)
def test_it_inverts_the_log_snr(schedule):
    t = torch.linspace(1e-3, 1.0, 41, dtype=torch.float64)
    torch.testing.assert_close(time_of(schedule, schedule.log_snr(t)), t, rtol=0, atol=1e-9)


def test_linear_rates_have_a_closed_form():
    """B = log(1 + 1 / SNR) = beta_min t + ½ (beta_max − beta_min) t² solved for t."""
    snr = torch.tensor([-6.0, 0.0, 5.0], dtype=torch.float64)
    b = torch.log1p(torch.exp(-snr))
    exact = (-0.1 + torch.sqrt(0.01 + 2 * 19.9 * b)) / 19.9
    torch.testing.assert_close(time_of(VPLinear(), snr), exact, rtol=1e-12, atol=0)


def test_shape_order_and_type_are_kept():
    snr = torch.tensor([[1.0, -3.0], [5.0, 1.0]])
    t = time_of(LogLinearSNR(), snr)
    torch.testing.assert_close(t, (9.0 - snr) / 16.0)


@pytest.mark.parametrize("value", [9.5, -7.5, math.nan])
def test_a_log_snr_that_never_comes_is_refused(value):
    with pytest.raises(ArgumentError, match=r"expected \[-7, 9\]"):
        time_of(LogLinearSNR(), torch.tensor([0.0, value]))
