"""The latents of a program as one vector of reals, and its joint log density there, for many chains at once.

    U(u) = −log p(x, T(u)) − log |det ∂T/∂u|,     T = bijections onto the supports of the latent sites

Notation: C chains, D numbers for all latents together, u (C, D).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.distributions import Transform, biject_to
from torch.distributions.constraints import Constraint
from torch.func import grad, grad_and_value, jacrev, vmap

from unigen.errors import SiteError
from unigen.program import Program
from unigen.queries import seeded
from unigen.traces import Node, draw, log_joint


class Unconstrained:
    """The latent sites of a program under data, laid out side by side in R^D.

    Args:
        program: Its structure must have latents, all continuous.
        x: Checked data, shape (N, *event_shape); or (C, N, *event_shape), a data set of its own for each chain.
        context: Shape (N, C) or None; the same for all data sets.
        each: Whether there is a data set for each chain.

    Raises:
        SiteError: There is no latent, or a discrete one.
    """

    def __init__(self, program: Program, x: Tensor, context: Tensor | None, *, each: bool = False) -> None:
        self.program, self.x, self.context, self.each = program, x, context, each
        self.examples = x.shape[1] if each else x.shape[0]
        latents = program.structure.latents
        for site in latents:
            if site.discrete:
                raise SiteError(
                    "a discrete latent has no gradient",
                    program=program.name,
                    site=site.name,
                    hint="sum it out: marginal()",
                )
        if not latents:
            raise SiteError(
                "there is nothing latent to draw", program=program.name, hint="ug.bayesian(program, priors)"
            )
        with seeded(0, program.device):
            nodes = draw(functools.partial(program.model, x[0] if each else x, context, self.examples))
        self.layout = {site.name: self._place(nodes[site.name], site.support) for site in latents}
        self.dims = sum(math.prod(inner) for _, inner in self.layout.values())

    @staticmethod
    def _place(node: Node, support: Constraint) -> tuple[Transform, torch.Size]:
        transform = biject_to(support)
        return transform, torch.Size(transform.inverse_shape(node["value"].shape))

    def like(self, chains: int) -> Tensor:
        """Return zeros, shape (chains, D), of the program's dtype and device."""
        return torch.zeros(chains, self.dims, dtype=self.program.dtype, device=self.program.device)

    def _parts(self, u: Tensor) -> list[tuple[str, Any, Tensor]]:
        """Return each site's name, transform, and its numbers (*batch, *inner) of u (*batch, D)."""
        sizes = [math.prod(inner) for _, inner in self.layout.values()]
        return [
            (name, transform, part.reshape(u.shape[:-1] + inner))
            for (name, (transform, inner)), part in zip(self.layout.items(), u.split(sizes, -1), strict=True)
        ]

    def potential_of(self, u: Tensor, x: Tensor) -> Tensor:
        """Return U at one u (D,) under data x (N, *event_shape), in nats, shape ()."""
        values, log_det = {}, u.new_zeros(())
        for name, transform, y in self._parts(u):
            values[name] = transform(y)
            log_det = log_det + transform.log_abs_det_jacobian(y, values[name]).sum()
        return (
            -log_joint(functools.partial(self.program.model, x, self.context, self.examples), values)
            - log_det
        )

    def potential(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return U and ∇U at u (C, D), or at P points of each chain, (C, P, D)."""
        both = grad_and_value(self.potential_of)
        data = 0 if self.each else None
        inner = vmap(both, (0, None)) if u.dim() == 3 else both
        with pyro.validation_enabled(False):
            gradient, value = vmap(inner, (0, data))(u, self.x)
        return value, gradient

    def hessian(self, u: Tensor) -> Tensor:
        """Return ∂²U/∂u² at u (C, D), shape (C, D, D)."""
        with pyro.validation_enabled(False):
            return vmap(jacrev(grad(self.potential_of)), (0, 0 if self.each else None))(u, self.x)

    def values(self, u: Tensor) -> dict[str, Tensor]:
        """Return the sites at many u (*batch, D), each (*batch, *shape)."""
        with torch.no_grad():
            return {name: transform(y) for name, transform, y in self._parts(u)}
