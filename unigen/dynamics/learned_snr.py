"""A learned schedule: the log SNR is a monotone network.

−log SNR(t) = gamma_0 + (gamma_1 − gamma_0) (h(t) − h(0)) / (h(1) − h(0)),
h(t) = t + Σ_j a_j sigmoid(b_j (t − c_j)),      a_j, b_j > 0,
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from unigen.dynamics.schedule import Time, VariancePreserving, as_time
from unigen.errors import ArgumentError


@final
class LearnedSNR(nn.Module, VariancePreserving):
    """A variance-preserving schedule whose log SNR is trained with the program, with its ends.

    It begins as `LogLinearSNR`, to within 1 % of the fall. The likelihood's bound depends on the ends, and in the limit
    of continuous time on nothing else of the schedule; the shape between them changes the variance of its estimate and
    the error of the discrete steps.

    Args:
        snr_max: SNR at t = 0, before training.
        snr_min: SNR at t = 1, before training.
        hidden: Number of sigmoids.
        ends: Train the SNR at the ends too.

    Raises:
        ArgumentError: A setting is out of range.

    References:
        Kingma et al. 2021, Variational diffusion models, section 3.2 and appendix H.

    Example:
        >>> schedule = LearnedSNR(snr_max=100.0, snr_min=0.01)
        >>> [round(v, 3) for v in schedule.log_snr(torch.tensor([0.0, 1.0])).tolist()]
        [4.605, -4.605]
    """

    def __init__(
        self,
        snr_max: float = math.exp(9.0),
        snr_min: float = math.exp(-7.0),
        hidden: int = 32,
        ends: bool = True,
    ) -> None:
        super().__init__()
        if not 0.0 < snr_min < snr_max < math.inf or hidden < 1:
            raise ArgumentError(
                program="LearnedSNR", got=f"snr_max={snr_max}, snr_min={snr_min}, hidden={hidden}",
                expected="0 < snr_min < snr_max, finite; hidden >= 1",
            )  # fmt: skip
        self.snr_max, self.snr_min, self.hidden, self.ends = float(snr_max), float(snr_min), hidden, ends
        first, fall = -math.log(snr_max), math.log(snr_max) - math.log(snr_min)
        self.gamma_0 = nn.Parameter(torch.tensor([first]), requires_grad=ends)
        self.log_fall = nn.Parameter(torch.tensor([math.log(fall)]), requires_grad=ends)
        self.height = nn.Parameter(
            torch.full((hidden,), -2.0)
        )  # of a sigmoid, before softplus and 1 / hidden
        self.slope = nn.Parameter(torch.full((hidden,), float(hidden)))  # before softplus
        self.centre = nn.Parameter((torch.arange(hidden) + 0.5) / hidden)

    def shape(self) -> tuple[nn.Parameter, ...]:
        """The parameters that change the log SNR between its ends, and not the ends."""
        return self.height, self.slope, self.centre

    def _gamma(self, t: Time) -> tuple[Tensor, Tensor]:
        """−log SNR and its derivative, the shape of t."""
        t = as_time(t)
        a, b, c = (p.to(t) for p in (softplus(self.height) / self.hidden, softplus(self.slope), self.centre))
        first, fall = self.gamma_0.to(t).squeeze(), torch.exp(self.log_fall.to(t)).squeeze()
        start, end = torch.sigmoid(-b * c), torch.sigmoid(b * (1.0 - c))
        bump = torch.sigmoid(b * (t.unsqueeze(-1) - c))
        whole = 1.0 + (a * (end - start)).sum()
        gamma = first + fall * (t + (a * (bump - start)).sum(-1)) / whole
        return gamma, fall * (1.0 + (a * b * bump * (1.0 - bump)).sum(-1)) / whole

    def rate(self, t: Time) -> Tensor:
        """beta(t) = sigma² d gamma / dt."""
        gamma, speed = self._gamma(t)
        return torch.sigmoid(gamma) * speed

    def integrated_rate(self, t: Time) -> Tensor:
        """B(t) = softplus(gamma)."""
        return -logsigmoid(-self._gamma(t)[0])

    def __repr__(self) -> str:
        """The call that builds it, before training."""
        return (
            f"LearnedSNR(snr_max={self.snr_max:g}, snr_min={self.snr_min:g}, hidden={self.hidden}, "
            f"ends={self.ends})"
        )
