"""Langevin chains in a double well: the bias of a long step, the time to hop, and what tempering is for.

Left: the density ∝ exp(−(x² − 1)²/4D) at D = .3. Unadjusted chains with a long step fill the valley between its
modes; Metropolis' decision empties it again. Middle: in the cold a chain stays in the mode in which it starts (what
few of 300 cross do so in warm-up, and nothing else tells R̂); chains that exchange states with hotter ones cross.
Right: how long a particle takes from −1 to 1 is nearly an exponential time, with the mean that a double integral
gives.
"""

from __future__ import annotations

import argparse

import torch

import unigen as ug
from unigen.dynamics.langevin import langevin
from unigen.plots.style import COLOURS, GREY, figure, style


def well(depth: float) -> ug.Potential:
    """Return the program with the energy ¼(x² − 1)²/depth."""
    return ug.Potential(lambda x: 0.25 * (x.square() - 1).square().sum(-1) / depth, 1)


def main() -> None:
    """Compare chains with quadrature, in moments, in hops and in first passages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    steps, depth, dt = parser.parse_args().steps, 0.3, 0.01
    x = torch.linspace(-2.5, 2.5, 20_001, dtype=torch.float64)
    density = well(depth).energy(x[:, None]).neg().exp()
    below = torch.cat([x[:1] * 0, torch.cumulative_trapezoid(density, x)])
    p, between = density / below[-1], x.abs() <= 1
    passage = torch.trapezoid((below / density)[between], x[between]) / depth  # Pontryagin's formula

    size = (300, steps, steps // 2 + 4)  # chains, draws, warm-up
    chains = {"MALA": ug.MALA(*size), "HMC": ug.HMC(*size), "tempering": ug.Tempering(*size)}
    chains["ULA, step .08"] = ug.ULA(*size, step_size=0.08)
    draws = {name: ug.mcmc(well(depth), engine=each, seed=0)["x"] for name, each in chains.items()}
    for name, found in draws.items():
        for k in (2, 4):
            each, truth = found.pow(k).mean((1, 2)), torch.trapezoid(p * x**k, x)
            print(
                f"E x^{k}, {name:15s} {each.mean():7.4f} ± {each.std() / 300**0.5:.4f}  expected {truth:.6f}"
            )

    cold, left = {}, torch.full((300, 1), -1.0)
    for name in ("HMC", "tempering"):
        cold[name] = ug.mcmc(well(0.01), engine=chains[name], starts=left, spread=0.1, seed=0)
        each = (cold[name]["x"] > 0).float().mean((1, 2))
        print(f"P(x > 0), cold, {name:9s} {each.mean():.4f} ± {each.std() / 300**0.5:.4f}  expected .5")
        print("   which says of itself:", ug.evaluate.convergence(cold[name]))

    y, times = left.repeat(5, 1), torch.full((1500,), torch.inf)
    wall = 1 - 0.5826 * (2 * depth * dt) ** 0.5  # a path seen only at steps arrives late
    for t in range(40 * steps):
        y = langevin(well(depth).potential, y, steps=1, step_size=depth * dt)
        times = torch.where((y[:, 0] > wall) & times.isinf(), (t + 1) * dt, times)
    hit = times[times.isfinite()].sort().values
    print(f"time from −1 to 1     {hit.mean():7.3f} ± {hit.std() / 1500**0.5:.3f}   expected {passage:.6f}")

    with style():
        fig = figure(11, 3.3)
        a, b, c = fig.subplots(1, 3)
        a.plot(x, p, color=GREY, label="exact")
        for i, name in enumerate(("MALA", "ULA, step .08")):
            a.hist(draws[name].flatten(), 80, density=True, histtype="step", color=COLOURS[i], label=name)
        a.set(xlabel="x", ylabel="density", title="D = .3: invariant densities", ylim=(0, 0.8))
        for name, found in cold.items():
            b.plot(found["x"][0, :400, 0], ".", ms=3, label=name)
        b.set(xlabel="draw", ylabel="x", title="D = .01: one chain each, from −1", ylim=(-1.6, 2.2))
        c.semilogy(hit, 1 - torch.arange(len(hit)) / 1500, color=COLOURS[2], label="1500 particles")
        c.semilogy(hit, (-hit / passage).exp(), ":", color=GREY, label=f"exponential, mean {passage:.3f}")
        c.set(xlabel="time", ylabel="share on the way", title="D = .3: from −1 to 1", ylim=(3e-3, 1.5))
        for axes in (a, b, c):
            axes.legend(loc="upper right")
        fig.savefig("double_well.png", dpi=110)


if __name__ == "__main__":
    main()
