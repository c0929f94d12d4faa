"""Brownian motion for solvers that only go forward: fresh increments, nothing stored."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from unigen.errors import ArgumentError


@final
class FreshIncrements:
    """Independent increments W(t_b) − W(t_a) ~ N(0, (t_b − t_a) I), drawn when asked for and then forgotten.

    The shape of torchsde's Brownian objects, without their memory: `torchsde.BrownianInterval` keeps a tree of
    increments so that a backward pass can ask for them again, which a solver that goes forward once does not need.
    Asking for the past is refused.

    Args:
        size: Shape of the motion, (N, D).
        dtype: float32 or float64.
        device: Where increments are drawn.
        generator: Source of randomness; torch's global one (set by `torch.manual_seed`) by default.

    Raises:
        ArgumentError: The type is not floating point.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> motion = FreshIncrements((100_000, 1))
        >>> bool((motion(0.0, 0.25).var() - 0.25).abs() < 0.01)
        True
    """

    __slots__ = ("_device", "_dtype", "_generator", "_now", "_size")

    def __init__(
        self,
        size: tuple[int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
    ) -> None:
        if not dtype.is_floating_point:
            raise ArgumentError(
                program="FreshIncrements", site="dtype", got=dtype, expected="a floating-point type"
            )
        self._size, self._dtype, self._device = torch.Size(size), dtype, torch.device(device)
        self._generator, self._now = generator, -math.inf

    def __call__(
        self,
        ta: Tensor | float,
        tb: Tensor | float | None = None,
        return_U: bool = False,
        return_A: bool = False,
    ) -> Tensor:
        """The increment over [ta, tb].

        Args:
            ta: Start, not before the end of the last interval asked for.
            tb: End.
            return_U: Not available (space-time Lévy area).
            return_A: Not available (Lévy area).

        Returns:
            W(tb) − W(ta), shape ``size``.

        Raises:
            ArgumentError: The interval lies in the past, has no end, or an area was asked for.
        """
        if tb is None or return_U or return_A:
            raise ArgumentError(
                "FreshIncrements gives increments over an interval only", hint="torchsde.BrownianInterval",
            )  # fmt: skip
        start, end = float(ta), float(tb)
        if start < self._now or end < start:
            raise ArgumentError(
                "an increment that was already drawn cannot be drawn again", program="FreshIncrements",
                got=f"[{start:g}, {end:g}]", expected=f"times from {self._now:g} on", hint="torchsde.BrownianInterval",
            )  # fmt: skip
        self._now = end
        increment = torch.randn(self._size, dtype=self._dtype, device=self._device, generator=self._generator)
        return increment if end - start == 1.0 else increment * math.sqrt(end - start)

    def __repr__(self) -> str:
        """Shape, type and device."""
        return f"FreshIncrements(size={tuple(self._size)}, dtype={self._dtype}, device={self._device})"

    @property
    def dtype(self) -> torch.dtype:
        """Type of the increments."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Device of the increments."""
        return self._device

    @property
    def shape(self) -> torch.Size:
        """Shape of the increments, (N, D)."""
        return self._size

    @property
    def levy_area_approximation(self) -> str:
        """None is available."""
        return "none"
