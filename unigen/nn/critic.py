"""The critic of an adversarial game: f(x, c), one number an example, and what it says about two distributions.

A classifier trained to tell data (p) from draws (q) has the optimum f* = log p(x) − log q(x) (Goodfellow et al. 2014).
The critic of an f-divergence attains its dual at a function of p/q (Nowozin et al. 2016; ``nn.f_divergences``). A
potential trained on E_p f − E_q f under a Lipschitz constraint attains the dual of W₁(p, q) (Arjovsky et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError, ShapeError, UnsupportedQueryError
from unigen.nn.f_divergence import FDivergence
from unigen.nn.f_divergences import JensenShannon
from unigen.nn.lipschitz import WeightConstraint
from unigen.nn.mlp import MLP

Reading = (
    str | FDivergence
)  # of a critic: an f-divergence, "log ratio" for that of a classifier, or "potential"


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
        constraint: ``SpectralNorm()`` or ``WeightClipping(c)``, on every layer; None for free weights.

    Attributes:
        reading: What the game it played makes of its value: "log ratio" for a classifier, another f-divergence by
            its name, "potential", or "" before any game.

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
        constraint: WeightConstraint | None = None,
    ) -> None:
        super().__init__()
        own = MLP(features, 1, hidden=hidden, activation=nn.LeakyReLU(0.2), context=context)
        self.features, self.context, self.constraint = features, context, constraint
        self.net = own if net is None else net
        self.flatten = net is None
        self.reading = ""
        self._divergence: FDivergence | None = None
        if constraint is not None:
            constraint.constrain(self.net)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return f(x, c), shape (N,)."""
        rows = x.flatten(1) if self.flatten else x
        out = self.net(rows) if context is None else self.net(rows, context)
        if out.dim() == 2 and out.shape[1] == 1:
            out = out.squeeze(1)
        if out.dim() != 1:
            raise ShapeError(program="Critic", got=tuple(out.shape), expected="(N,) or (N, 1)")
        return out

    def read_as(self, reading: Reading) -> Critic:
        """Fix what the critic's value means, and return the critic.

        Args:
            reading: An f-divergence, "log ratio" or "potential".

        Raises:
            ArgumentError: It is neither, or the critic already plays another game.
        """
        divergence = JensenShannon() if reading == "log ratio" else reading
        name = "log ratio" if isinstance(divergence, JensenShannon) else getattr(reading, "label", reading)
        if not isinstance(divergence, FDivergence) and reading != "potential":
            expected = "an f-divergence, 'log ratio' or 'potential'"
            raise ArgumentError(program="Critic", argument="reading", got=reading, expected=expected)
        if self.reading and self.reading != name:
            raise ArgumentError(program="Critic", got=name, expected=self.reading, hint="a fresh Critic")
        self.reading = name
        self._divergence = divergence if isinstance(divergence, FDivergence) else None
        return self

    def _refuse(self, expected: str, hint: str) -> UnsupportedQueryError:
        got = f"a critic that is a {self.reading}" if self.reading else "a critic that played no game"
        return UnsupportedQueryError(program="Critic", got=got, expected=expected, hint=hint)

    def _need_divergence(self, gives_ratio: bool) -> FDivergence:
        found = self._divergence
        if found is None or (gives_ratio and not found.gives_ratio):
            expected = (
                "a log ratio, or one that determines it" if gives_ratio else "one that bounds an f-divergence"
            )
            raise self._refuse(expected, "train with Adversarial(NonSaturating()) or Adversarial(FGAN(…))")
        return found

    def need_ratio(self) -> None:
        """Refuse a critic whose optimum does not determine p/q.

        Raises:
            UnsupportedQueryError: It is one.
        """
        self._need_divergence(gives_ratio=True)

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Switch the network to evaluation, where power iterations stand still, and back."""
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode

    def log_ratio(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x) − log q(x) as the critic has it, p the data and q the program; logit D(x) of a classifier.

        Differentiable in x if x requires a gradient.

        Returns:
            Shape (N,), nats.

        Raises:
            UnsupportedQueryError: The critic played no game in which the optimum determines the ratio.

        References:
            Goodfellow et al., Generative adversarial nets, 2014, proposition 1; Nowozin et al. 2016.
        """
        divergence = self._need_divergence(gives_ratio=True)
        with self._at_rest(), torch.set_grad_enabled(x.requires_grad and torch.is_grad_enabled()):
            return divergence.log_ratio(self(x, context))

    @torch.no_grad()
    def divergence(
        self, x: Tensor, y: Tensor, context: Tensor | None = None, context_y: Tensor | None = None
    ) -> Tensor:
        """Return E_p T − E_q φ*(T), on unseen samples a lower bound in expectation on the divergence it was trained on.

        Args:
            x: Data, shape (N, *event).
            y: Draws from the program, shape (M, *event).
            context: Context of x.
            context_y: Context of y.

        Returns:
            A scalar: nats for the two KLs and 2 JSD, without unit for χ², Hellinger, total variation and Le Cam.

        Raises:
            UnsupportedQueryError: The critic was trained on no f-divergence.

        References:
            Nguyen, Wainwright & Jordan 2010; Nowozin, Cseke & Tomioka, f-GAN, 2016.
        """
        divergence = self._need_divergence(gives_ratio=False)
        with self._at_rest():
            return divergence.bound(self(x, context), self(y, context_y))

    @torch.no_grad()
    def jensen_shannon(
        self, x: Tensor, y: Tensor, context: Tensor | None = None, context_y: Tensor | None = None
    ) -> Tensor:
        """Return log 2 + ½ E_p log D + ½ E_q log(1 − D), on unseen samples a lower bound in expectation on the JSD.

        D is 1 / (1 + exp(−log_ratio)), whatever the divergence that the critic was trained on.

        Args:
            x: Data, shape (N, *event).
            y: Draws from the program, shape (M, *event).
            context: Context of x.
            context_y: Context of y.

        Returns:
            A scalar, nats, at most log 2.

        Raises:
            UnsupportedQueryError: The critic determines no log ratio.
        """
        real, fake = self.log_ratio(x.detach(), context), self.log_ratio(y.detach(), context_y)
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
        if self.reading != "potential":
            raise self._refuse("a potential", "train with Adversarial(Wasserstein())")
        with self._at_rest():
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
