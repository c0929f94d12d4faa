"""VampPrior: the mixture of a program's own posteriors at learned pseudo-inputs, as its prior.

    p(z) = 1/K Σ_k q(z | u_k, c_k)

Notation: u_k (K, D) pseudo-inputs, c_k (K, C) pseudo-contexts where the program has a context. It is the aggregated
posterior E_x q(z | x), the prior that maximises the ELBO, with the data replaced by K learned points.

A part that needs the program it stands in has a method ``bind(owner)``, which the owner calls once, when its own parts
are in place. The part keeps the owner as a plain reference, never as a submodule: each module then has one name only,
so that states hold no copies and a traced step sees one set of parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from unigen.distributions.standard import labelled
from unigen.errors import ArgumentError

SPREAD = 0.1  # of the pseudo-inputs before data are seen, around 1/2


class PosteriorMixture(dist.MixtureSameFamily):
    """A mixture of K distributions of one family, with the support of each."""

    @property
    def support(self) -> constraints.Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Support of every component."""
        support: Any = self.component_distribution.support
        return support


class VampPrior(nn.Module):
    """p(z) = 1/K Σ_k q(z | u_k): the program's own posterior, averaged over learned pseudo-inputs.

    Args:
        components: K.

    Raises:
        ArgumentError: K < 1; used without a program, or in two.

    References:
        Tomczak & Welling, VAE with a VampPrior, AISTATS 2018.

    Example:
        >>> import unigen as ug
        >>> print(ug.VAE(features=4, latents=2, prior=ug.VampPrior(components=5)).formula)
        p(x, z) = p(x | z) p_VampPrior(z);  q(z | x)
    """

    pseudo_inputs: nn.Parameter
    pseudo_contexts: nn.Parameter

    def __init__(self, components: int = 50) -> None:
        super().__init__()
        if components < 1:
            raise ArgumentError(program="VampPrior", site="components", got=components, expected="≥ 1")
        self.components = components

    def bind(self, owner: Any) -> None:
        """Take the posterior of the program that this prior belongs to, and make the pseudo-inputs.

        Args:
            owner: A program whose ``posterior_of(x, context)`` returns q(z | x, c), batch shape (N,). If it has
                ``codes``, what its encoder reads of x (one-hot classes, say), the pseudo-inputs are such codes, and
                ``amortised(codes, context)`` returns q.

        Raises:
            ArgumentError: It belongs to another program already.
        """
        if self.__dict__.get("owner", owner) is not owner:
            raise ArgumentError(
                "a VampPrior belongs to one program",
                program="VampPrior",
                got=f"a second {type(owner).__name__}",
                hint="VampPrior(components=…) for each",
            )
        self.__dict__["owner"] = owner  # no submodule: the owner's modules have their names there
        if "pseudo_inputs" not in self._parameters:
            k, like = self.components, {"device": owner.device, "dtype": owner.dtype}
            shape = self._read(torch.zeros(k, *owner.event_shape, **like)).shape
            self.pseudo_inputs = nn.Parameter(0.5 + SPREAD * torch.randn(shape, **like))
            if owner.context_features:
                self.pseudo_contexts = nn.Parameter(torch.zeros(k, owner.context_features, **like))

    def _read(self, x: Tensor) -> Tensor:
        """Return what the owner's encoder reads of x."""
        owner: Any = self.__dict__["owner"]
        return owner.codes(x) if hasattr(owner, "codes") else x

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Start the pseudo-inputs at examples, drawn without replacement as far as there are enough.

        Args:
            x: Data, shape (N, *event_shape).
            context: Shape (N, C), or None.
        """
        rows = torch.randperm(x.shape[0])[torch.arange(self.components) % x.shape[0]].to(x.device)
        self.pseudo_inputs.copy_(self._read(x[rows]))
        if context is not None:
            self.pseudo_contexts.copy_(context[rows])

    def forward(self) -> TorchDistribution:
        """Return p(z), with the event shape of z.

        Raises:
            ArgumentError: It stands in no program.
        """
        owner: Any = self.__dict__.get("owner")
        if owner is None:
            raise ArgumentError(
                "a VampPrior needs the program whose posterior it averages",
                program="VampPrior",
                hint="VAE(features, latents, prior=VampPrior(components=50))",
            )
        context = self.pseudo_contexts if owner.context_features else None
        read = owner.amortised if hasattr(owner, "codes") else owner.posterior_of
        each: TorchDistribution = read(self.pseudo_inputs, context)
        weights = dist.Categorical(logits=self.pseudo_inputs.new_zeros(self.components))
        return labelled(PosteriorMixture(weights, each), "VampPrior")

    def extra_repr(self) -> str:
        """Return the number of components."""
        return f"components={self.components}"
