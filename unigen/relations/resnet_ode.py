r"""Residual network, ODE and diffusion: Euler's method, and what noise in every step makes of it.

Notation: residual blocks x_{k+1} = x_k + h f(x_k), k h = t. They are Euler's method for dx/dt = f(x), with an error of
order h; with g √h ε_k added in every block they are the Euler–Maruyama method for dx = f(x) dt + g dW. The worked
example is the spiral f(x) = Ax, A = [[−a, −b], [b, −a]]: x(t) = e^{−at} (cos bt, sin bt) from (1, 0), and with noise
a Gaussian about it of covariance g² (1 − e^{−2at})/2a in each direction.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.dynamics.solvers import integrate_ode, integrate_sde
from unigen.dynamics.unit_flow import flow_of
from unigen.models.cnf import CNF
from unigen.models.diffusion import Diffusion
from unigen.plots.style import COLOURS, figure, style
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOLVER = 1e-8  # of an adaptive solver at 1e-11 a step
ORDER = 0.02  # of an observed order at some hundred blocks, an error of O(h)
ROWS, BLOCKS = 64, 64  # noises carried by a program, and Euler steps of the coarser of two runs


class ResNetODE(Relation):
    """Residual blocks are Euler steps of an ODE, and with noise those of a diffusion."""

    id = 32
    name = "ResNet – ODE – diffusion"
    families = ("CNF", "Diffusion")
    statement = (
        "a residual network is Euler's method for an ODE, its error of order dt; noise in each gives an SDE"
    )
    latex = r"x_{k+1} = x_k + h f(x_k) + g\sqrt{h}\,\varepsilon_k \;\to\; \mathrm{d}x = f\,\mathrm{d}t + g\,\mathrm{d}W"
    source = "Chen et al. 2018; Kloeden & Platen 1992"
    assumptions = ("the blocks share a smooth f", "for a program: an unconditional flow in unit coordinates")

    def check(
        self, *, decay: float = 0.3, turn: float = 2.0, time: float = 3.0, noise: float = 0.4, blocks: int = 600,
        draws: int = 4000, seed: int = 0,
    ) -> Evidence:  # fmt: skip
        """Run the spiral through residual blocks without and with noise, and halve the step.

        Args:
            decay: a.
            turn: b.
            time: t of the end.
            noise: g.
            blocks: Number of blocks; twice as many besides.
            draws: Paths of the simulated diffusion.
            seed: Of these.
        """
        a = torch.tensor([[-decay, -turn], [turn, -decay]], dtype=torch.float64)
        start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        truth = math.exp(-decay * time) * torch.tensor(
            [[math.cos(turn * time), math.sin(turn * time)]], dtype=torch.float64
        )
        coarse, fine = (self.blocks(start, a, time, n) for n in (blocks, 2 * blocks))
        one, two = ((x - truth).norm().item() for x in (coarse, fine))
        euler = integrate_ode(
            lambda _, x: x @ a.mT, start, 0.0, time, 1.0, 1.0, "euler", options={"step_size": time / blocks}
        ).value
        ode = integrate_ode(lambda _, x: x @ a.mT, start, 0.0, time, 1e-11, 1e-11).value
        spread = noise**2 * -math.expm1(-2 * decay * time) / (2 * decay)
        gaps = [abs(self.variance(a, time, noise, n) - spread) for n in (blocks, 2 * blocks)]
        return self.evidence(
            Claim("residual blocks = Euler's method", (coarse - euler).abs().max().item(), 0.0, 1e-10),
            Claim("the ODE's solution = e^{−at}(cos bt, sin bt)", (ode - truth).abs().max().item(), 0.0, SOLVER),
            Claim("order of the blocks' error in dt", math.log2(one / two), 1.0, ORDER),
            Claim("limit by extrapolation = the ODE's solution", (2 * fine - coarse - truth).norm().item(), 0.0,
                  100 * (time / blocks) ** 2),
            Claim("order of the noisy blocks' variance in dt", math.log2(gaps[0] / gaps[1]), 1.0, ORDER),
            self._simulated(a, start, time, noise, draws, seed),
            error_of_the_blocks={blocks: float(f"{one:.4g}"), 2 * blocks: float(f"{two:.4g}")},
            variance_of_the_diffusion=round(spread, 6),
        )  # fmt: skip

    def block(self, x: Tensor, a: Tensor, h: float) -> Tensor:
        """Return x + h f(x)."""
        return x + h * (x @ a.mT)

    def noise_scale(self, noise: float, h: float) -> float:
        """Return the standard deviation of the noise of a block."""
        return noise * math.sqrt(h)

    def blocks(self, x: Tensor, a: Tensor, time: float, n: int) -> Tensor:
        """Return x after n residual blocks."""
        for _ in range(n):
            x = self.block(x, a, time / n)
        return x

    def variance(self, a: Tensor, time: float, noise: float, n: int) -> float:
        """Return the variance of a coordinate after n noisy blocks from a fixed start, by its recursion."""
        h, eye = time / n, torch.eye(2, dtype=a.dtype)
        step, total = self.block(eye, a, h).mT, torch.zeros_like(a)
        for _ in range(n):
            total = step @ total @ step.mT + self.noise_scale(noise, h) ** 2 * eye
        return total.trace().item() / 2

    def _simulated(self, a: Tensor, start: Tensor, time: float, noise: float, draws: int, seed: int) -> Claim:
        """Compare the library's solution of the SDE with the recursion, at a coarse step that shows its bias too."""
        steps, generator = 60, torch.Generator().manual_seed(seed)
        times = torch.linspace(0.0, time, steps + 1, dtype=torch.float64)
        x = integrate_sde(
            lambda _, x: x @ a.mT,
            lambda _, x: noise,
            start.expand(draws, 2).contiguous(),
            times,
            generator=generator,
        )
        squares = (x - self.blocks(start, a, time, steps)).square().sum(1) / 2
        wanted = self.variance(a, time, noise, steps)
        stderr = squares.std().item() / math.sqrt(draws)
        return statistical(
            f"variance of {steps} simulated steps = its recursion", squares.mean().item(), wanted, stderr
        )

    def figure(
        self, *, decay: float = 0.3, turn: float = 2.0, time: float = 6.0, noise: float = 0.12
    ) -> Figure:
        """Draw the spiral by blocks of two sizes, paths with noise, and the error against the step."""
        a = torch.tensor([[-decay, -turn], [turn, -decay]], dtype=torch.float64)
        start, t = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.linspace(0, time, 400)
        truth = torch.exp(-decay * t) * torch.stack([torch.cos(turn * t), torch.sin(turn * t)])
        generator = torch.Generator().manual_seed(0)
        grid = torch.linspace(0.0, time, 301, dtype=torch.float64)
        paths = integrate_sde(lambda _, x: x @ a.mT, lambda _, x: noise, start.expand(3, 2).contiguous(), grid,
                              trajectory=True, generator=generator)  # fmt: skip
        counts = [50, 100, 200, 400, 800]
        errors = [(self.blocks(start, a, time, n) - truth[:, -1]).norm().item() for n in counts]
        with style():
            fig = figure(9.6, 3.1)
            axes = fig.subplots(1, 3)
            for i, n in enumerate((80, 200)):
                path = [start]
                for _ in range(n):
                    path.append(self.block(path[-1], a, time / n))
                axes[0].plot(
                    *torch.cat(path).T,
                    "o-",
                    color=COLOURS[i + 1],
                    markersize=1.5,
                    linewidth=0.7,
                    label=f"{n} blocks",
                )
            axes[0].plot(*truth, color=COLOURS[0], label="ODE")
            for k in range(3):
                axes[1].plot(*paths[:, k].T, color=COLOURS[3], linewidth=0.7)
            axes[1].plot(*truth, color=COLOURS[0])
            axes[2].loglog([time / n for n in counts], errors, "o-", markersize=3)
            axes[2].minorticks_off()
            axes[2].set(xlabel="dt", title="error of the blocks: order 1")
            for panel, title in zip(axes, ("residual blocks", "noise in every block"), strict=False):
                panel.set(aspect="equal", title=title)
            axes[0].legend(loc="lower right", fontsize=7)
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Carry noise to data by Euler's method in the programs' own flows, and halve the step.

        Raises:
            UnsupportedQueryError: A conditional program, or one without a continuous flow.
        """
        claims = []
        for program in (a, b):
            own = copy.deepcopy(program).double()
            if own.context_features or not isinstance(own, (CNF, Diffusion)):
                raise self.refuse(self.assumptions[1], program)
            flow = flow_of(own)
            with seeded(0, own.device), evaluating(own), torch.no_grad():
                z, field = flow.draw_base(ROWS), flow.field(None)
                ends = [
                    integrate_ode(field, z, 1.0, flow.start, 1.0, 1.0, "euler",
                                  options={"step_size": (1.0 - flow.start) / n}).value
                    for n in (BLOCKS, 2 * BLOCKS)
                ]  # fmt: skip
                exact = integrate_ode(field, z, 1.0, flow.start, 1e-8, 1e-8).value
            one, two = ((x - exact).square().mean().sqrt().item() for x in ends)
            claims += [
                Claim(
                    f"{program.name}: order of Euler's error in dt",
                    math.log2(one / max(two, 1e-300)),
                    1.0,
                    0.25,
                ),
                Claim(f"{program.name}: error with {2 * BLOCKS} blocks, of unit data", two, 0.0, 0.1),
            ]
        return self.evidence(*claims)
