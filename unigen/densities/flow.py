"""FlowProgram: a program whose density is a change of variables, p(x | c) = p_base(f(x | c)) |det ∂f/∂x|."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pyro
import torch
from torch import Tensor
from torch.distributions import Transform

from unigen.distributions.bijection import inverse
from unigen.distributions.flow import FlowDistribution
from unigen.distributions.flows import ChangeOfVariables
from unigen.distributions.layers import Layer, assemble, first_layers
from unigen.errors import ArgumentError, UnigenError
from unigen.program import Program
from unigen.recipe import Cosine, Recipe

if TYPE_CHECKING:
    from unigen.objectives.objective import Objective

DECAY = 1e-2  # weight decay


class FlowProgram(Program):
    """p(x | c) of a stack of layers; the density is exact and no variable is latent.

    Args:
        shape: Event shape, or the number of features D.
        layers: Layers from data to noise, behind those that ``support`` brings.
        context: C.
        support: ``"real"``: data are standardised by a learned affine map, set by the first ``fit``; ``"unit"``:
            the density lives on [0, 1]^D exactly; or a first layer of one's own, such as ``Logit()``.
        objective: What ``fit`` minimises.
    """

    recipe = Recipe(
        steps=600,
        batch_size=256,
        lr=1e-3,
        optimizer=partial(torch.optim.AdamW, weight_decay=DECAY),
        schedule=Cosine(warmup=20),
        clip=20.0,
    )

    def __init__(
        self,
        shape: int | Sequence[int],
        layers: Sequence[Layer | Transform],
        *,
        context: int = 0,
        support: str | Layer | None = "real",
        objective: Objective | None = None,
    ) -> None:
        event = (shape,) if isinstance(shape, int) else tuple(shape)
        name = type(self).__name__
        if not event or min(event) < 1 or context < 0 or not layers:
            raise ArgumentError(
                program=name,
                got=(event, context, len(layers)),
                expected="features ≥ 1, context ≥ 0, transforms ≥ 1",
            )
        super().__init__(event, context=context, objective=objective)
        with naming(name):
            first = () if support is None else first_layers(support)
            steps = assemble([*first, *layers], event, context)
        self.flow = ChangeOfVariables(steps, context=context, name=name)

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Declare p(x | c)."""
        with self.plate(x, n):
            return pyro.sample("x", self.flow(context), obs=x)

    def marginal(self, context: Tensor | None = None) -> FlowDistribution:
        """Return p(x | c), exact."""
        return self.flow(context)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let every layer set its starting values: standardise the data, normalise activations."""
        self.flow.initialise(x, context)

    def to_noise(self, x: object, context: object = None) -> Tensor:
        """Return z = f(x | c), shape (N, *shape of z): standard normal if the program fits the data."""
        rows, c = self.check_batch(x, context)
        with torch.no_grad():
            z = self.flow.transform(c)(rows)
        assert z is not None
        return z

    def from_noise(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x = f⁻¹(z | c), shape (N, *event)."""
        with torch.no_grad():
            return inverse(self.flow.transform(context), z)

    def round_trip(self, x: object, context: object = None) -> float:
        """Return the largest |f⁻¹(f(x)) − x|: by how much the inverse misses on these data."""
        rows, c = self.check_batch(x, context)
        return self.flow.round_trip(rows, c)

    @property
    def inverse_by(self) -> tuple[str, ...]:
        """How draws are made, one entry a layer: in one pass, feature by feature, or numerically."""
        return self.flow.inverse_by


@contextmanager
def naming(program: str) -> Iterator[None]:
    """Let errors of the parts name the program that the user wrote."""
    try:
        yield
    except UnigenError as error:
        error.program = error.program or program
        raise
