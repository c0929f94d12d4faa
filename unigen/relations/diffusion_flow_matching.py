r"""Diffusion and flow matching: one network, read as a score or as a velocity.

With z_t = alpha_t u + sigma_t eps and eps ~ N(0, I) independent of u, data, noise, v, score and velocity are affine in
one another given z_t and t, in particular

    E[alpha' u + sigma' eps | z_t] = f z_t − ½ g² ∇ log p_t(z_t),

so that a flow matching program and the probability flow of a diffusion along the same path are the same program. The
worked example is the straight path of N(mean, std²), where everything is in closed form.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from unigen.densities.probability_flow import ProbabilityFlow
from unigen.dynamics.interpolant import VP, Interpolant, InterpolantSchedule, Linear
from unigen.dynamics.prediction import X0, Eps, Prediction, Score, V, Velocity, convert
from unigen.dynamics.schedule import VariancePreserving
from unigen.dynamics.unit_flow import UnitFlow
from unigen.errors import UnsupportedQueryError
from unigen.models.diffusion import Diffusion
from unigen.models.flow_matching import FlowMatching
from unigen.plots.style import COLOURS, figure, style
from unigen.program import Program
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.relation import Relation
from unigen.samplers.probability_flow import ProbabilityFlowODE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = TypeVar("P", bound=Program)

ROUNDING = 1e-8
START = 1e-3  # first time of a diffusion whose path begins without noise, where its score is infinite
ROWS = 64  # examples of the data, and draws, used on programs


def to_flow_matching(program: Diffusion) -> FlowMatching:
    """Return the flow matching program of a diffusion's probability flow, sharing its network.

    Draws by the ODE and densities are equal up to the solver's tolerance.

    Args:
        program: A diffusion whose schedule preserves the variance, or is that of an interpolant.

    Raises:
        UnsupportedQueryError: The schedule does not end in N(0, I).
    """
    denoiser, schedule = program.denoiser, program.denoiser.schedule
    if isinstance(schedule, InterpolantSchedule):
        path = schedule.interpolant
    elif isinstance(schedule, VariancePreserving):
        path = VP(schedule)
    else:
        raise UnsupportedQueryError(
            "an interpolant ends in N(0, I)", program=program.name, got=repr(schedule),
            expected="a schedule that preserves the variance", hint="schedule=VPCosine()",
        )  # fmt: skip
    flow = FlowMatching(
        tuple(program.event_shape), network=denoiser.network, interpolant=path, prediction=denoiser.prediction,
        context=program.context_features, start=denoiser.start, each=program.each,
    )  # fmt: skip
    return _same_units(flow, flow.flow, denoiser, program)


def to_diffusion(program: FlowMatching) -> Diffusion:
    """Return the diffusion along a flow's path, sharing its network.

    A path without noise at its start is entered at t = 10⁻³, since the score is infinite before; with that ``start``
    the two are equal up to the solver's tolerance, and else to some 10⁻³ nats.

    Args:
        program: A flow matching program with normal noise, independent of the data.

    Raises:
        UnsupportedQueryError: The noise is not normal, or not independent of the data.
    """
    flow = program.flow
    flow.check_gaussian()
    noiseless = not float(flow.interpolant.sigma(flow.start).detach()) > 0.0
    diffusion = Diffusion(
        tuple(program.event_shape), network=flow.network, schedule=flow.interpolant.as_schedule(),
        prediction=flow.prediction, context=program.context_features, start=START if noiseless else flow.start,
        each=program.each,
    )  # fmt: skip
    return _same_units(diffusion, diffusion.denoiser, flow, program)


def _same_units(new: P, to: UnitFlow, of: UnitFlow, old: Program) -> P:
    new.to(device=old.device, dtype=old.dtype)
    with torch.no_grad():
        to.loc.copy_(of.loc)
        to.scale.copy_(of.scale)
    new.fitted, new.data_size = old.fitted, old.data_size
    return new


class GaussianPath:
    """E[u | z_t], E[eps | z_t] and ∇ log p_t for u ~ N(mean, std²) along an interpolant."""

    def __init__(self, path: Interpolant, mean: float, std: float) -> None:
        self.path, self.mean, self.std = path, mean, std

    def variance(self, t: Tensor) -> Tensor:
        """Var z_t, the shape of t."""
        return (self.path.alpha(t) * self.std).square() + self.path.sigma(t).square()

    def pair(self, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Regression of u and of eps on z_t, each the shape of z."""
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        gain = (z - alpha * self.mean) / self.variance(t)
        return self.mean + alpha * self.std**2 * gain, sigma * gain

    def score(self, z: Tensor, t: Tensor) -> Tensor:
        """∇ log p_t, the shape of z."""
        return -(z - self.path.alpha(t) * self.mean) / self.variance(t)

    def floor(self, points: int = 200_000) -> float:
        """∫ Var[alpha' u + sigma' eps | z_t] dt by the midpoint rule."""
        t = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        speed = self.path.alpha(t) * self.path.sigma_rate(t) - self.path.sigma(t) * self.path.alpha_rate(t)
        return float(((self.std * speed).square() / self.variance(t)).mean())


