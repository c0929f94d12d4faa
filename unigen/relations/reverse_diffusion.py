r"""Reverse SDE, probability flow and corrector: three ways back to the data with the same marginals.

Notation: dx = f x dt + g dW forward, p_t its law, s = ∇ log p_t. For every λ ≥ 0 the equation run from t = 1 down to 0,

    dx = [f x − ½ (1 + λ²) g² s] dt + λ g dW,

has the marginals p_t: λ = 1 is Anderson's reversal, λ = 0 the probability flow. Langevin steps x + h s + √(2h) ε leave
p_t where it is, up to O(h). For data N(0, std²) the law stays Gaussian, s = −x/v_t, v_t = alpha² std² + sigma², and
every discretisation multiplies the state by a number and adds noise, so that its variance is known without sampling.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.dynamics.schedule import Schedule, VPLinear
from unigen.dynamics.sde import Dynamics, ForwardSDE, ReverseSDE
from unigen.dynamics.solvers import integrate_ode, integrate_sde
from unigen.models.diffusion import Diffusion
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation
from unigen.samplers.predictor_corrector import PredictorCorrector
from unigen.samplers.probability_flow import ProbabilityFlowODE
from unigen.samplers.reverse_sde import ReverseSDE as ReverseSDESampler

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOLVER = 1e-7  # of an adaptive solver at 1e-10 a step
ORDER = 0.05  # of an observed order at some hundred steps, an error of O(dt)
ROWS = 400  # draws of each sampler of a program
NOISES = (0.0, 0.5, 1.0)


class ReverseDiffusion(Relation):
    """Reverse SDE, probability flow and Langevin corrector have the same marginals, up to the step."""

    id = 12
    name = "reverse SDE – ODE – corrector"
    families = ("Diffusion",)
    statement = (
        "reverse SDE, probability flow and all between them have the diffusion's marginals, with errors O(dt)"
    )
    latex = r"\mathrm{d}x = [f x - \tfrac{1+\lambda^2}{2} g^2 \nabla\log p_t]\,\mathrm{d}t + \lambda g\,\mathrm{d}W"
    source = "Anderson 1982; Song et al. 2021"
    assumptions = ("the score is that of the marginals", "for a program: no context")

    def reverse(self, schedule: Schedule, std: float, noise: float) -> Dynamics:
        """Return the reversal with noise λ, for data N(0, std²)."""
        return ReverseSDE(ForwardSDE(schedule), lambda t, x: -x / _variance(schedule, std, t), noise)

    def check(
        self,
        *,
        std: float = 2.0,
        schedule: Schedule = VPLinear(),
        steps: int = 800,
        draws: int = 10_000,
        seed: int = 0,
    ) -> Evidence:
        """Follow the variance of Gaussian data back through each reversal, exactly and by steps of two sizes.

        Args:
            std: Standard deviation of the data.
            schedule: The diffusion's schedule.
            steps: Number of steps; twice as many besides.
            draws: Simulated paths.
            seed: Of these.
        """
        times = torch.tensor([1.0, 0.6, 0.3, 0.1, 0.0], dtype=torch.float64)
        truth, claims = _variance(schedule, std, times), []
        for noise in NOISES:
            dynamics = self.reverse(schedule, std, noise)
            path = self.moments(dynamics, truth[:1], times)
            gap = (path - truth).abs().max().item()
            claims.append(
                Claim(
                    f"λ = {noise:g}: variance along the way = alpha² std² + sigma², worst", gap, 0.0, SOLVER
                )
            )
            one, two = (self.recursion(dynamics, truth[0], n) - std**2 for n in (steps, 2 * steps))
            order = math.log2(abs(one / two))
            claims.append(Claim(f"λ = {noise:g}: order of Euler's error in dt", order, 1.0, ORDER))
        variance, h = truth[3].item(), 0.02
        stationary = self.corrected(variance, h)
        claims += [
            Claim("corrector: variance after many Langevin steps = v/(1 − h/2v)", stationary,
                  variance / (1 - h / (2 * variance)), 1e-9),
            Claim("corrector: order of its error in h", math.log2((stationary - variance) /
                  (self.corrected(variance, h / 2) - variance)), 1.0, ORDER),
            self._simulated(schedule, std, draws, seed),
        ]  # fmt: skip
        return self.evidence(*claims, variance_of_the_data=std**2)

    def moments(self, dynamics: Dynamics, start: Tensor, times: Tensor) -> Tensor:
        """Return the variance at the given times, falling from 1: dV/dt = 2 c V − diffusion² backward, exactly."""

        def rate(t: Tensor, v: Tensor) -> Tensor:
            c, g = _linear(dynamics, t)
            return 2 * c * v - g**2

        return integrate_ode(rate, start, 1.0, 0.0, 1e-10, 1e-10, at=times.tolist()).value[:, 0]

    def recursion(self, dynamics: Dynamics, start: Tensor, steps: int) -> float:
        """Return the variance at 0 after so many Euler–Maruyama steps, exactly."""
        h, v = 1.0 / steps, start.item()
        grid = torch.linspace(1.0, h, steps, dtype=torch.float64)
        for c, g in zip(*(each.tolist() for each in _linear(dynamics, grid)), strict=True):
            v = (1 - h * c) ** 2 * v + h * g**2
        return v

    def corrected(self, variance: float, h: float) -> float:
        """Return the variance after 3,000 Langevin steps of size h on N(0, variance), from twice as much."""
        v = 2 * variance
        for _ in range(3000):
            v = (1 - h / variance) ** 2 * v + 2 * h
        return v

    def _simulated(self, schedule: Schedule, std: float, draws: int, seed: int) -> Claim:
        """Compare simulated paths of the reverse SDE in 50 steps with the recursion."""
        dynamics, start = self.reverse(schedule, std, 1.0), _variance(schedule, std, torch.ones(1).double())
        times = torch.linspace(1.0, 0.0, 51, dtype=torch.float64)
        with seeded(seed, start.device):
            x = integrate_sde(
                dynamics.drift,
                dynamics.diffusion,
                start.sqrt() * torch.randn(draws, 1, dtype=start.dtype),
                times,
            )
        squares, wanted = x.square(), self.recursion(dynamics, start[0], 50)
        stderr = squares.std().item() / math.sqrt(draws)
        return statistical(
            "variance of simulated paths, 50 steps = its recursion", squares.mean().item(), wanted, stderr
        )

    def figure(self, *, std: float = 2.0, schedule: Schedule = VPLinear()) -> Figure:
        """Draw paths of three reversals, and the error of the variance against the number of steps."""
        times, x = (
            torch.linspace(1.0, 0.0, 201, dtype=torch.float64),
            torch.linspace(-2, 2, 9).double()[:, None],
        )
        band = 2 * _variance(schedule, std, times).sqrt()
        start, counts = _variance(schedule, std, times[:1])[0], [25, 50, 100, 200, 400]
        with style():
            fig = figure(9.6, 3.0)
            axes = fig.subplots(1, 3)
            for panel, noise in zip(axes, (0.0, 1.0), strict=False):
                dynamics = self.reverse(schedule, std, noise)
                with seeded(0, x.device):
                    path = integrate_sde(dynamics.drift, dynamics.diffusion, x, times, trajectory=True)
                panel.plot(times, path[..., 0], color=COLOURS[0], linewidth=0.7)
                panel.fill_between(times, -band, band, color=GREY, alpha=0.15)
                panel.set(xlabel="t (data at 0)", title="probability flow" if noise == 0 else "reverse SDE")
            for i, noise in enumerate(NOISES):
                dynamics = self.reverse(schedule, std, noise)
                gaps = [abs(self.recursion(dynamics, start, n) - std**2) for n in counts]
                axes[2].loglog(counts, gaps, "o-", color=COLOURS[i], markersize=3, label=f"λ = {noise:g}")
            axes[2].minorticks_off()
            axes[2].set(xlabel="steps", title="error of the variance", xticks=counts, xticklabels=counts)
            axes[2].legend()
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Draw from a diffusion by the flow, by the reverse SDE, and by that with corrections.

        Equality of mean squares is claimed up to sampling error and .08 of them, the share of the steps and of a
        network that is not quite a score.

        Raises:
            UnsupportedQueryError: The program is not an unconditional diffusion.
        """
        if not isinstance(a, Diffusion) or a.context_features:
            raise self.refuse("an unconditional Diffusion", a)
        ways = {
            "reverse SDE": ReverseSDESampler(200),
            "with corrections": PredictorCorrector(ReverseSDESampler(100), snr=0.1),
        }
        with seeded(0, a.device), torch.no_grad():
            flow = _squares(a, a.draw(ROWS, None, ProbabilityFlowODE(1e-4, 1e-4)))
            others = {name: _squares(a, a.draw(ROWS, None, sampler)) for name, sampler in ways.items()}
        claims = []
        for name, squares in others.items():
            stderr = math.sqrt(float(flow.var() + squares.var()) / ROWS)
            left, right = squares.mean().item(), flow.mean().item()
            claims.append(
                statistical(
                    f"mean square by the {name} = by the flow", left, right, stderr, bias=0.08 * right
                )
            )
        return self.evidence(*claims)


def _variance(schedule: Schedule, std: float, t: Tensor) -> Tensor:
    """v_t, the shape of t."""
    return schedule.alpha(t).square() * std**2 + schedule.sigma(t).square()


def _linear(dynamics: Dynamics, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return drift/x and the diffusion of linear dynamics at times t, the shape of t."""
    one = torch.ones(t.numel(), dtype=torch.float64)
    c, g = dynamics.drift(t.reshape(-1), one), torch.as_tensor(dynamics.diffusion(t.reshape(-1), one))
    return c.reshape(t.shape), g.to(c).expand_as(c).reshape(t.shape)


def _squares(program: Diffusion, x: Tensor) -> Tensor:
    """Mean square of each draw in unit coordinates, (N,)."""
    return program.denoiser.to_unit(x).flatten(1).square().mean(1).double()
