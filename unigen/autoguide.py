"""The guide that a program without one gets: amortised mean field.

    q(z, θ | x) = Π_l T_l # N(m_l(x), diag s_l(x)²) · Π_j T_j # N(μ_j, diag σ_j²)

with one perceptron from x (and context) to all local latents, free parameters for latents outside the plate,
and T the bijection from the reals to the support of each site (Kingma & Welling 2014; Kucukelbir et al. 2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn
from torch.distributions import biject_to, constraints
from torch.distributions.constraints import Constraint

from unigen.errors import SiteError
from unigen.nn.mlp import MLP
from unigen.structure import Site, Structure

if TYPE_CHECKING:
    from unigen.program import Program


def _inner(support: Constraint) -> Constraint:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


class AmortisedNormal(nn.Module):
    """Mean-field guide for any latents with a real or bijectively real support.

    Args:
        structure: The model's sites.
        context: Number of context features.
        hidden: Widths of the perceptron.
        program: Name used in messages.

    Raises:
        SiteError: A latent is discrete.
    """

    def __init__(
        self, structure: Structure, *, context: int = 0, hidden: tuple[int, ...] = (64, 64), program: str = ""
    ) -> None:
        super().__init__()
        for site in structure.latents:
            if site.discrete:
                raise SiteError(
                    "no automatic guide for a discrete latent",
                    program=program,
                    site=site.name,
                    hint="write a guide, or sum the site out and override `marginal`",
                )
        self.local = [s for s in structure.latents if s.local]
        self.shared = [s for s in structure.latents if not s.local]
        self.sizes = [biject_to(s.support).inverse_shape(s.event_shape).numel() for s in self.local]
        features = structure.observed.event_shape.numel()
        self.encoder = (
            MLP(features, 2 * sum(self.sizes), hidden=hidden, context=context) if self.local else None
        )
        self.loc = nn.ParameterDict()
        self.log_scale = nn.ParameterDict()
        for site in self.shared:
            shape = biject_to(site.support).inverse_shape(site.event_shape)
            shape = shape if len(shape) else torch.Size((1,))
            self.loc[site.name.replace(".", "/")] = nn.Parameter(torch.zeros(shape))
            self.log_scale[site.name.replace(".", "/")] = nn.Parameter(torch.full(shape, -2.0))

    @staticmethod
    def _sample(site: Site, loc: Tensor, scale: Tensor) -> Tensor:
        transform = biject_to(site.support)
        shape = transform.inverse_shape(site.event_shape)
        target = torch.Size(loc.shape[:-1] + shape)
        base = dist.Normal(loc.reshape(target), scale.reshape(target)).to_event(len(shape))
        if isinstance(_inner(site.support), type(constraints.real)):  # `is` fails after a deep copy
            return pyro.sample(site.name, base)
        return pyro.sample(site.name, dist.TransformedDistribution(base, [transform]))

    def sample_shared(self) -> dict[str, Tensor]:
        """Draw the latents outside the plate, by name."""
        drawn = {}
        for site in self.shared:
            key = site.name.replace(".", "/")
            loc, scale = self.loc[key].reshape(-1), self.log_scale[key].exp().reshape(-1)
            drawn[site.name] = self._sample(site, loc, scale)
        return drawn

    def sample_sites(self, program: Program, x: Tensor | None, context: Tensor | None, n: int) -> None:
        """Run the guide as a Pyro function."""
        self.sample_shared()
        if self.encoder is None:
            return
        with program.plate(x, n):
            if x is None:
                x = self.encoder_input(n)
            raw = self.encoder(x.reshape(x.shape[0], -1).to(self.encoder_input(1).dtype), context)
            loc, raw_scale = raw.chunk(2, -1)
            scale = nn.functional.softplus(raw_scale) + 1e-4
            for site, m, s in zip(
                self.local, loc.split(self.sizes, -1), scale.split(self.sizes, -1), strict=True
            ):
                self._sample(site, m, s)

    def encoder_input(self, n: int) -> Tensor:
        """Return a placeholder batch for structure discovery."""
        encoder: Any = self.encoder  # only a guide with an encoder asks
        weight = next(encoder.parameters())
        return weight.new_zeros(n, weight.shape[1])
