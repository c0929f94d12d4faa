"""The flow whose velocity is regressed on the paths of an interpolant.

    z_t = alpha_t u + sigma_t eps,    v(t, z) = E[alpha' u + sigma' eps | z_t = z],    u = (x − loc) / scale

eps comes from a base, N(0, I) unless another is given, and is coupled with u as the coupling says. Where eps is normal
and independent of u, the same network gives the score ∇ log p_t(z) = −E[eps | z_t = z] / sigma_t.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from unigen.dynamics.coupling import Coupling
from unigen.dynamics.interpolant import Interpolant
from unigen.dynamics.neural_ode import drift_field
from unigen.dynamics.prediction import Prediction, Velocity, over_events
from unigen.dynamics.unit_flow import UnitFlow, sum_events
from unigen.errors import ArgumentError, NoDensityError, ShapeError, UnsupportedQueryError
from unigen.logprob import Kind


@final
class InterpolantFlow(UnitFlow):
    """Velocity of an interpolant, by a network that predicts it or a quantity affine in it.

    Args:
        network: Called as net(z (N, *event), t (N,)) or net(z, t, context).
        interpolant: alpha and sigma.
        coupling: How noise is joined with data.
        prediction: What the network predicts.
        event_shape: Shape of one example.
        start: Time of the data; by default 0, or 1e-3 where the noise level rises infinitely fast at 0.
        base: Law of eps: anything with ``sample`` and ``log_prob``, or a program; N(0, I) if None.

    Raises:
        ArgumentError: The start is not in [0, 1), or there the velocity is infinite or not given by the prediction.
    """

    def __init__(
        self,
        network: nn.Module,
        interpolant: Interpolant,
        coupling: Coupling,
        prediction: Prediction,
        event_shape: tuple[int, ...],
        start: float | None = None,
        base: Any = None,
    ) -> None:
        direct = isinstance(prediction, Velocity)
        if start is None:
            start = 0.0 if _regular(interpolant, 0.0, direct) else 1e-3
        if not (0.0 <= start < 1.0 and _regular(interpolant, start, direct)):
            raise ArgumentError(
                "the velocity is not finite at the start", program="InterpolantFlow", site="start", got=start,
                expected="a time in [0, 1) with a finite sigma', and sigma > 0 unless the velocity is predicted",
                hint="start=1e-3",
            )  # fmt: skip
        super().__init__(event_shape, start)
        self.network, self.interpolant, self.coupling = network, interpolant, coupling
        self.prediction, self.base = prediction, base
        self.schedule = (
            interpolant.as_schedule()
        )  # a learned one is a part of the flow, which ``fit`` leaves as it is

    @property
    def gaussian(self) -> bool:
        """Whether the noise is N(0, I) and independent of the data."""
        return self.base is None and self.coupling.independent

    def field(self, context: Tensor | None = None) -> Callable[[Tensor, Tensor], Tensor]:
        """The velocity as a function (t, z) -> (N, *event)."""
        raw = drift_field(self.network, context)
        if isinstance(self.prediction, Velocity):
            return raw

        def velocity(t: Tensor, z: Tensor) -> Tensor:
            pair = self.prediction.pair(raw(t, z), z, t, self.schedule)
            return self.interpolant.velocity(*pair, t)

        return velocity

    def velocity_and_noise(
        self, t: Tensor, z: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Velocity and expected noise E[eps | z_t = z], each (N, *event), by one call of the network.

        Args:
            t: Times, () or (N,).
            z: State, (N, *event).
            context: Context, (N, C), or None.
        """
        raw = drift_field(self.network, context)(t, z)
        if isinstance(self.prediction, Velocity):
            return raw, self.interpolant.noise(raw, z, t)
        u, eps = self.prediction.pair(raw, z, t, self.schedule)
        return self.interpolant.velocity(u, eps, t), eps

    def score(self, t: Tensor, z: Tensor, context: Tensor | None = None) -> Tensor:
        """∇ log p_t(z) = −E[eps | z_t = z] / sigma_t, (N, *event), at times with sigma > 0.

        Raises:
            UnsupportedQueryError: The noise is not normal, or not independent of the data.
        """
        self.check_gaussian()
        return -self.velocity_and_noise(t, z, context)[1] / self.interpolant.sigma(over_events(t, z))

    def check_gaussian(self) -> None:
        """Refuse a flow whose velocity does not give the score.

        Raises:
            UnsupportedQueryError: The noise is not normal, or not independent of the data.
        """
        if not self.gaussian:
            raise UnsupportedQueryError(
                "the velocity gives the score only if the noise is normal and independent of the data",
                got="a base of one's own" if self.base is not None else repr(self.coupling),
                expected="base=None and coupling=Independent()",
                hint="program.score(x) differentiates the density along the ODE, for any coupling and base",
            )

    def at(self, fraction: Tensor) -> Tensor:
        """Times start + (1 − start) fraction for fractions in [0, 1]."""
        return fraction if self.start == 0.0 else fraction * (1.0 - self.start) + self.start

    def velocity_error(self, u: Tensor, t: Tensor, eps: Tensor, context: Tensor | None = None) -> Tensor:
        """‖v(t, z_t) − (alpha' u + sigma' eps)‖², (N,), of pairs (u, eps) at times (N,)."""
        z = self.interpolant.between(u, eps, t)
        return sum_events((self.field(context)(t, z) - self.interpolant.velocity(u, eps, t)).square())

    def log_contraction(self) -> Tensor:
        """Log alpha(start), ()."""
        start = torch.full((), self.start, dtype=self.loc.dtype, device=self.loc.device)
        return torch.log(self.interpolant.alpha(start))

    def _law(self) -> Any:
        return self.base.distribution() if hasattr(self.base, "distribution") else self.base

    def draw_base(self, n: int) -> Tensor:
        """Noise at t = 1, (n, *event)."""
        if self.base is None:
            return super().draw_base(n)
        with torch.no_grad():
            return self._law().sample((n,)).to(self.loc)

    def base_log_prob(self, z: Tensor) -> Tensor:
        """Log density of the base, (N,), in nats."""
        return super().base_log_prob(z) if self.base is None else self._law().log_prob(z)


