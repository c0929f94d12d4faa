"""The critic of an adversarial game: f(x, c), one number an example, and what it says about two distributions.

A classifier trained to tell data (p) from draws (q) has the optimum f* = log p(x) − log q(x) (Goodfellow et al. 2014).
A potential trained on E_p f − E_q f under a Lipschitz constraint attains the dual of W₁(p, q) (Arjovsky et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError, ShapeError, UnsupportedQueryError
from unigen.nn.mlp import MLP

READINGS = ("log ratio", "potential")


def input_gradient(critic: nn.Module, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Return ∇_x f(x, c), itself differentiable in the critic's parameters.

    Args:
        critic: Maps x (N, *event) and the context to (N,).
        x: Shape (N, *event).
        context: Shape (N, C) or None.

    Returns:
        Shape (N, D), flattened.
    """
    with torch.enable_grad():
        at = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(critic(at, context).sum(), at, create_graph=True)
    return gradient.flatten(1)


class Critic(nn.Module):
    """f(x, c) by a perceptron, or by a network of your own; hand it to ``Adversarial(critic=…)`` to read it later.

    Args:
        features: D, number of entries of one example.
        hidden: Widths of the perceptron's hidden layers; () gives an affine critic.
        context: C, features of the context; 0 for none.
        net: Network (N, *event) → (N,) or (N, 1), given the context as a second argument if there is one; replaces
            the perceptron.

    Example:
        >>> Critic(3)(torch.randn(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (256, 256),
        *,
        context: int = 0,
        net: nn.Module | None = None,
    ) -> None:
        super().__init__()
        own = MLP(features, 1, hidden=hidden, activation=nn.LeakyReLU(0.2), context=context)
        self.net = own if net is None else net
        self.flatten = net is None
        self.reading = ""  # what the game it plays makes of it, one of READINGS

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return f(x, c), shape (N,)."""
        rows = x.flatten(1) if self.flatten else x
        out = self.net(rows) if context is None else self.net(rows, context)
        if out.dim() == 2 and out.shape[1] == 1:
            out = out.squeeze(1)
        if out.dim() != 1:
            raise ShapeError(program="Critic", got=tuple(out.shape), expected="(N,) or (N, 1)")
        return out

    def read_as(self, reading: str) -> Critic:
        """Fix what the critic's value means, and return the critic.

        Raises:
            ArgumentError: It already plays another game.
        """
        if reading not in READINGS or (self.reading and self.reading != reading):
            raise ArgumentError(
                program="Critic",
                got=reading,
                expected=self.reading or f"one of {READINGS}",
                hint="a fresh Critic",
            )
        self.reading = reading
        return self

    def _need(self, reading: str, hint: str) -> None:
        if self.reading != reading:
            raise UnsupportedQueryError(
                program="Critic",
                got=f"a critic that is a {self.reading}" if self.reading else "a critic that played no game",
                expected=f"a {reading}",
                hint=hint,
            )

    @torch.no_grad()
    def log_ratio(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return f(x) = logit D(x), at the critic's optimum log p(x) − log q(x), p the data and q the program.

        Returns:
            Shape (N,), nats.

        Raises:
            UnsupportedQueryError: The critic was not trained as a classifier.

        References:
            Goodfellow et al., Generative adversarial nets, 2014, proposition 1.
        """
        self._need("log ratio", "train with Adversarial(NonSaturating())")
        return self(x, context)

    @torch.no_grad()
    def jensen_shannon(
        self, x: Tensor, y: Tensor, context: Tensor | None = None, context_y: Tensor | None = None
    ) -> Tensor:
        """Return log 2 + ½ E_p log D + ½ E_q log(1 − D), on unseen samples a lower bound in expectation on the JSD.

        Args:
            x: Data, shape (N, *event).
            y: Draws from the program, shape (M, *event).
            context: Context of x.
            context_y: Context of y.

        Returns:
            A scalar, nats, at most log 2.

        Raises:
            UnsupportedQueryError: The critic was not trained as a classifier.
        """
        self._need("log ratio", "train with Adversarial(NonSaturating())")
        real, fake = self(x, context), self(y, context_y)
        softplus = nn.functional.softplus
        return math.log(2.0) - 0.5 * (softplus(-real).mean() + softplus(fake).mean())

    def wasserstein(
        self, x: Tensor, y: Tensor, context: Tensor | None = None, context_y: Tensor | None = None
    ) -> Tensor:
        """Return (E_p f − E_q f) / L, below W₁(p, q) in expectation if L is the critic's Lipschitz constant.

        L is the largest ‖∇f‖ met on x, y and one random point between each pair, so it is itself an estimate from
        below; a critic trained with a gradient penalty has L slightly above one, and dividing by it removes that bias.

        Args:
            x: Data, shape (N, *event).
            y: Draws from the program, shape (M, *event).
            context: Context of x.
            context_y: Context of y.

        Returns:
            A scalar in units of x.

        Raises:
            UnsupportedQueryError: The critic was not trained as a potential.

        References:
            Arjovsky, Chintala & Bottou, Wasserstein GAN, 2017; Gulrajani et al. 2017.
        """
        self._need("potential", "train with Adversarial(Wasserstein())")
        with torch.no_grad():
            dual = self(x, context).mean() - self(y, context_y).mean()
        n = min(x.shape[0], y.shape[0])
        u = torch.rand(n, *(1,) * (x.dim() - 1), dtype=x.dtype, device=x.device)
        between, c = u * x[:n] + (1 - u) * y[:n], None if context is None else context[:n]
        slopes = [
            input_gradient(self, at, given).detach().norm(dim=1).max()
            for at, given in ((x, context), (y, context_y), (between, c))
        ]
        return dual / torch.stack(slopes).max().clamp_min(torch.finfo(x.dtype).tiny)
