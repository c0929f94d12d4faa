r"""Diffusion and continuous flow: the probability-flow ODE has the marginals of the SDE.

Notation as in `unigen.dynamics`: p_t the law of z_t = alpha_t x + sigma_t eps, s = ∇ log p_t. The SDE
dz = f z dt + g dW and the ODE dz/dt = f z − ½ g² s solve the same continuity equation, so that along the ODE

    log p_0(z_0) = log p_1(z_1) + ∫ ∇·(f z − ½ g² s) dt,

which is the change of variables of a continuous normalising flow. The worked example has p_0 = ½N(±m, s²), whose every
p_t is a mixture of two Gaussians with known density, score and distribution function.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.densities.diffusion_bound import DiffusionBound
from unigen.densities.probability_flow import ProbabilityFlow as FlowDensity
from unigen.dynamics.divergence import ExactDivergence
from unigen.dynamics.schedule import Schedule, VPLinear
from unigen.dynamics.sde import Dynamics, ForwardSDE, ProbabilityFlow, ReverseSDE
from unigen.dynamics.solvers import integrate_ode, integrate_sde
from unigen.models.diffusion import Diffusion
from unigen.plots.style import COLOURS, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation
from unigen.samplers.probability_flow import ProbabilityFlowODE
from unigen.samplers.reverse_sde import ReverseSDE as ReverseSDESampler

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOLVER = 1e-10  # tolerance of a step of the ODE; some hundred steps add up to less than ROUNDING
ROUNDING = 1e-7
ROWS = 64  # examples of the data, and draws, used on a program


class TwoGaussians:
    """p_t for p_0 = ½N(−m, s²) + ½N(m, s²)."""

    def __init__(self, schedule: Schedule, centre: float, std: float) -> None:
        self.schedule, self.centre, self.std = schedule, centre, std

    def _parts(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return alpha * self.centre, torch.sqrt(alpha.square() * self.std**2 + sigma.square())

    def log_prob(self, t: Tensor, z: Tensor) -> Tensor:
        """Log density of p_t, the shape of z."""
        m, s = self._parts(t)
        sides = [-0.5 * ((z - c) / s).square() for c in (-m, m)]
        return torch.logaddexp(*sides) - torch.log(2 * s) - 0.5 * math.log(2 * math.pi)

    def cdf(self, t: Tensor, z: Tensor) -> Tensor:
        """Distribution function of p_t, the shape of z."""
        m, s = self._parts(t)
        return 0.5 * (torch.special.ndtr((z - m) / s) + torch.special.ndtr((z + m) / s))

    def score(self, t: Tensor, z: Tensor) -> Tensor:
        """∇ log p_t, the shape of z."""
        m, s = self._parts(t)
        return (m * torch.tanh(m * z / s.square()) - z) / s.square()


class DiffusionCNF(Relation):
    """The probability flow of a diffusion is a continuous normalising flow with the same marginals."""

    id = 11
    name = "diffusion – CNF"
    families = ("Diffusion",)
    statement = (
        "the probability-flow ODE has the SDE's marginals, and its change of variables is the data's density"
    )
    latex = (
        r"\dot z = f z - \tfrac12 g^2 \nabla\log p_t(z) \;\Rightarrow\; "
        r"\log p_0(z_0) = \log p_1(z_1) + \int_0^1 \nabla\cdot\dot z\,\mathrm{d}t"
    )
    source = "Song et al. 2021; Chen et al. 2018"
    assumptions = (
        "the score is that of the SDE's marginals",
        "the density at t = 1 is known: its mismatch adds up",
    )

    def flow(self, forward: ForwardSDE, law: TwoGaussians) -> Dynamics:
        """Return the probability flow."""
        return ProbabilityFlow(forward, law.score)

    def check(
        self,
        *,
        centre: float = 2.0,
        std: float = 0.35,
        points: tuple[float, ...] = (0.0, 2.3),
        schedule: Schedule = VPLinear(),
        draws: int = 20_000,
        seed: int = 0,
    ) -> Evidence:
        """Carry points from data to noise, and noise back to data, and compare with the mixture in closed form.

        Args:
            centre: m.
            std: s.
            points: Where the density is compared.
            schedule: The diffusion's schedule.
            draws: Draws by the reverse SDE.
            seed: Of these draws.
        """
        law, forward = TwoGaussians(schedule, centre, std), ForwardSDE(schedule)
        flow, exact = self.flow(forward, law), ExactDivergence()
        x = torch.tensor(points, dtype=torch.float64)[:, None]
        ends = torch.tensor([0.0, 0.1, 0.4, 1.0], dtype=torch.float64)

        def rates(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            velocity, terms = exact.terms(lambda z: flow.drift(t, z), state[0], exact.vectors(x))
            return velocity, terms

        path, volume = integrate_ode(
            rates, (x, torch.zeros_like(x)), 0.0, 1.0, SOLVER, SOLVER, at=ends.tolist()
        ).value
        by_flow = law.log_prob(ends[-1], path[-1]) + volume[-1]
        truth = law.log_prob(ends[0], x)
        claims = [
            Claim(f"log p({point:g}) by the flow = closed form", by_flow[i].item(), truth[i].item(), ROUNDING)
            for i, point in enumerate(points)
        ]
        levels = torch.stack([law.cdf(t, z) for t, z in zip(ends, path, strict=True)])
        drift = (levels - levels[0]).abs().max().item()
        claims.append(Claim("quantiles are carried along: largest change of F_t(z_t)", drift, 0.0, ROUNDING))
        claims.append(self._by_the_sde(forward, law, draws, seed))
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(path[-1])
        mismatch = (normal - law.log_prob(ends[-1], path[-1])).flatten().tolist()
        return self.evidence(
            *claims, mismatch_of_a_standard_normal_at_t_1=[round(gap, 8) for gap in mismatch]
        )

    def _by_the_sde(self, forward: ForwardSDE, law: TwoGaussians, draws: int, seed: int) -> Claim:
        """Compare E x² by the reverse SDE with m² + s²; Euler's error in 400 steps is below .01 of it."""
        times = torch.linspace(1.0, 1e-4, 401, dtype=torch.float64)
        reverse = ReverseSDE(forward.on_grid(times), law.score)
        with seeded(seed, torch.device("cpu")):
            noise = torch.randn(draws, 1, dtype=torch.float64)
            squares = integrate_sde(reverse.drift, reverse.diffusion, noise, times).square()
        right = law.centre**2 + law.std**2
        stderr = squares.std().item() / math.sqrt(draws)
        return statistical(
            "E x² by the SDE = m² + s²", squares.mean().item(), right, stderr, bias=0.01 * right
        )

    def figure(
        self, *, centre: float = 2.0, std: float = 0.35, schedule: Schedule = VPLinear(), seed: int = 0
    ) -> Figure:
        """Draw the marginals as a map over t, with lines of the flow and paths of the reverse SDE."""
        law, forward = TwoGaussians(schedule, centre, std), ForwardSDE(schedule)
        times = torch.linspace(1.0, 1e-3, 201, dtype=torch.float64)
        starts = torch.special.ndtri(torch.linspace(0.05, 0.95, 13, dtype=torch.float64))[:, None]
        ode = integrate_ode(
            self.flow(forward, law).drift, starts, 1.0, 1e-3, 1e-6, 1e-6, at=times.tolist()
        ).value
        reverse = ReverseSDE(forward.on_grid(times), law.score)
        with seeded(seed, torch.device("cpu")):
            sde = integrate_sde(reverse.drift, reverse.diffusion, starts, times, trajectory=True)
        z = torch.linspace(-3.5, 3.5, 141, dtype=torch.float64)
        density = law.log_prob(times[:, None], z).exp().T
        with style():
            fig = figure(7.6, 3.1)
            panels = fig.subplots(1, 2, sharey=True)
            for axes, path, title in zip(
                panels, (ode, sde), ("probability flow", "reverse SDE"), strict=True
            ):
                axes.pcolormesh(
                    times.numpy(),
                    z.numpy(),
                    density.sqrt().numpy(),
                    cmap="Greys",
                    shading="gouraud",
                    rasterized=True,
                    vmax=1.6,
                )
                axes.plot(times, path[..., 0], color=COLOURS[0], linewidth=0.8)
                axes.set(xlabel="t (data at 0)", title=title, ylim=(-3.5, 3.5))
                axes.grid(False)
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Measure a fitted diffusion: the flow there and back, its density, and the marginals of flow and SDE.

        Equality of the marginals is claimed up to .05 of their spread, the share of discretisation and of a network
        that is not quite a score.

        Raises:
            UnsupportedQueryError: The program is not an unconditional diffusion.
        """
        if not isinstance(a, Diffusion) or a.context_features:
            raise self.refuse("an unconditional Diffusion", a)
        x, _ = a.check_batch(data[:ROWS])
        denoiser, solver = a.denoiser, ProbabilityFlowODE(1e-5, 1e-5)
        with torch.no_grad():
            by_flow = denoiser.to_unit(a.draw(4 * ROWS, None, solver)).flatten(1).square().mean(1).double()
            by_sde = (
                denoiser.to_unit(a.draw(4 * ROWS, None, ReverseSDESampler(400))).flatten(1).square().mean(1)
            )
            z = torch.randn_like(x)
            there = denoiser.to_unit(solver.push(a, z))
            start = torch.full((), denoiser.start, dtype=x.dtype, device=x.device)
            flow = ProbabilityFlow(ForwardSDE(denoiser.schedule), denoiser.score)
            begin = denoiser.schedule.alpha(start) * there
            back = integrate_ode(flow.drift, begin, denoiser.start, 1.0, 1e-5, 1e-5).value
            density, bound = a.log_prob(x, density=FlowDensity()), a.log_prob(x, density=DiffusionBound())
        stderr = math.sqrt(float(by_flow.var() + by_sde.double().var()) / by_flow.shape[0])
        error = (back - z).square().mean().sqrt().item()
        left, right = by_flow.mean().item(), by_sde.double().mean().item()
        return self.evidence(
            Claim("noise → data → noise by the flow, root mean square error", error, 0.0, 0.02),
            statistical("mean square of flow draws = of SDE draws", left, right, stderr, bias=0.05 * right),
            log_likelihood_by_the_flow=str(density.mean()),
            bound_by_the_sde=str(bound.mean()),
        )
