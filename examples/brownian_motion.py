"""Brownian motion, the Ornstein–Uhlenbeck process and the heat equation.

Left: paths of dx = √(2D) dW, within two standard deviations √(2Dt). Middle: the variance grows as 2Dt; with a pull to
the origin it levels off; noise multiplied by dt instead of √dt (wrong) all but vanishes, the more the smaller the step.
Right: particles that start evenly on [−1, 1] are distributed as the heat equation has it; so are finite differences,
as long as D dt ≤ dx²/2, beyond which the explicit scheme blows up (wrong).
"""

from __future__ import annotations

import argparse

import torch

import unigen as ug
from unigen.dynamics.solvers import integrate_sde
from unigen.plots.style import COLOURS, GREY, figure, style

N, D, END = 20_000, 0.5, 1.0


def heat(u: torch.Tensor, ratio: float, dx: float) -> torch.Tensor:
    """Solve u_t = D u_xx up to END by explicit finite differences with D dt = ratio dx²."""
    for _ in range(round(D * END / (ratio * dx**2))):
        u = u + ratio * (torch.roll(u, 1) - 2 * u + torch.roll(u, -1))
    return u


def main() -> None:
    """Simulate, and compare moments and densities with their closed forms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    times, dt = torch.linspace(0, END, steps + 1, dtype=torch.float64), END / steps
    motion, pulled = ug.BrownianMotion((2 * D) ** 0.5), ug.OrnsteinUhlenbeck(2.0, (2 * D) ** 0.5)
    cases = {"Brownian": (motion, 1.0), "OU process": (pulled, 1.0), "noise × dt: wrong": (motion, dt**0.5)}
    paths, exact, start = {}, {}, torch.zeros(N, 1, dtype=torch.float64)
    for name, (process, scale) in cases.items():
        noise = process.sigma * scale
        found = integrate_sde(process.drift, lambda *_, s=noise: s, start, times, trajectory=True)
        paths[name], exact[name] = found[..., 0], process.variance(times)
    rows = {f"variance, {name}": (path[-1].square(), exact[name][-1]) for name, path in paths.items()}
    cells, spread = torch.arange(-4.99, 5, 0.02, dtype=torch.float64), (2 * D * END) ** 0.5
    kernel = 0.5 * (torch.special.ndtr((cells + 1) / spread) - torch.special.ndtr((cells - 1) / spread))
    box, ends = 0.5 * (cells.abs() < 1).double(), 2 * torch.rand(N).double() - 1 + paths["Brownian"][-1]
    grid, ou, half = heat(box, 0.4, 0.02), paths["OU process"], steps // 2
    rows |= {
        "quadratic variation of a path": (paths["Brownian"].diff(dim=0).square().sum(0), 2 * D * END),
        "OU process: E x(½) x(1)": (ou[half] * ou[-1], pulled.variance(times[half]) * pulled.decay(1 - times[half])),
        "heat: variance of the particles": (ends.square(), 1 / 3 + 2 * D * END),
        "   largest error of the grid": ((grid - kernel).abs().max(), 0.0),
        "   the same, D dt = .52 dx²: wrong": ((heat(box, 0.52, 0.02) - kernel).abs().max(), 0.0),
    }  # fmt: skip
    for what, (got, expected) in rows.items():
        error = got.std() / N**0.5 if got.dim() else 0.0
        print(f"{what:36s} {got.mean():12.6g} ± {error:8.6f}   expected {expected:9.6f}")

    with style():
        a, b, c = (fig := figure(9.6, 3.3)).subplots(1, 3)
        a.plot(times, paths["Brownian"][:, :30], color=COLOURS[0], lw=0.5, alpha=0.6)
        bound = 2 * exact["Brownian"].sqrt()
        a.plot(times, bound, "--", times, -bound, "--", color=COLOURS[1])
        for name, path in paths.items():
            b.plot(times, path.square().mean(1), label=name)
            b.plot(times, exact[name], ":", color=GREY, lw=2.5)
        c.hist(ends.numpy(), 80, range=(-4, 4), density=True, color=COLOURS[5], alpha=0.5, label="particles")
        c.plot(cells, kernel, color=GREY, lw=2.5, label="heat equation")
        c.plot(cells, grid, "--", color=COLOURS[1], label="finite differences")
        a.set(xlabel="t", ylabel="x", title="paths; dashed: ± 2 √(2Dt)")
        b.set(xlabel="t", ylabel="variance", title="spread; dotted: closed forms")
        c.set(xlabel="x", ylabel="density", title=f"particles and heat at t = {END:g}", xlim=(-4, 4))
        b.legend(fontsize=7)
        c.legend(fontsize=7)
        fig.savefig("brownian_motion.png", dpi=110)


if __name__ == "__main__":
    main()
