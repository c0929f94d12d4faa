"""Mode coverage: how many of the known modes of a mixture a program's draws reach, how well and how evenly.

Notation: centres mu_k, k = 1 … K, spread sd, draws x. A draw belongs to the nearest centre; it is of high quality if it
lies within 3 sd of it. A mode is recovered if a high-quality draw belongs to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.checks import check_data
from unigen.errors import ArgumentError, ShapeError
from unigen.inference.run import StepEvent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WITHIN = 3.0  # standard deviations from its centre at which a draw still counts as good
DRAWS = 2500


@dataclass(frozen=True)
class Coverage:
    """What draws say about the modes.

    Args:
        recovered: Modes with at least so many high-quality draws as were asked for.
        modes: K.
        high_quality: Share of the draws within 3 sd of a centre.
        divergence: KL of the shares of the modes among all draws from their weights, nats; at least 0, and of the
            order (K − 1) / 2n for n draws of the mixture itself.
        counts: High-quality draws of each mode, (K,).
        draws: How many draws.
    """

    recovered: int
    modes: int
    high_quality: float
    divergence: float
    counts: Tensor
    draws: int

    @property
    def collapsed(self) -> bool:
        """Whether half of the modes or more are missing."""
        return 2 * self.recovered <= self.modes

    def __str__(self) -> str:
        """Write the findings in one line."""
        return (
            f"{self.recovered} of {self.modes} modes, {self.high_quality:.1%} of {self.draws} draws of high quality, "
            f"KL of the modes {self.divergence:.3f} nats"
        )

    def plot(self) -> Figure:
        """Return a figure of the number of high-quality draws of each mode."""
        from unigen.plots.games import coverage_figure

        return coverage_figure(self.counts.tolist(), self.draws)


def mode_coverage(
    x: Tensor, centres: Tensor, sd: float, weights: Tensor | None = None, *, least: int = 1
) -> Coverage:
    """Count the modes that draws reach.

    Args:
        x: Draws, shape (n, D).
        centres: mu_k, shape (K, D).
        sd: Standard deviation of a mode in each direction.
        weights: Of the modes, shape (K,); equal if omitted.
        least: High-quality draws that make a mode recovered.

    Returns:
        The coverage.

    Raises:
        ShapeError: Draws and centres do not meet.
        ArgumentError: sd ≤ 0, or least < 1.

    References:
        Srivastava et al., VEEGAN, 2017; Lin et al., PacGAN, 2018.

    Example:
        >>> print(mode_coverage(torch.tensor([[0.1], [0.2], [5.0]]), torch.tensor([[0.0], [10.0]]), 0.1))
        1 of 2 modes, 66.7% of 3 draws of high quality, KL of the modes 0.693 nats
    """
    centres, share = _check(centres, sd, weights, least)
    x = check_data(x, centres.shape[1:], constraints.real, torch.float64, "mode_coverage").cpu()
    distance, mode = torch.cdist(x, centres).min(1)
    k, n = centres.shape[0], x.shape[0]
    good = torch.bincount(mode[distance <= WITHIN * sd], minlength=k)
    found = torch.bincount(mode, minlength=k) / n
    divergence = torch.special.xlogy(found, found / share).sum()
    high = float(good.sum()) / n
    return Coverage(int((good >= least).sum()), k, high, max(0.0, float(divergence)), good, n)


def _check(centres: Tensor, sd: float, weights: Tensor | None, least: int) -> tuple[Tensor, Tensor]:
    """Return centres and shares in float64, or refuse them."""
    if centres.dim() != 2 or centres.shape[0] < 1:
        got = tuple(centres.shape)
        raise ShapeError(program="mode_coverage", argument="centres", got=got, expected="(K, D)")
    if not sd > 0:
        raise ArgumentError(program="mode_coverage", site="sd", got=sd, expected="> 0")
    if least < 1:
        raise ArgumentError(program="mode_coverage", site="least", got=least, expected="≥ 1")
    share = torch.ones(centres.shape[0]) if weights is None else weights
    if share.shape != (centres.shape[0],) or not bool((share > 0).all()):
        expected = f"{centres.shape[0]} positive numbers"
        raise ArgumentError(
            program="mode_coverage", argument="weights", got=tuple(share.shape), expected=expected
        )
    return centres.detach().to("cpu", torch.float64), (share.double() / share.double().sum()).cpu()


class ModeCoverage:
    """A callback of ``fit`` that writes the coverage of known modes into the record of a run.

    Curves ``modes``, ``high quality`` and ``mode divergence`` are added; the draws come from a stream of their own.

    Args:
        centres: mu_k, shape (K, D).
        sd: Standard deviation of a mode.
        every: Rounds between two entries.
        draws: Of each entry.

    Raises:
        ShapeError, ArgumentError: As for ``mode_coverage``.

    Example:
        >>> import unigen as ug
        >>> watch = ModeCoverage(torch.tensor([[-1.0], [1.0]]), 0.5, every=2, draws=50)
        >>> gan = ug.GAN(1, 2, hidden=(4,))
        >>> sorted(ug.fit(gan, torch.randn(20, 1), steps=4, callbacks=[watch]).history)
        ['critic', 'generator', 'high quality', 'mode divergence', 'modes']
    """

    def __init__(self, centres: Tensor, sd: float, *, every: int = 250, draws: int = DRAWS) -> None:
        for name, value in (("every", every), ("draws", draws)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(
                    program="ModeCoverage", site=name, got=value, expected="a positive integer"
                )
        _check(centres, sd, None, 1)
        self.centres, self.sd, self.every, self.draws = centres, sd, every, draws
        self.last: Coverage | None = None

    def __call__(self, event: StepEvent) -> None:
        """Record one round."""
        if event.step % self.every:
            return
        found = mode_coverage(event.program.sample(self.draws, seed=event.step), self.centres, self.sd)
        self.last = found
        event.record.add("modes", event.step, float(found.recovered))
        event.record.add("high quality", event.step, found.high_quality)
        event.record.add("mode divergence", event.step, found.divergence)
