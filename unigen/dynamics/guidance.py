"""Guidance: another score in place of a denoiser's own, as a network that every sampler of a denoiser can use.

With a shift delta of the score, ∇ log p_t(z) + delta, the pair that a denoiser predicts becomes

    eps_hat' = eps_hat − sigma delta,        u_hat' = u_hat + (sigma² / alpha) delta,

so that z_t = alpha u_hat' + sigma eps_hat' still holds. Notation as in `denoiser.py`: z_t in unit coordinates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.prediction import V, over_events
from unigen.dynamics.schedule import Schedule
from unigen.dynamics.unit_flow import UnitFlow
from unigen.errors import ArgumentError, ShapeError

Pair = tuple[Tensor, Tensor]  # u_hat and eps_hat, each (N, *event)


class Guidance(nn.Module, ABC):
    """A way to change the pair that a denoiser predicts; final classes have a file each.

    Attributes:
        context_features: Features of the context that the guidance reads itself, after those of the denoiser.
    """

    context_features: int = 0

    @abstractmethod
    def pair(
        self, denoiser: Denoiser, z_t: Tensor, t: Tensor, context: Tensor | None, own: Tensor | None
    ) -> Pair:
        """Predict under guidance.

        Args:
            denoiser: What is guided.
            z_t: Noisy data in unit coordinates, (N, *event).
            t: Times, () or (N,).
            context: Context of the denoiser, (N, C), or None.
            own: Context of the guidance, (N, context_features), or None.

        Returns:
            u_hat and eps_hat, each (N, *event).
        """

    def check(self, denoiser: Denoiser, context_features: int) -> None:
        """Refuse a denoiser that cannot be guided in this way.

        Args:
            denoiser: What is to be guided.
            context_features: C, features of its context.

        Raises:
            UnigenError: It cannot.
        """

    def __repr__(self) -> str:
        """The class and its plain options."""
        plain = {k: v for k, v in vars(self).items() if not k.startswith("_") and isinstance(v, (int, float))}
        options = ", ".join(f"{k}={v!r}" for k, v in plain.items() if k != "training")
        return f"{type(self).__name__}({options})"


def shifted(pair: Pair, delta: Tensor, t: Tensor, schedule: Schedule) -> Pair:
    """The pair behind the score plus delta; where there is no signal at all, z_t says nothing and nothing is shifted.

    Args:
        pair: u_hat and eps_hat, each (N, *event).
        delta: Shift of the score, (N, *event).
        t: Times, () or (N,).
        schedule: Gives alpha and sigma.
    """
    t = over_events(t, delta)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    delta = torch.where(alpha > 0.0, delta, torch.zeros_like(delta))
    return pair[0] + sigma.square() / torch.where(alpha > 0.0, alpha, 1.0) * delta, pair[1] - sigma * delta


def check_scale(program: str, scale: float, low: float = 0.0) -> float:
    """Return a scale as a float.

    Raises:
        ArgumentError: It is no finite number of at least ``low``.
    """
    if isinstance(scale, bool) or not low <= scale < float("inf"):
        raise ArgumentError(program=program, site="scale", got=scale, expected=f"a finite number >= {low:g}")
    return float(scale)


def check_gradient(f: Callable[[Tensor], Tensor], like: Tensor, program: str, site: str) -> None:
    """Refuse a log density that does not give one number a row, or no gradient.

    Args:
        f: Maps (N, *event) to (N,).
        like: One example, for shape, type and device.
        program: Name used in messages.
        site: Argument used in messages.

    Raises:
        ShapeError: Its values have another shape.
        ArgumentError: It is not differentiable in its argument.
    """
    with torch.enable_grad():
        at = torch.zeros(2, *like.shape, dtype=like.dtype, device=like.device, requires_grad=True)
        value = f(at)
        if not isinstance(value, Tensor) or tuple(value.shape) != (2,):
            raise ShapeError(
                program=program, site=site, got=tuple(value.shape) if isinstance(value, Tensor) else type(value),
                expected="log p of two rows, (2,)", hint="one number in nats a row: .sum(-1), log_softmax and gather",
            )  # fmt: skip
        slope = torch.autograd.grad(value.sum(), at, allow_unused=True)[0] if value.requires_grad else None
    if slope is None:
        raise ArgumentError(
            "guidance needs the gradient of log p(y | x_t) in x_t", program=program, argument=site,
            got="a function without one", expected="a function that torch differentiates",
            hint="a torch module without no_grad, detach or argmax; ug.fit_noisy_classifier trains one",
        )  # fmt: skip


@final
class GuidedNetwork(nn.Module):
    """A guided denoiser as a network that predicts v = alpha eps − sigma u.

    Args:
        denoiser: What is guided.
        guidance: How.
        context_features: C, features of the context that the denoiser reads; the guidance reads those that follow.
    """

    def __init__(self, denoiser: Denoiser, guidance: Guidance, context_features: int = 0) -> None:
        super().__init__()
        self.denoiser, self.guidance, self.context_features = denoiser, guidance, context_features

    def forward(self, z_t: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """Predict v, (N, *event)."""
        c = self.context_features
        given = None if context is None or c == 0 else context[:, :c]
        own = None if context is None or self.guidance.context_features == 0 else context[:, c:]
        u, eps = self.guidance.pair(self.denoiser, z_t, t, given, own)
        return V().value(u, eps, t, self.denoiser.schedule)


def share_units(view: UnitFlow, of: UnitFlow) -> None:
    """Let a view of a flow have its loc and scale: the same buffers, also once either was moved or fitted."""
    view._buffers = of._buffers


def guided_denoiser(denoiser: Denoiser, guidance: Guidance, context_features: int = 0) -> Denoiser:
    """Return a denoiser that predicts under guidance, sharing all that the other has.

    Args:
        denoiser: What is guided.
        guidance: How.
        context_features: C, features of its context.

    Returns:
        A denoiser with a context of C features and then those of the guidance.

    Raises:
        UnigenError: The two do not fit.
    """
    guidance.check(denoiser, context_features)
    network = GuidedNetwork(denoiser, guidance, context_features)
    guided = Denoiser(network, denoiser.schedule, V(), tuple(denoiser.loc.shape), denoiser.start)
    share_units(guided, denoiser)
    return guided
