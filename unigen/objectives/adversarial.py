"""The adversarial game: a critic f learns to tell data (p) from draws (q), the program learns to pass.

    NonSaturating   critic     min_f  E_p softplus(−f) + E_q softplus(f)    at f* its value is 2 log 2 − 2 JSD(p, q)
                    program    min_q  E_q softplus(−f)
    Wasserstein     critic     min_f  E_q f − E_p f + λ E (‖∇f‖ − 1)₊²      at f* about −W₁(p, q)
                    program    min_q  −E_q f

Both losses hold critic and program; each player's optimiser moves its own half only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.critic import Critic, input_gradient
from unigen.objectives.objective import Objective, Player, trainable
from unigen.program import Program
from unigen.queries import ancestral


class Game(ABC):
    """What the two players minimise, from the critic's values on data and draws. Stateless.

    Attributes:
        reading: What the critic's value means at its optimum; see ``Critic``.
    """

    reading: ClassVar[str]

    @abstractmethod
    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the critic's loss from f on data (N,) and on draws (N,)."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """Return the program's loss from f on draws (N,)."""

    @abstractmethod
    def penalty(self, critic: nn.Module, x: Tensor, y: Tensor, context: Tensor | None) -> Tensor:
        """Return what is added to the critic's loss to keep it smooth."""

    def __repr__(self) -> str:
        """Return the class and its options."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


@final
class NonSaturating(Game):
    """Logistic classification; the program maximises log D of its draws, D = 1 / (1 + e^−f).

    Args:
        r1: γ of the penalty γ/2 E_p ‖∇f‖² on data; 0 leaves the optimum f* = log p/q unbiased, a positive one makes
            training converge.

    References:
        Goodfellow et al., Generative adversarial nets, 2014; Mescheder, Geiger & Nowozin, Which training methods for
        GANs do actually converge?, 2018.
    """

    reading = "log ratio"

    def __init__(self, r1: float = 0.3) -> None:
        if not r1 >= 0:
            raise ArgumentError(program="NonSaturating", site="r1", got=r1, expected="≥ 0")
        self.r1 = r1

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """E_p softplus(−f) + E_q softplus(f), nats."""
        return nn.functional.softplus(-real).mean() + nn.functional.softplus(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """E_q softplus(−f), nats."""
        return nn.functional.softplus(-fake).mean()

    def penalty(self, critic: nn.Module, x: Tensor, y: Tensor, context: Tensor | None) -> Tensor:
        """γ/2 E_p ‖∇f‖²."""
        if self.r1 == 0:
            return x.new_zeros(())
        return 0.5 * self.r1 * input_gradient(critic, x, context).square().sum(1).mean()


@final
class Wasserstein(Game):
    """The dual of W₁ with a gradient penalty between data and draws.

    The penalty is a soft constraint: for Diracs at distance a the optimal slope is 1 + a/(2λ). By default only slopes
    above one are penalised, which is the Lipschitz constraint; penalising those below one too (Gulrajani's form) can
    hold a critic whose slope has the wrong sign.

    Args:
        penalty: λ.
        two_sided: Penalise every slope other than one.

    References:
        Arjovsky, Chintala & Bottou, Wasserstein GAN, 2017; Gulrajani et al., Improved training of WGANs, 2017; Petzka,
        Fischer & Lukovnikov, On the regularization of Wasserstein GANs, 2018.
    """

    reading = "potential"

    def __init__(self, penalty: float = 10.0, *, two_sided: bool = False) -> None:
        if not penalty > 0:
            raise ArgumentError(
                program="Wasserstein",
                site="penalty",
                got=penalty,
                expected="> 0 (without it the dual is unbounded)",
            )
        self.weight, self.two_sided = penalty, two_sided

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """E_q f − E_p f."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """−E_q f."""
        return -fake.mean()

    def penalty(self, critic: nn.Module, x: Tensor, y: Tensor, context: Tensor | None) -> Tensor:
        """λ E (‖∇f(u x + (1 − u) y)‖ − 1)₊², u uniform."""
        u = torch.rand(x.shape[0], *(1,) * (x.dim() - 1), dtype=x.dtype, device=x.device)
        gradient = input_gradient(critic, u * x + (1 - u) * y, context)
        slope = (gradient.square().sum(1) + 1e-12).sqrt()  # differentiable at a flat critic
        excess = slope - 1 if self.two_sided else (slope - 1).clamp_min(0.0)
        return self.weight * excess.square().mean()


class CriticLoss(nn.Module):
    """What the critic minimises; holds the program it judges."""

    def __init__(self, program: Program, critic: nn.Module, game: Game) -> None:
        super().__init__()
        self.program, self.critic, self.game = program, critic, game

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the critic's loss on data x (N, *event) and as many draws."""
        with torch.no_grad():
            y = ancestral(self.program, x.shape[0], context)
        value = self.game.critic(self.critic(x, context), self.critic(y, context))
        return value + self.game.penalty(self.critic, x, y, context)


class GeneratorLoss(nn.Module):
    """What the program minimises; holds the critic that judges it."""

    def __init__(self, program: Program, critic: nn.Module, game: Game) -> None:
        super().__init__()
        self.program, self.critic, self.game = program, critic, game

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the program's loss on as many draws as x has rows."""
        y = ancestral(self.program, x.shape[0], context)
        return self.game.generator(self.critic(y, context))


@final
class Adversarial(Objective):
    """Train a program that can be drawn from, differentiably, against a critic; no density is needed.

    Args:
        loss: The game: ``NonSaturating(r1=…)`` or ``Wasserstein(penalty=…)``.
        critic: A ``Critic`` (keep it to read ``critic.log_ratio(x)`` or ``critic.wasserstein(x, y)`` after the fit) or
            a network (N, *event) → (N, 1); a fresh perceptron if omitted.
        critic_steps: Steps of the critic for each step of the program.
        lr: Learning rates of program and critic, as factors of the one given to ``fit``.
        betas: Adam's betas of both players.

    References:
        Goodfellow et al. 2014; Arjovsky et al. 2017.
    """

    def __init__(
        self,
        loss: Game = NonSaturating(),
        *,
        critic: nn.Module | None = None,
        critic_steps: int = 1,
        lr: tuple[float, float] = (1.0, 1.0),
        betas: tuple[float, float] = (0.5, 0.9),
    ) -> None:
        if isinstance(critic_steps, bool) or not isinstance(critic_steps, int) or critic_steps < 1:
            raise ArgumentError(site="critic_steps", got=critic_steps, expected="a positive integer")
        if not isinstance(loss, Game):
            raise ArgumentError(
                site="loss", got=type(loss).__name__, expected="NonSaturating() or Wasserstein()"
            )
        self.loss, self.critic, self.critic_steps, self.lr, self.betas = loss, critic, critic_steps, lr, betas

    def _build_critic(self, program: Program) -> Critic:
        if isinstance(self.critic, Critic):
            critic = self.critic
        else:
            features = max(1, program.event_shape.numel())
            critic = Critic(features, context=program.context_features, net=self.critic)
        return critic.read_as(self.loss.reading).to(program.device, program.dtype)

    def players(self, program: Program) -> list[Player]:
        """Return the critic, then the program.

        Raises:
            ArgumentError: Draws of the program are not differentiable in its parameters.
        """
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            differentiable = ancestral(program, 2, program._dummy_context(2)).requires_grad
        if not differentiable:
            raise ArgumentError(
                "an adversarial objective needs draws that are differentiable in the parameters",
                program=program.name,
                site=program.observed,
                hint="a reparameterised likelihood (Gaussian, not Bernoulli), or objective=ELBO()",
            )
        critic = self._build_critic(program)
        judge, forger = CriticLoss(program, critic, self.loss), GeneratorLoss(program, critic, self.loss)
        return [
            Player(
                "critic",
                judge,
                trainable(judge, "critic."),
                steps=self.critic_steps,
                lr=self.lr[1],
                betas=self.betas,
                measure=False,
            ),
            Player(
                "generator",
                forger,
                trainable(forger, "program."),
                lr=self.lr[0],
                betas=self.betas,
                measure=False,
            ),
        ]
