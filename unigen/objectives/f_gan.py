"""The game of an f-divergence: the critic tightens a bound from below, the program lowers it.

    critic     max_v  E_p g(v) − E_q φ*(g(v))   ≤ D_φ(p‖q)
    program    min_q  −E_q g(v),  or with ``saturating`` the zero-sum  −E_q φ*(g(v))

``nn.f_divergences`` has φ, g and φ* of each divergence, and what the best v says about p/q.
"""

from __future__ import annotations

from typing import final

from torch import Tensor

from unigen.errors import ArgumentError
from unigen.nn.f_divergence import FDivergence
from unigen.nn.f_divergences import JensenShannon
from unigen.objectives.games import Game


@final
class FGAN(Game):
    """Minimise an f-divergence between data and program, through its variational bound.

    With the Jensen–Shannon divergence it is ``NonSaturating``, and ``Minimax`` if saturating.

    Args:
        divergence: ``KullbackLeibler()``, ``ReverseKL()``, ``JensenShannon()``, ``PearsonChi2()``,
            ``SquaredHellinger()``, ``TotalVariation()`` or ``LeCam()``.
        saturating: Play the zero-sum game; otherwise the program maximises E_q g(v), whose gradient is larger where
            the critic is sure of its draws.
        r1: γ of the penalty γ/2 E_p ‖∇v‖² on data.

    Raises:
        ArgumentError: No divergence, or γ < 0.

    References:
        Nowozin, Cseke & Tomioka, f-GAN: training generative neural samplers using variational divergence
        minimization, 2016, table 1 and section 3.2.

    Example:
        >>> from unigen.nn.f_divergences import KullbackLeibler
        >>> FGAN(KullbackLeibler())
        FGAN(r1=0.0, divergence=KullbackLeibler(), saturating=False)
    """

    def __init__(
        self, divergence: FDivergence = JensenShannon(), *, saturating: bool = False, r1: float = 0.0
    ) -> None:
        if not isinstance(divergence, FDivergence):
            raise ArgumentError(
                program="FGAN", site="divergence", got=type(divergence).__name__, expected="an f-divergence",
                hint="KullbackLeibler()",
            )  # fmt: skip
        super().__init__(r1)
        self.divergence, self.saturating = divergence, saturating

    @property
    def reading(self) -> FDivergence:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The divergence."""
        return self.divergence

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """−(E_p g(v) − E_q φ*(g(v)))."""
        return -self.divergence.bound(real, fake)

    def generator(self, fake: Tensor) -> Tensor:
        """−E_q g(v), or −E_q φ*(g(v))."""
        d = self.divergence
        return -(d.composed(fake) if self.saturating else d.activation(fake)).mean()

    def encoder(self, real: Tensor) -> Tensor:
        """E_p φ*(g(v)), or E_p g(v) in the zero-sum game."""
        d = self.divergence
        return (d.activation(real) if self.saturating else d.composed(real)).mean()
