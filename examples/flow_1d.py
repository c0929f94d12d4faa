"""A flow in one dimension: from Laplace to normal, by the two distribution functions; and without the Jacobian.

Left: the density of a spline flow, fitted to Laplace draws. Middle: the map it has learned is Φ⁻¹ ∘ F, which joins
points at equal levels of both distribution functions. Training without log |dz/dx| (wrong) flattens the map: its loss
falls below the entropy, where no density can be, and says nothing about the data. Right: the noise that each map makes
of held-out data; it should be normal, and is a spike.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

import unigen as ug
from unigen.objectives.objective import ProgramLoss
from unigen.plots.style import COLOURS, GREY, figure, style


class WithoutJacobian(ug.Objective):
    """E[−log φ(f(x))]: what the change of variables is without its second term."""

    def players(self, program: ug.Program) -> list[ug.Player]:
        """Return one player that trains the whole flow."""

        class Loss(ProgramLoss):
            def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
                return 0.5 * self.program.flow.transform(None)(x).square().mean() + 0.918939

        return [Loss(program).player("no Jacobian")]


def main() -> None:
    """Fit with and without the Jacobian; compare loss, map and density with the closed forms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    laplace, normal = torch.distributions.Laplace(0.0, 1.0), torch.distributions.Normal(0.0, 1.0)
    x, held = laplace.sample((50_000, 1)), laplace.sample((20_000, 1))
    flow, wrong = (ug.NSF(1, transforms=2, bins=16) for _ in range(2))
    ug.fit(flow, x, steps=steps, lr=3e-3, seed=0)
    loss = ug.fit(wrong, x, objective=WithoutJacobian(), steps=steps, lr=3e-3, seed=0).final["no Jacobian"]
    nll = -flow.log_prob(held).value
    excess, z, spike = nll + laplace.log_prob(held[:, 0]), flow.to_noise(held), wrong.to_noise(held)
    rows = {
        "NLL of held-out data, nats": (nll.mean(), nll.std() / 20_000**0.5, "1.693147, the entropy"),
        "   above that of the truth": (excess.mean(), excess.std() / 20_000**0.5, "≥ 0"),
        "   loss without Jacobian: wrong": (loss, 0.0, "0.918939 = −log φ(0)"),
        "map at 1": (flow.to_noise([[1.0]]).item(), 0.0, "0.900453"),
        "standard deviation of the noise": (z.std(), 20_000**-0.5 / 2**0.5, "1"),
        "   without Jacobian: wrong": (spike.std(), 0.0, "1, and is 0 for a constant map"),
    }
    for what, (got, error, expected) in rows.items():
        print(f"{what:34s} {got:9.6f}{f' ± {error:.6f}' if error else '':11s}   expected {expected}")

    grid = torch.linspace(-6, 6, 401)[:, None]
    exact = -grid.sign() * torch.special.ndtri(0.5 * torch.exp(-grid.abs()))
    with style():
        a, b, c = (fig := figure(9.6, 3.2)).subplots(1, 3)
        a.plot(grid, laplace.log_prob(grid).exp(), color=GREY, lw=3, alpha=0.5, label="Laplace")
        a.plot(grid, flow.log_prob(grid).value.exp().detach(), label="flow")
        a.set(xlabel="x", ylabel="density", title="data")
        b.plot(grid, exact, color=GREY, lw=3, alpha=0.5, label="Φ⁻¹ ∘ F")
        b.plot(grid, flow.to_noise(grid), label="flow")
        b.plot(grid, wrong.to_noise(grid), color=COLOURS[1], label="no Jacobian: wrong")
        b.set(xlabel="x", ylabel="z", title="the map")
        c.plot(grid[67:-67], normal.log_prob(grid[67:-67]).exp(), color=GREY, lw=3, alpha=0.5, label="φ")
        for each, name in ((z, "flow"), (spike, "no Jacobian: wrong")):
            c.hist(each[:, 0].numpy(), 80, range=(-4, 4), density=True, histtype="step", label=name)
        c.set(xlabel="z", ylabel="density", title="the noise", ylim=(0, 1.2))
        for axes in (a, b, c):
            axes.legend()
        fig.savefig("flow_1d.png", dpi=110)


if __name__ == "__main__":
    main()
