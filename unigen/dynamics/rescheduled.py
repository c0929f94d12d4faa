"""One schedule in terms of another: the same log SNR at another time, and a state on another scale.

t' = source.log_snr⁻¹(target.log_snr(t)),    z_target(t) = c z_source(t'),    c = alpha_target / alpha_source(t').
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.prediction import over_events
from unigen.dynamics.schedule import Schedule, Time, as_time
from unigen.dynamics.time_of_snr import time_of
from unigen.errors import ArgumentError


@torch.no_grad()
def match_snr(source: Schedule, target: Schedule, t: Time) -> tuple[Tensor, Tensor]:
    """Return where a source schedule stands when a target schedule is at t.

    Args:
        source: The schedule converted from.
        target: The schedule converted to.
        t: Times of the target, any shape.

    Returns:
        t', times of the source with the same log SNR, and the factor c = alpha_target(t) / alpha_source(t') from states
        of the source to those of the target, each the shape of t.

    Raises:
        ArgumentError: The source never has the target's log SNR at some t.

    Example:
        >>> from unigen.dynamics.schedule import LogLinearSNR, VPCosine
        >>> time, scale = match_snr(LogLinearSNR(), VPCosine(), 0.5)
        >>> round(float(time), 4), round(float(scale), 4)
        (0.5625, 1.0)
    """
    t = as_time(t)
    time = time_of(source, target.log_snr(t.double())).to(t.dtype)
    return time, torch.exp(target.log_alpha(t) - source.log_alpha(time))


@final
class Rescheduled(nn.Module):
    """A trained denoiser as the eps-network of another schedule, with no training.

    eps_hat_target(z, t) = eps_hat_source(z / c(t), t'): the pair (x0, eps) behind a state does not change.

    Args:
        denoiser: Trained under its own schedule.
        schedule: The schedule wanted; its log SNRs must be among those that the denoiser knows.
        start: Smallest time of the new program.

    Raises:
        ArgumentError: The denoiser never meets one of these log SNRs.

    References:
        Karras et al. 2022, Elucidating the design space of diffusion-based generative models, section 4.

    Example:
        >>> import unigen as ug
        >>> old, wanted = ug.Diffusion(2, hidden=8, blocks=1), ug.VPCosine(100.0, 0.01)
        >>> network = ug.Rescheduled(old.denoiser, wanted)
        >>> new = ug.Diffusion(2, network=network, schedule=wanted, prediction=ug.Eps())
        >>> new.sample(3, sampler=ug.DDIM(5)).shape
        torch.Size([3, 2])
    """

    def __init__(self, denoiser: Denoiser, schedule: Schedule, start: float = 0.0) -> None:
        super().__init__()
        ends = torch.tensor([start, 1.0], dtype=torch.float64)
        first = float(match_snr(denoiser.schedule, schedule, ends)[0][0])
        if first < denoiser.start - 1e-6:
            raise ArgumentError(
                "the denoiser was not trained at so little noise", program="Rescheduled", site="start",
                got=f"its time {first:g} at t = {start:g}", expected=f"at least {denoiser.start:g}",
                hint="a larger start",
            )  # fmt: skip
        self.denoiser, self.schedule, self.start = denoiser, schedule, start

    def forward(self, z_t: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """Predict the noise.

        Args:
            z_t: States of the new schedule, (N, *event).
            t: Its times, (N,).
            context: Context, (N, C), or None.

        Returns:
            eps_hat, (N, *event).
        """
        time, scale = match_snr(self.denoiser.schedule, self.schedule, t)
        return self.denoiser(z_t / over_events(scale, z_t), time, context)[1]
