"""Classifier-free guidance: the score of a conditional network, moved away from its unconditional one."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.guidance import Guidance, Pair, check_scale
from unigen.errors import ArgumentError


def null_context(like: Tensor, null: float) -> Tensor:
    """The context that stands for none: the declared value in every feature, shaped like a context."""
    return torch.full_like(like, null)


@final
class ClassifierFree(Guidance):
    """Guide a conditional program by itself with its context dropped.

    score_w(z | c) = score(z) + w (score(z | c) − score(z)),        w = scale

    w = 0 is unconditional, w = 1 the conditional program itself, w > 1 sharpens: at each t alone it is the score of
    p_t(z) p_t(c | z)^w, though the draws at t = 0 are not of p(x) p(c | x)^w. Ho & Salimans write
    (1 + ω) score(z | c) − ω score(z), which is the same with ω = w − 1.

    Args:
        scale: w. Two evaluations of the network a step, or one where w is 0 or 1.
        null: Value of every feature of the context that stands for no context; the program must have been trained on
            it, with ``DropContext(objective, null=…)``.

    Raises:
        ArgumentError: The scale is negative or not finite; or, from ``Guided``, the program has no context.

    References:
        Ho & Salimans 2022, Classifier-free diffusion guidance.

    Example:
        >>> import unigen as ug
        >>> program = ug.Diffusion(2, hidden=8, blocks=1, context=3)
        >>> ug.Guided(program, ClassifierFree(2.0)).sample(3, torch.eye(3), sampler=ug.DDIM(5)).shape
        torch.Size([3, 2])
    """

    def __init__(self, scale: float = 2.0, null: float = 0.0) -> None:
        super().__init__()
        self.scale, self.null = check_scale("ClassifierFree", scale), float(null)

    def check(self, denoiser: Denoiser, context_features: int) -> None:
        """Refuse an unconditional program.

        Raises:
            ArgumentError: It is unconditional.
        """
        if context_features == 0:
            raise ArgumentError(
                "a guidance scale without a conditional model", program="ClassifierFree", argument="program",
                got="a program with context=0", expected="context=C",
                hint="Diffusion(…, context=C, objective=ug.DropContext(ug.DenoisingScoreMatching()))",
            )  # fmt: skip

    def pair(
        self, denoiser: Denoiser, z_t: Tensor, t: Tensor, context: Tensor | None, own: Tensor | None
    ) -> Pair:
        """The line through the unconditional and the conditional prediction, at w."""
        assert context is not None
        if self.scale == 1.0:
            return denoiser(z_t, t, context)
        u, eps = denoiser(z_t, t, null_context(context, self.null))
        if self.scale == 0.0:
            return u, eps
        u_c, eps_c = denoiser(z_t, t, context)
        return u + self.scale * (u_c - u), eps + self.scale * (eps_c - eps)
