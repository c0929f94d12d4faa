"""EDM's preconditioning: a network whose inputs and targets have unit variance at every level of noise.

With y = x_t / alpha = x0 + ς eps, ς = sigma / alpha, and data of standard deviation s = sigma_data,

    x0_hat = c_skip y + c_out F(c_in y, c_noise),
    c_skip = s² / (ς² + s²),  c_out = ς s / √(ς² + s²),  c_in = 1 / √(ς² + s²),  c_noise = ¼ log ς.

`EDMOutput` is the first line as a prediction, `EDMInput` c_in and c_noise as a wrapper of the network F. Written so
that nothing is divided by alpha or sigma, with N = sigma² + s² alpha²,

    x0_hat = s² alpha x_t / N + sigma s F / √N,   eps_hat = sigma x_t / N − alpha s F / √N,   c_in y = x_t / √N.

For s = 1 and a variance-preserving schedule F = −v.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from unigen.dynamics.prediction import Prediction, over_events
from unigen.dynamics.schedule import Schedule, Time
from unigen.errors import ArgumentError


def _check_sigma_data(program: str, sigma_data: float) -> float:
    if not 0.0 < sigma_data < math.inf:
        raise ArgumentError(program=program, site="sigma_data", got=sigma_data, expected="a positive number")
    return float(sigma_data)


@final
class EDMOutput(Prediction):
    """EDM's target F = (x0 − c_skip y) / c_out, of unit variance at every level of noise.

    Args:
        sigma_data: s, standard deviation of the data; 1 in unit coordinates.

    Raises:
        ArgumentError: sigma_data is not positive.

    References:
        Karras et al. 2022, Elucidating the design space of diffusion-based generative models, table 1 and appendix B.6.
    """

    def __init__(self, sigma_data: float = 1.0) -> None:
        self.sigma_data = _check_sigma_data("EDMOutput", sigma_data)

    def _levels(self, t: Time, x: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor, Tensor]:
        """Alpha s, sigma, √N, shaped to multiply x."""
        t = over_events(t, x)
        signal, sigma = schedule.alpha(t) * self.sigma_data, schedule.sigma(t)
        return signal, sigma, torch.sqrt(signal.square() + sigma.square())

    def pair(self, value: Tensor, x_t: Tensor, t: Time, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """x0 = s (alpha s x_t / √N + sigma F) / √N, eps = (sigma x_t / √N − alpha s F) / √N."""
        signal, sigma, root = self._levels(t, x_t, schedule)
        scaled = x_t / root
        return self.sigma_data * (signal * scaled + sigma * value) / root, (
            sigma * scaled - signal * value
        ) / root

    def value(self, x0: Tensor, eps: Tensor, t: Time, schedule: Schedule) -> Tensor:
        """F = (sigma x0 / s − alpha s eps) / √N."""
        signal, sigma, root = self._levels(t, x0, schedule)
        return (sigma * x0 / self.sigma_data - signal * eps) / root

    def __repr__(self) -> str:
        """The call that builds it."""
        return f"EDMOutput(sigma_data={self.sigma_data:g})"


@final
class EDMInput(nn.Module):
    """A network fed with c_in y, of unit variance, and c_noise = ¼ log ς in the place of time.

    Args:
        network: F(input, c_noise) or F(input, c_noise, context), shaped like its input.
        schedule: That of the program.
        sigma_data: s, standard deviation of the data; 1 in unit coordinates.

    Raises:
        ArgumentError: sigma_data is not positive, or the schedule has no signal at t = 1, where c_noise is infinite.

    References:
        Karras et al. 2022, Elucidating the design space of diffusion-based generative models, table 1.

    Example:
        >>> import unigen as ug
        >>> from unigen.nn.residual import ResidualMLP
        >>> schedule = ug.VE(sigma_min=0.002, sigma_max=80.0)
        >>> network = ug.EDMInput(ResidualMLP(2, hidden=8, blocks=1), schedule)
        >>> edm = ug.Diffusion(
        ...     2, network=network, schedule=schedule, prediction=ug.EDMOutput(),
        ...     objective=ug.DenoisingScoreMatching(ug.EDMWeighting(), density=ug.LogNormalNoise()), sampler=ug.EDM(18),
        ... )
        >>> edm.sample(3).shape
        torch.Size([3, 2])
    """

    def __init__(self, network: nn.Module, schedule: Schedule, sigma_data: float = 1.0) -> None:
        super().__init__()
        self.sigma_data = _check_sigma_data("EDMInput", sigma_data)
        with torch.no_grad():
            end = schedule.log_snr(torch.ones(1, dtype=torch.float64))
        if not bool(torch.isfinite(end).all()):
            raise ArgumentError(
                "with no signal at t = 1 the noise level is infinite there", program="EDMInput", site="schedule",
                got=f"log SNR {float(end):g} at t = 1", expected="SNR > 0 at t = 1", hint="EDMOutput alone, or ug.V()",
            )  # fmt: skip
        self.network, self.schedule = network, schedule

    def forward(self, x_t: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """Apply the network.

        Args:
            x_t: Noisy data, (N, *event).
            t: Times, (N,).
            context: Context, (N, C), or None.

        Returns:
            F, (N, *event).
        """
        each = over_events(t, x_t)
        signal, sigma = self.schedule.alpha(each) * self.sigma_data, self.schedule.sigma(each)
        scaled, level = x_t / torch.sqrt(signal.square() + sigma.square()), -0.125 * self.schedule.log_snr(t)
        return self.network(scaled, level) if context is None else self.network(scaled, level, context)
