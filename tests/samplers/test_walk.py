"""A walk down a grid: the levels are the schedule's, and its questions are answered as the denoiser answers them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.prediction import X0, Eps, Prediction, Score, V, Velocity
from unigen.dynamics.schedule import LogLinearSNR, VPLinear
from unigen.errors import ArgumentError, ShapeError
from unigen.samplers.walk import Level, Walk, levels_at

F64, N = torch.float64, 4
TIMES = torch.tensor([1.0, 0.7, 0.25, 0.0], dtype=F64)
PREDICTIONS = [X0(), Eps(), V(), Score(), Velocity()]


class Network(nn.Module):
    """Any function of (z, t, context); counts its evaluations."""

    def __init__(self, event: tuple[int, ...] = (2,)) -> None:
        super().__init__()
        self.event, self.calls = event, 0

    def forward(self, z: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        self.calls += 1
        assert t.shape == (z.shape[0],)
        t = t.reshape(-1, *(1,) * len(self.event))
        shift = 0.0 if context is None else context.sum(-1).reshape(t.shape)
        return torch.sin(z) + t * z**2 - shift


def denoiser(prediction: Prediction, schedule=None, event: tuple[int, ...] = (2,)) -> Denoiser:
    return Denoiser(
        Network(event), LogLinearSNR() if schedule is None else schedule, prediction, event
    ).double()


def walk(prediction: Prediction, context: Tensor | None = None, event: tuple[int, ...] = (2,)) -> Walk:
    return Walk(denoiser(prediction, event=event), context, TIMES, N)


@pytest.mark.parametrize("schedule", [LogLinearSNR(), VPLinear()], ids=["linear", "VP"])
def test_levels_are_those_of_the_schedule(schedule):
    times = TIMES.clamp_min(1e-3)
    levels = levels_at(denoiser(Eps(), schedule), times, 3)
    assert len(levels) == 4
    for level, t in zip(levels, times, strict=True):
        assert isinstance(level, Level) and level.rows.shape == (3,) and level.rows.dtype is F64
        assert bool((level.rows == t).all()) and level.time.shape == () and level.time == t
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        assert (level.alpha, level.sigma) == pytest.approx((alpha, sigma), rel=1e-12)
        assert level.half_log_snr == pytest.approx(0.5 * float(schedule.log_snr(t)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=repr)
@pytest.mark.parametrize("event", [(2,), (1, 2, 3)])
def test_every_mixture_is_that_of_the_denoisers_means(prediction, event):
    """Where the network's output is read as a line in z and y, and where the denoiser is asked itself."""
    for context in (None, torch.randn(N, 3, dtype=F64)):
        one = walk(prediction, context, event)
        z, (a, b, c) = torch.randn(N, *event, dtype=F64), torch.randn(3).tolist()
        for level in one.levels:
            u, eps = one.denoiser(z, level.time, context)
            before = z.clone()
            torch.testing.assert_close(one.mix(z, level, a, b, c), a * z + b * u + c * eps)
            torch.testing.assert_close(one.mix(z, level, 0.0, 0.0, 1.0), eps)
            torch.testing.assert_close(one.data(z, level), u)
            torch.testing.assert_close(
                one.mix(z, level._replace(reading=None), a, b, c), a * z + b * u + c * eps
            )
            assert torch.equal(z, before)


def test_a_mixture_may_be_added_to_in_place():
    one, z = walk(X0()), torch.randn(N, 2, dtype=F64)
    level = one.levels[1]
    truth = one.data(z, level).clone()
    for coefficients in ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)):
        kept = z.clone()
        one.mix(z, level, *coefficients).add_(100.0)
        assert torch.equal(z, kept)
    torch.testing.assert_close(one.data(z, level), truth)


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=repr)
def test_a_question_costs_one_evaluation(prediction):
    one, z = walk(prediction), torch.randn(N, 2, dtype=F64)
    for count, level in enumerate(one.levels, start=1):
        one.mix(z, level, 0.3, 0.7, -0.2)
        assert one.denoiser.network.calls == count


def test_levels_at_a_given_snr_are_found_on_the_schedule():
    one, wanted = walk(Eps()), [2.0, 0.0, -1.5]
    found = one.at_snr(wanted)
    for level, half in zip(found, wanted, strict=True):
        assert level.half_log_snr == pytest.approx(half, abs=1e-9)
        alpha, sigma = one.denoiser.schedule.alpha(level.time), one.denoiser.schedule.sigma(level.time)
        assert float(torch.log(alpha / sigma)) == pytest.approx(half, abs=1e-9)
        assert level.rows.shape == (N,)


Final: Any = Denoiser  # which nothing in unigen derives from


class Shifted(Final):
    """A denoiser whose answers are no longer read off its network's output alone."""

    def forward(self, z_t, t, context=None):
        u, eps = super().forward(z_t, t, context)
        return u - 1.0, eps + 1.0


def test_a_denoiser_of_ones_own_is_asked_as_it_is():
    own = Shifted(Network(), LogLinearSNR(), Eps(), (2,)).double()
    one, z = Walk(own, None, TIMES, N), torch.randn(N, 2, dtype=F64)
    plain = walk(Eps())
    for level, same in zip(one.levels, plain.levels, strict=True):
        assert level.reading is None and same.reading is not None
        torch.testing.assert_close(one.data(z, level), plain.data(z, same) - 1.0)
        torch.testing.assert_close(one.mix(z, level, 0.0, 0.0, 1.0), plain.mix(z, same, 0.0, 0.0, 1.0) + 1.0)


def test_a_network_that_changes_the_shape_and_an_impossible_snr_are_refused():
    wrong = denoiser(Eps())
    wrong.network.forward = lambda z, t: z[:, :1]
    one = Walk(wrong, None, TIMES, N)
    with pytest.raises(ShapeError, match="keeps the shape"):
        one.data(torch.zeros(N, 2, dtype=F64), one.levels[0])
    with pytest.raises(ArgumentError, match="never has this log SNR"):
        walk(Eps()).at_snr([99.0])
