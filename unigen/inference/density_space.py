"""x of a program, or of any energy, as a vector of reals in which every Markov chain engine moves.

    U(u) = E(T(u_0 + s u)) − log |det ∂T/∂u|,     T = the bijection onto the support of x,

u_0 where a chain starts, s the unit of its steps. Notation: C chains, D numbers an example, u (C, D).
"""

from __future__ import annotations

import pyro
import torch
from torch import Tensor
from torch.distributions import biject_to, constraints

from unigen.dynamics.langevin import energy_and_gradient
from unigen.errors import ShapeError, UnsupportedQueryError
from unigen.inference.unconstrained import Unconstrained
from unigen.program import Program
from unigen.samplers.chains import energy_of


class DensitySpace(Unconstrained):
    """An observed x, unknown now, in place of latents under data.

    Args:
        program: Its density is exact or unnormalised and has a gradient.
        context: Shape (1, C) or (chains, C), or None.
        chains: Number of chains.
        starts: Shape (chains, *event_shape); T(0) if omitted.
        spread: s, the unit in which steps and starting points are measured.

    Raises:
        UnsupportedQueryError: x is discrete.
        ShapeError: The starts have another shape.
    """

    def __init__(
        self, program: Program, context: Tensor | None, chains: int, starts: Tensor | None, spread: float
    ) -> None:
        if program.structure.observed.discrete:
            raise UnsupportedQueryError(
                "a discrete x has no gradient", program=program.name, site=program.observed,
                hint="sampler=ug.Gibbs() for an RBM or Ising",
            )  # fmt: skip
        self.program, self.context, self.each, self.spread = program, context, False, spread
        support = program.support
        while isinstance(support, constraints.independent):
            support = support.base_constraint
        self.transform, self.unbounded = biject_to(program.support), support is constraints.real
        self.inner = torch.Size(self.transform.inverse_shape(program.event_shape))
        self.dims = self.inner.numel()
        want = (chains, *program.event_shape)
        if starts is None:
            self.origin = self.like(chains)
        elif tuple(starts.shape) != want:
            raise ShapeError(program=program.name, site="starts", got=tuple(starts.shape), expected=want)
        else:
            self.origin = (
                self.transform.inv(starts.to(program.device, program.dtype)).reshape(chains, -1).detach()
            )

    def _moved(self, u: Tensor, each: Tensor) -> Tensor:
        """Return the reals under T at u (R, D), whose rows are R / C for each chain in turn."""
        rows = u.shape[0] // each.shape[0]
        return torch.add(each if rows == 1 else each.repeat_interleave(rows, 0), u, alpha=self.spread)

    def energy(self, u: Tensor) -> Tensor:
        """Return U at u (R, D), shape (R,), in nats."""
        y = self._moved(u, self.origin).reshape(-1, *self.inner)
        context = self.context
        if context is not None:
            context = context.repeat_interleave(u.shape[0] // context.shape[0], 0)
        energy = energy_of(self.program, context)
        if self.unbounded:
            return energy(y)
        x = self.transform(y)
        return energy(x) - self.transform.log_abs_det_jacobian(y, x).reshape(x.shape[0], -1).sum(1)

    def potential(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return U and ∇U at u (R, D); not finite where a trajectory has left the finite numbers."""
        with pyro.validation_enabled(False):
            return energy_and_gradient(self.energy, u)

    def values(self, u: Tensor) -> dict[str, Tensor]:
        """Return x at u (C, S, D), shape (C, S, *event_shape)."""
        with torch.no_grad():
            y = self.origin[:, None] + self.spread * u
            return {self.program.observed: self.transform(y.reshape(*u.shape[:2], *self.inner))}
