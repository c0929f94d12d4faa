"""Any flow of zuko, by name, as one layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from unigen.distributions.event_transforms import EventTransform, Lifted
from unigen.distributions.flow_steps import Shape, Step
from unigen.distributions.layers import Layer
from unigen.distributions.zuko_adapter import zuko_flow, zuko_flows
from unigen.errors import ArgumentError, UnknownNameError

NUMERICAL = {"NAF", "UNAF", "SOSPF", "BPF"}  # inverted by bisection, to 1e-6, on a bounded interval
WITHOUT = {  # why they are no layer
    "CNF": "it integrates an ODE",
    "GMM": "it is a mixture: ug.GaussianMixture",
    "GF": "its map is not onto the reals: its density integrates to less than one, 0.87 to 0.999 at the start",
}


class ZukoTransform(Lifted):
    """A transform of zuko; those that differentiate themselves keep no graph where gradients are off."""

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant."""
        z, ladj = super().call_and_ladj(x)
        return (z, ladj) if torch.is_grad_enabled() else (z.detach(), ladj.detach())


class ZukoStep(Step):
    """The lazy transform of a zuko flow.

    Args:
        name: Name of the flow.
        shape: (D,).
        context: C.
        options: Its constructor's further arguments.
    """

    def __init__(self, name: str, shape: Shape, context: int, options: Mapping[str, Any]) -> None:
        super().__init__(shape)
        self.lazy = zuko_flow(name, shape[0], context, dict(options))
        self.circular = name == "NCSF"
        self.inverse_by = "numerical: bisection to 1e-6" if name in NUMERICAL else "zuko's passes"

    def forward(self, context: Tensor | None = None) -> EventTransform:
        """Return the transform."""
        lifted = ZukoTransform(self.lazy(context), 1)
        if self.circular:
            bound = torch.pi
            lifted.domain = constraints.independent(constraints.interval(-bound, bound), 1)
        return lifted


@dataclass(frozen=True)
class Zuko(Layer):
    """A flow of zuko as one layer: ``Flow(4, [Zuko("NAF")])``.

    NAF, UNAF, SOSPF and BPF are inverted by bisection on [−10, 10]: their draws are good to about 1e-6 where the data
    are standardised, and wrong far out. Between two transforms NAF, UNAF and SOSPF clip softly to ±11, so that the
    noise beyond the image of ±11 is never reached: their densities integrate to one less its mass, measured
    at most 3 % on untrained layers. NCSF acts on angles in [−π, π]^D (``support=None``).

    Args:
        name: NICE, RealNVP, MAF, NSF, NAF, UNAF, SOSPF, BPF or NCSF.
        options: Further arguments of zuko's constructor, e.g. ``{"transforms": 2, "hidden_features": (64, 64)}``.

    References:
        Rozet et al., Zuko: normalizing flows in PyTorch, 2022.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, shape: Shape, context: int, position: int) -> Step:
        """Return the step."""
        known = zuko_flows()
        if self.name in WITHOUT:
            raise ArgumentError(
                f"{self.name} is no flow for this layer", site="Zuko", expected=WITHOUT[self.name]
            )
        if self.name not in known:
            raise UnknownNameError(site="Zuko", got=self.name, expected=f"one of {', '.join(sorted(known))}")
        if len(shape) != 1:
            raise ArgumentError(f"{self.name} acts on vectors", site="Zuko", got=shape, expected="(D,)")
        try:
            return ZukoStep(self.name, shape, context, self.options)
        except (TypeError, AssertionError) as error:
            raise ArgumentError(
                f"zuko refuses these options: {error}", site="Zuko", got=self.options
            ) from error