@torch.no_grad()
def _regular(interpolant: Interpolant, start: float, direct: bool) -> bool:
    return math.isfinite(float(interpolant.sigma_rate(start))) and (
        direct or float(interpolant.sigma(start)) > 0.0
    )


def check_base(base: Any, event_shape: tuple[int, ...]) -> None:
    """Refuse a base that cannot stand at the end of a flow of examples of this shape.

    Args:
        base: A program, a distribution, or None.
        event_shape: Shape of one example.

    Raises:
        ArgumentError: It is conditional, a batch of distributions, discrete, or none at all.
        ShapeError: Its examples have another shape.
        NoDensityError: It has no exact density.
    """
    if base is None:
        return
    program = hasattr(base, "distribution")
    if not program and not (hasattr(base, "log_prob") and hasattr(base, "event_shape")):
        raise ArgumentError(
            program="FlowMatching",
            site="base",
            got=type(base).__name__,
            expected="a program or a distribution",
        )
    if tuple(base.event_shape) != tuple(event_shape):
        raise ShapeError(
            "a flow keeps the dimension: base and data must have the same", program="FlowMatching", site="base",
            got=tuple(base.event_shape), expected=tuple(event_shape), hint="dist.Normal(loc, scale).to_event(1)",
        )  # fmt: skip
    if getattr(base, "context_features", 0) or tuple(getattr(base, "batch_shape", ())):
        raise ArgumentError(
            program="FlowMatching", site="base", got="a conditional or batched law", expected="a single law"
        )
    if base.support.is_discrete:
        raise ArgumentError(
            program="FlowMatching", site="base", got="discrete", expected="a law on the reals"
        )
    kind = getattr(base, "kind", Kind.EXACT)
    if kind is not Kind.EXACT:
        raise NoDensityError(
            "the base of a flow needs an exact density", program="FlowMatching", site="base", got=kind,
            expected=Kind.EXACT, hint="a mixture, PPCA, or another flow",
        )  # fmt: skip


def interpolant_flow_of(program: nn.Module) -> InterpolantFlow:
    """Return a program's flow, that of an interpolant.

    Raises:
        ArgumentError: It has none.
    """
    flow = getattr(program, "flow", None)
    if not isinstance(flow, InterpolantFlow):
        raise ArgumentError(
            "only a flow along an interpolant is trained by flow matching",
            program=type(program).__name__,
            hint="ug.FlowMatching(features)",
        )
    return flow
