"""The Wasserstein game: the critic climbs to the dual of W₁, held Lipschitz in one of three ways.

    critic     min_f  E_q f − E_p f     at f* about −W₁(p, q)
    program    min_q  −E_q f

The constraint ‖∇f‖ ≤ 1 is a penalty on the slope between data and draws, or lies in the critic's weights: clipped, or
each divided by its spectral norm.
"""

from __future__ import annotations

from typing import ClassVar, final

from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.critic import Reading
from unigen.nn.lipschitz import WeightConstraint
from unigen.objectives.games import Game
from unigen.objectives.gradient_penalty import slope_penalty

PENALTY = 10.0


@final
class Wasserstein(Game):
    """The dual of W₁ with a gradient penalty between data and draws, or with constrained weights.

    The penalty is a soft constraint: for Diracs at distance a the optimal slope is 1 + a/(2λ). By default only slopes
    above one are penalised, which is the Lipschitz constraint; penalising those below one too (Gulrajani's form) can
    hold a critic whose slope has the wrong sign.

    Args:
        penalty: λ; 10 unless a constraint is given, which excludes it.
        two_sided: Penalise every slope other than one.
        constraint: ``WeightClipping(c)`` or ``SpectralNorm()``, in place of the penalty; a critic that is handed in
            must have been made with it.
        r1: γ of the penalty γ/2 E_p ‖∇f‖² on data.

    Raises:
        ArgumentError: λ ≤ 0, a penalty beside a constraint, or γ < 0.

    References:
        Arjovsky, Chintala & Bottou, Wasserstein GAN, 2017; Gulrajani et al., Improved training of WGANs, 2017; Petzka,
        Fischer & Lukovnikov, On the regularization of Wasserstein GANs, 2018; Miyato et al. 2018.
    """

    reading: ClassVar[Reading] = "potential"  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        penalty: float | None = None,
        *,
        two_sided: bool = False,
        constraint: WeightConstraint | None = None,
        r1: float = 0.0,
    ) -> None:
        super().__init__(r1)
        if constraint is not None and (penalty is not None or two_sided):
            raise ArgumentError(
                "a gradient penalty and a constraint on the weights exclude one another",
                program="Wasserstein", site="penalty", got=penalty, expected="None", hint="give one of them",
            )  # fmt: skip
        if constraint is not None and not isinstance(constraint, WeightConstraint):
            raise ArgumentError(
                program="Wasserstein", site="constraint", got=type(constraint).__name__,
                expected="WeightClipping(c) or SpectralNorm()",
            )  # fmt: skip
        penalty = PENALTY if penalty is None and constraint is None else penalty
        if penalty is not None and not penalty > 0:
            raise ArgumentError(
                program="Wasserstein", site="penalty", got=penalty,
                expected="> 0 (without it the dual is unbounded)",
            )  # fmt: skip
        self.penalty, self.two_sided, self.constraint = penalty, two_sided, constraint

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """E_q f − E_p f."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """−E_q f."""
        return -fake.mean()

    def encoder(self, real: Tensor) -> Tensor:
        """E_p f."""
        return real.mean()

    def smoothness(self, critic: nn.Module, x: Tensor, y: Tensor, context: Tensor | None) -> Tensor:
        """λ E (‖∇f(u x + (1 − u) y)‖ − 1)₊², u uniform; nothing where the weights are constrained."""
        if self.penalty is None:
            return x.new_zeros(())
        return slope_penalty(critic, x, y, context, self.penalty, self.two_sided)