class DiffusionFlowMatching(Relation):
    """The velocity of flow matching is the drift of the probability flow of the same path."""

    id = 15
    name = "flow matching – diffusion"
    families = ("Diffusion", "FlowMatching")
    statement = "x₀, ε, v, score and velocity are affine in one another, so that one network serves both"
    latex = (
        r"\mathbb{E}[\dot\alpha x_0 + \dot\sigma\varepsilon \mid z_t] = "
        r"f z_t - \tfrac12 g^2 \nabla\log p_t(z_t)"
    )
    source = "Lipman et al. 2023; Kingma & Gao 2023"
    assumptions = ("the noise is normal and independent of the data", "both follow the same alpha and sigma")
    converts = (("Diffusion", "FlowMatching"), ("FlowMatching", "Diffusion"))

    def score_factor(self) -> float:
        """Factor of g² ∇ log p_t in the velocity."""
        return -0.5

    def check(
        self, *, mean: float = 2.0, std: float = 0.5, point: float = 1.0, time: float = 0.5
    ) -> Evidence:
        """Compare velocities, floors and conversions along the straight path of N(mean, std²).

        Args:
            mean: Mean of the data.
            std: Their standard deviation.
            point: z_t where the velocity is compared.
            time: t of that point, inside (0, 1).
        """
        path = Linear()
        law, schedule = GaussianPath(path, mean, std), InterpolantSchedule(path)
        z, t = (torch.tensor([value], dtype=torch.float64) for value in (point, time))
        u, eps = law.pair(z, t)
        velocity, score = path.velocity(u, eps, t), law.score(z, t)
        f, g2 = schedule.drift_coefficient(t), schedule.diffusion_squared(t)
        by_score = f * z + self.score_factor() * g2 * score
        claims = [
            Claim("f z − ½ g² score = E[eps − u | z]", by_score.item(), velocity.item(), ROUNDING),
            Claim("irreducible loss = π std / 2", law.floor(), 0.5 * math.pi * std, ROUNDING),
        ]
        truth: dict[Prediction, Tensor] = {
            X0(): u, Eps(): eps, V(): path.alpha(t) * eps - path.sigma(t) * u, Score(): score, Velocity(): velocity
        }  # fmt: skip
        gap = max(
            (convert(value, source, target, z, t, schedule) - wanted).abs().item()
            for source, value in truth.items()
            for target, wanted in truth.items()
        )
        claims.append(Claim("largest error of the 25 conversions", gap, 0.0, ROUNDING))
        return self.evidence(*claims, velocity_from_noise_to_data=-velocity.item())

    def figure(self, *, mean: float = 2.0, std: float = 0.5, time: float = 0.5) -> Figure:
        """Draw the five readings of one network against the state, and the velocity with its lines over time."""
        path, z = Linear(), torch.linspace(-2.0, 4.0, 61, dtype=torch.float64)
        law, t = GaussianPath(path, mean, std), torch.full((61,), time, dtype=torch.float64)
        u, eps = law.pair(z, t)
        readings = {"data x₀": u, "noise ε": eps, "v": path.alpha(t) * eps - path.sigma(t) * u,
                    "velocity": path.velocity(u, eps, t), "score / 4": law.score(z, t) / 4}  # fmt: skip
        times = torch.linspace(0.0, 1.0, 101, dtype=torch.float64)
        with style():
            fig = figure(7.6, 3.1)
            left, right = fig.subplots(1, 2)
            for name, value in readings.items():
                left.plot(z, value, label=name)
            left.set(xlabel="z_t", title=f"affine in one another, t = {time:g}")
            left.legend(fontsize=7)
            for noise in torch.linspace(-2, 2, 9).tolist():
                line = path.alpha(times) * mean + law.variance(times).sqrt() * noise
                right.plot(times, line, color=COLOURS[3], linewidth=0.8)
            right.set(xlabel="t (data at 0)", title=f"flow between N({mean:g}, {std:g}²) and N(0, 1)")
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Convert both programs, and compare densities of the data and draws from the same noise.

        The tolerance is that of two runs of an adaptive solver at 1e-5, and for a path without noise at its start
        that of its first 10⁻³.

        Raises:
            UnsupportedQueryError: A program is conditional, or an assumption fails.
        """
        if not isinstance(a, Diffusion) or not isinstance(b, FlowMatching):
            raise self.refuse("a Diffusion and a FlowMatching", a)
        if a.context_features or b.context_features:
            raise self.refuse("unconditional programs", a if a.context_features else b)
        x, _ = a.check_batch(data[:ROWS])
        density, solver = ProbabilityFlow(rtol=1e-5, atol=1e-5), ProbabilityFlowODE(1e-5, 1e-5)
        z, claims = torch.randn_like(x), []
        for old, new in ((a, to_flow_matching(a)), (b, to_diffusion(b))):
            with torch.no_grad():
                values = [p.log_prob(x, density=density).value.mean().item() for p in (old, new)]
                draws = [solver.push(p, z) for p in (old, new)]
            error = ((draws[0] - draws[1]).square().mean() / draws[0].square().mean()).sqrt().item()
            claims += [
                Claim(f"{old.name} → {new.name}: mean log p", values[0], values[1], 0.01 * x[0].numel()),
                Claim(f"{old.name} → {new.name}: relative difference of draws", error, 0.0, 0.01),
            ]
        return self.evidence(*claims)

    def convert(self, program: Program, *, to: str) -> Program:
        """Return the other reading of the same network.

        Raises:
            UnsupportedQueryError: An assumption fails, or the families are others.
        """
        if isinstance(program, Diffusion) and to == "FlowMatching":
            return to_flow_matching(program)
        if isinstance(program, FlowMatching) and to == "Diffusion":
            return to_diffusion(program)
        return super().convert(program, to=to)
