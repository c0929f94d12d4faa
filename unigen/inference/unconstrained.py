"""The latents of a program as one vector of reals, and its joint log density there, for many chains at once.

    U(u) = −log p(x, T(u)) − log |det ∂T/∂u|,     T = bijections onto the supports of the latent sites

Notation: C chains, D numbers for all latents together, u (C, D).
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.distributions import Transform, biject_to
from torch.distributions.constraints import Constraint
from torch.fx.experimental.proxy_tensor import make_fx

from unigen.dynamics.nuts import Potential
from unigen.errors import SiteError
from unigen.inference.compiled import inductor
from unigen.program import Program
from unigen.queries import seeded
from unigen.traces import Node, draw, log_joint


class Unconstrained:
    """The latent sites of a program under data, laid out side by side in R^D.

    Args:
        program: Its structure must have latents, all continuous.
        x: Checked data, shape (N, *event_shape).
        context: Shape (N, C) or None.

    Raises:
        SiteError: There is no latent, or a discrete one.
    """

    def __init__(self, program: Program, x: Tensor, context: Tensor | None) -> None:
        self.program = program
        self.model = functools.partial(program.model, x, context, x.shape[0])
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
            nodes = draw(self.model)
        self.layout = {site.name: self._place(nodes[site.name], site.support) for site in latents}
        self.dims = sum(math.prod(inner) for _, inner in self.layout.values())

    @staticmethod
    def _place(node: Node, support: Constraint) -> tuple[Transform, torch.Size]:
        transform: Any = biject_to(support)
        return transform, torch.Size(transform.inverse_shape(node["value"].shape))

    def constrain(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the sites at one u (D,), and log |det ∂T/∂u|, shape ()."""
        values, log_det = {}, u.new_zeros(())
        sizes = [math.prod(inner) for _, inner in self.layout.values()]
        for (name, (transform, inner)), part in zip(self.layout.items(), u.split(sizes), strict=True):
            y = part.reshape(inner)
            z = transform(y)
            values[name] = z
            log_det = log_det + transform.log_abs_det_jacobian(y, z).sum()  # type: ignore[union-attr]
        return values, log_det

    def potential_of(self, u: Tensor) -> Tensor:
        """Return U at one u (D,), in nats, shape ()."""
        values, log_det = self.constrain(u)
        return -log_joint(self.model, values) - log_det

    def potential(self, chains: int, compile: bool) -> Potential:
        """Return u (C, D) ↦ U (C,) and ∇U (C, D), compiled as one graph if asked."""

        def both(u: Tensor) -> tuple[Tensor, Tensor]:
            with pyro.validation_enabled(False):
                gradient, value = torch.func.vmap(torch.func.grad_and_value(self.potential_of))(u)
            return value, gradient

        if not compile:
            return both
        example = torch.zeros(chains, self.dims, dtype=self.program.dtype, device=self.program.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled: Callable[..., Any] = inductor(make_fx(both)(example), [example])

        def run(u: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                value, gradient = compiled(u)
            return value, gradient

        return run

    def values(self, u: Tensor) -> dict[str, Tensor]:
        """Return the sites at many u (*batch, D), each (*batch, *shape)."""
        flat = u.reshape(-1, u.shape[-1])
        with torch.no_grad():
            rows = [self.constrain(row)[0] for row in flat]
        return {
            name: torch.stack([row[name] for row in rows]).reshape(*u.shape[:-1], *rows[0][name].shape)
            for name in self.layout
        }
