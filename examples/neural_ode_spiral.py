"""A neural ODE learns a spiral from 201 noisy points; gradients through the solver and by the adjoint equation.

Left: x(t) = e^(−.3t) (cos 2t, sin 2t), observed with noise of .03, and the solution of dx/dt = net(x) that fits it: its
mean squared distance from the points is the variance of the noise, .0009. Middle: the learned field on the true one,
which agree where the path has been. Right: a linear drift fitted to the path finds the matrix within its
standard errors; regressing slopes between the noisy points on the points (wrong) does not, for noise in x attenuates.
"""

from __future__ import annotations

import argparse

import pyro
import pyro.distributions as dist
import torch
from torch.autograd.functional import jacobian

import unigen as ug
from unigen.nn.autonomous import Autonomous
from unigen.plots.style import COLOURS, GREY, figure, style

A = torch.tensor([[-0.3, -2.0], [2.0, -0.3]], dtype=torch.float64)
START, ENTRIES = torch.tensor([[1.0, 0.0]], dtype=torch.float64), ("A₁₁", "A₁₂", "A₂₁", "A₂₂")


def fit(ode: ug.NeuralODE, t: torch.Tensor, x: torch.Tensor, **options: float) -> None:
    def model(x: torch.Tensor | None = None, n: int = 1) -> torch.Tensor:
        with pyro.plate("data", n if x is None else x.shape[0], dim=-1):
            return pyro.sample("x", dist.Normal(ode(START, at=t.tolist())[:, 0], 0.03).to_event(2), obs=x)

    program = ug.from_functions(model, modules={"ode": ode}, event_shape=tuple(x.shape))
    ug.fit(program, x[None], schedule=ug.Cosine(10), seed=0, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    t = torch.linspace(0, 10, 201).double()
    x = torch.linalg.matrix_exp(t[:, None, None] * A) @ START[0] + 0.03 * torch.randn(201, 2).double()
    drifts = (Autonomous(2, (32, 32)), Autonomous(2, ()))
    odes = [ug.NeuralODE(each, ug.FixedSteps(200, "midpoint"), 0.0, 10.0).double() for each in drifts]
    for ode, name, lr in zip(odes, ("perceptron", "linear drift"), (0.01, 0.1), strict=True):
        for seen in (60, 201):  # first the beginning, then all of it
            fit(ode, t[:seen], x[:seen], steps=steps, lr=lr)
        found = (ode(START, at=t.tolist())[:, 0].detach() - x).square().mean()
        print(f"mean squared error, {name:26s} {found:9.6f} ± {0.0009 / 201**0.5:.6f}   expected  0.0009")
    matrices = {"fitted to the path": odes[1].network.body.layers[0].weight.detach(),
                "slopes on points: wrong": torch.linalg.lstsq(x[:-1], x.diff(dim=0) / 0.05).solution.T}  # fmt: skip
    slope = jacobian(lambda a: torch.linalg.matrix_exp(t[:, None, None] * a) @ START[0], A).reshape(402, 4)
    error = 0.03 * torch.linalg.inv(slope.T @ slope).diagonal().sqrt()
    for name, matrix in matrices.items():
        for k, entry in enumerate(matrix.flatten()):
            row = f"{ENTRIES[k]}, {name:41s} {entry:9.4f} ± {error[k]:.4f}"
            print(f"{row}     expected {A.flatten()[k]:5.1f}")
    ends = [ug.NeuralODE(drifts[0], ug.Adaptive(1e-9, 1e-9, adjoint=k))(START).sum() for k in (True, False)]
    g, h = (torch.autograd.grad(end, next(drifts[0].parameters()))[0] for end in ends)
    print(
        f"|adjoint − autograd| of a gradient, largest    {(g - h).abs().max():9.1e}            expected    0"
    )

    with style():
        a, b, c = (fig := figure(10.0, 3.4)).subplots(1, 3)
        a.plot(*x.T, ".", ms=3, color=GREY, label="points")
        a.plot(*odes[0](START, at=t.tolist())[:, 0].detach().T, color=COLOURS[1], label="neural ODE")
        at = torch.cartesian_prod(*[torch.linspace(-1.2, 1.2, 11).double()] * 2)
        b.quiver(*at.T, *(at @ A.T).T, color=COLOURS[0], label="true", angles="xy", scale=30)
        b.quiver(*at.T, *drifts[0](at, t).detach().T, color=COLOURS[1], label="net", angles="xy", scale=30)
        for k, (name, matrix) in enumerate(matrices.items()):
            c.errorbar(torch.arange(4) + 0.2 * k, (matrix - A).flatten(), 2 * error, fmt="o", label=name)
        for axes, title in ((a, "a spiral, seen with noise"), (b, "dx/dt"), (c, "the matrix, ± 2 errors")):
            axes.set(xlabel="$x_1$", ylabel="$x_2$", title=title)
            axes.legend(fontsize=7)
        c.set(xticks=range(4), xticklabels=ENTRIES, xlabel="entry", ylabel="estimate − truth")
        fig.savefig("neural_ode_spiral.png", dpi=110)


if __name__ == "__main__":
    main()
