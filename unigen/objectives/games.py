"""Adversarial games: what a critic f and a program minimise, from f on data (p) and on draws (q).

    game             critic minimises                          program minimises          best critic
    Minimax          E_p softplus(−f) + E_q softplus(f)        −E_q softplus(f)           log p/q
    NonSaturating    the same                                  E_q softplus(−f)           log p/q
    LeastSquares     ½ E_p (f − 1)² + ½ E_q f²                 ½ E_q (f − 1)²             p / (p + q)
    Hinge            E_p (1 − f)₊ + E_q (1 + f)₊               −E_q f                     sign(p − q)

``f_gan`` has the games of f-divergences, ``wasserstein_game`` that of W₁. Every game takes R1, γ/2 E_p ‖∇f‖².
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, final

from torch import Tensor, nn

from unigen.nn.critic import Reading
from unigen.nn.f_divergences import JensenShannon, LeCam, TotalVariation
from unigen.nn.lipschitz import WeightConstraint
from unigen.objectives.gradient_penalty import check_r1, r1_penalty

softplus = nn.functional.softplus


class Game(ABC):
    """What the two players minimise, from the critic's values on data and draws. Stateless.

    Args:
        r1: γ of the penalty γ/2 E_p ‖∇f‖² on data: 0 leaves the best critic as it is, a positive one makes training
            converge.

    Attributes:
        reading: What the critic's value means at its optimum; see ``Critic.read_as``.
        constraint: What the game needs of the critic's weights, if anything.

    Raises:
        ArgumentError: γ < 0.
    """

    reading: Reading
    constraint: WeightConstraint | None = None
    r1: float = 0.0

    def __init__(self, r1: float = 0.0) -> None:
        self.r1 = check_r1(r1, type(self).__name__)

    @abstractmethod
    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the critic's loss from f on data (N,) and on draws (N,)."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """Return the program's loss from f on draws (N,)."""

    @abstractmethod
    def encoder(self, real: Tensor) -> Tensor:
        """Return the loss of a player that makes the data's side look like draws, from f there (N,)."""

    def regulariser(self, critic: nn.Module, x: Tensor, y: Tensor, context: Tensor | None) -> Tensor:
        """Return what is added to the critic's loss to keep it smooth, from data x and draws y (N, *event)."""
        value = self.smoothness(critic, x, y, context)
        return value + r1_penalty(critic, x, context, self.r1) if self.r1 > 0 else value

    def smoothness(self, critic: nn.Module, x: Tensor, y: Tensor, context: Tensor | None) -> Tensor:
        """Return the game's own penalty besides R1; none unless a game declares it."""
        return x.new_zeros(())

    def __repr__(self) -> str:
        """Return the class and its options."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class _Logistic(Game):
    """A critic that classifies: f is the logit of the probability D that x is data."""

    reading: ClassVar[Reading] = JensenShannon()  # pyright: ignore[reportIncompatibleVariableOverride]

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """E_p softplus(−f) + E_q softplus(f), nats; 2 log 2 − 2 JSD(p, q) at the best critic."""
        return softplus(-real).mean() + softplus(fake).mean()


@final
class Minimax(_Logistic):
    """The zero-sum game V = E_p log D + E_q log(1 − D); the program's gradient vanishes where the critic is sure.

    Args:
        r1: γ of the penalty γ/2 E_p ‖∇f‖² on data.

    References:
        Goodfellow et al., Generative adversarial nets, 2014.
    """

    def generator(self, fake: Tensor) -> Tensor:
        """E_q log(1 − D), nats."""
        return -softplus(fake).mean()

    def encoder(self, real: Tensor) -> Tensor:
        """E_p log D, nats."""
        return -softplus(-real).mean()


@final
class NonSaturating(_Logistic):
    """Logistic classification; the program maximises log D of its draws, D = 1 / (1 + e^−f).

    Args:
        r1: γ of the penalty γ/2 E_p ‖∇f‖² on data; 0 leaves the optimum f* = log p/q unbiased, a positive one makes
            training converge.

    References:
        Goodfellow et al., Generative adversarial nets, 2014; Mescheder, Geiger & Nowozin, Which training methods for
        GANs do actually converge?, 2018.
    """

    def __init__(self, r1: float = 0.3) -> None:
        super().__init__(r1)

    def generator(self, fake: Tensor) -> Tensor:
        """E_q softplus(−f), nats."""
        return softplus(-fake).mean()

    def encoder(self, real: Tensor) -> Tensor:
        """E_p softplus(f), nats."""
        return softplus(real).mean()


@final
class LeastSquares(Game):
    """Regression on the labels 1 for data and 0 for draws; the program moves its draws to 1.

    The best critic is D = p / (p + q), and its loss there ¼ − ⅛ ∫ (p − q)² / (p + q).

    Args:
        r1: γ of the penalty γ/2 E_p ‖∇f‖² on data.

    References:
        Mao et al., Least squares generative adversarial networks, 2017.
    """

    reading: ClassVar[Reading] = LeCam()  # pyright: ignore[reportIncompatibleVariableOverride]

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """½ E_p (f − 1)² + ½ E_q f²."""
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())

    def generator(self, fake: Tensor) -> Tensor:
        """½ E_q (f − 1)²."""
        return 0.5 * (fake - 1).square().mean()

    def encoder(self, real: Tensor) -> Tensor:
        """½ E_p f²."""
        return 0.5 * real.square().mean()


@final
class Hinge(Game):
    """Large-margin classification; the best critic is the sign of p − q, and its loss 2 − 2 TV(p, q).

    Args:
        r1: γ of the penalty γ/2 E_p ‖∇f‖² on data.

    References:
        Lim & Ye, Geometric GAN, 2017; Miyato et al. 2018.
    """

    reading: ClassVar[Reading] = TotalVariation(hard=True)  # pyright: ignore[reportIncompatibleVariableOverride]

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """E_p (1 − f)₊ + E_q (1 + f)₊."""
        return (1 - real).clamp_min(0.0).mean() + (1 + fake).clamp_min(0.0).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """−E_q f."""
        return -fake.mean()

    def encoder(self, real: Tensor) -> Tensor:
        """E_p f."""
        return real.mean()
