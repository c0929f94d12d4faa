"""Classifier guidance: Bayes' rule on noisy data, ∇ log p_t(z | y) = ∇ log p_t(z) + ∇ log p(y | z, t)."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.guidance import Guidance, Pair, check_gradient, check_scale, shifted
from unigen.errors import ArgumentError

LogLikelihood = Callable[..., Tensor]  # (z_t (N, *event), t (N,)[, context (N, K)]) -> (N,)


@final
class ClassifierGuidance(Guidance):
    """Add scale · ∇ log p(y | z_t, t) to the score of any diffusion or flow, which itself need not know of y.

    With the exact p(y | z_t, t) and scale 1 the draws are exactly those of p(x | y).

    Args:
        log_prob: log p(y | z_t, t) in nats, (N,), differentiable in z_t: called with z_t (N, *event), noisy data in
            unit coordinates alpha (x − loc) / scale + sigma eps, times (N,), and with ``context`` > 0 the context
            (N, K) that says which y each row wants. A ``NoisyClassifier`` is one.
        scale: Weight of the gradient.
        context: K, features of the context that the function reads; by default its ``context_features``, else 0,
            where the function has its y in itself.

    Raises:
        ArgumentError: The scale is negative or not finite; or, from ``Guided``, the function has no gradient.
        ShapeError: From ``Guided``, its values are not one a row.

    References:
        Dhariwal & Nichol 2021, Diffusion models beat GANs on image synthesis; Song et al. 2021, appendix I.

    Example:
        >>> import unigen as ug
        >>> program, classifier = ug.Diffusion(2, hidden=8, blocks=1), ug.NoisyClassifier(2, classes=3, hidden=8)
        >>> guided = ug.Guided(program, ClassifierGuidance(classifier))
        >>> guided.sample(3, context=torch.eye(3), sampler=ug.DDIM(5)).shape
        torch.Size([3, 2])
    """

    def __init__(self, log_prob: LogLikelihood, scale: float = 1.0, context: int | None = None) -> None:
        super().__init__()
        if not callable(log_prob):
            raise ArgumentError(
                program="ClassifierGuidance",
                site="log_prob",
                got=type(log_prob).__name__,
                expected="a function",
            )
        self.log_prob, self.scale = log_prob, check_scale("ClassifierGuidance", scale)
        self.context = getattr(log_prob, "context_features", 0) if context is None else context
        self.context_features = self.context

    def _value(self, z_t: Tensor, t: Tensor, own: Tensor | None) -> Tensor:
        each = t.expand(z_t.shape[0])
        return self.log_prob(z_t, each) if own is None else self.log_prob(z_t, each, own)

    def check(self, denoiser: Denoiser, context_features: int) -> None:
        """Try the classifier once.

        Raises:
            ArgumentError: It has no gradient.
            ShapeError: Its values are not one a row.
        """
        loc, k = denoiser.loc, self.context_features
        own = torch.eye(k, dtype=loc.dtype, device=loc.device)[:1].expand(2, k) if k else None
        half = torch.full((), 0.5, dtype=loc.dtype, device=loc.device)
        check_gradient(lambda z: self._value(z, half, own), loc, "ClassifierGuidance", "log_prob")

    def pair(
        self, denoiser: Denoiser, z_t: Tensor, t: Tensor, context: Tensor | None, own: Tensor | None
    ) -> Pair:
        """The denoiser's pair, its score shifted by the gradient."""
        pair = denoiser(z_t, t, context)
        if self.scale == 0.0:
            return pair
        delta = torch.func.grad(lambda z: self._value(z, t, own).sum())(z_t)
        return shifted(pair, self.scale * delta, t, denoiser.schedule)
