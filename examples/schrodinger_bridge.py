"""A Schrödinger bridge from two modes to one, and what is often sold under its name: the independent bridge.

Left and middle: paths of two fitted diffusions from ½N(±2, .35²) to N(0, .45²), coloured by their start. Both reach
the right end. The Schrödinger bridge is the one nearest to Brownian motion of σ = .6 and moves steadily; the
independent bridge, trained on pairs that know nothing of one another, hurries to the middle and forgets more of its
start. Right: the variance on the way, in closed form from the plan that Sinkhorn's iterations find on a grid (line),
by paths with the exact drift of its potentials, and by both networks, whose own error, of the order of .03 in the
correlation, exceeds that of the draws.
"""

from __future__ import annotations

import argparse

import torch

import unigen as ug
from unigen.data.toy import two_gaussians
from unigen.dynamics.solvers import integrate_sde
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.relations.bridge_transport import BridgeTransport, potentials


def main() -> None:
    """Print the correlation of the ends and the variance half way, of the plan, its drift and two fitted bridges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    steps, relation, sigma = parser.parse_args().steps, BridgeTransport(), 0.6
    torch.manual_seed(0)
    ends = two_gaussians(2.0, 0.35), torch.distributions.Normal(0.0, 0.45)
    x, y = torch.linspace(-5, 5, 401).double(), torch.linspace(-3.6, 3.6, 401).double()
    p, q = ends[0].log_prob(x[:, None]).exp(), ends[1].log_prob(y).exp()
    pi = relation.plan(x, p, y, q, sigma)
    (a, b, c), times = relation.moments(pi, x, y), torch.linspace(0, 1, 101).double()
    variance = a * (1 - times) ** 2 + b * times**2 + (2 * c + sigma**2) * times * (1 - times)
    print(f"Sinkhorn's plan       correlation {c / (a * b) ** 0.5:.6f}            expected .766476")
    print(f"{'':18s}    Var x_½     {variance[50]:.6f}            expected 1.521406")
    phi = potentials(x, p, y, q, sigma)[1]

    def exact(t: torch.Tensor, at: torch.Tensor) -> torch.Tensor:  # σ² ∇ log φ_t
        to_end = phi - (at - y).square() / (2 * sigma**2 * (1 - t))
        return ((to_end.softmax(1) @ y)[:, None] - at) / (1 - t)

    drifts, paths, start = {"potentials": exact}, {}, ends[0].sample((4000,)).double()
    fitting, reference = ug.MarkovianFitting(20, warmup=steps // 4), ug.BrownianMotion(sigma)
    for name, objective in {
        "Schrödinger bridge": fitting,
        "independent bridge": ug.IndependentBridge(),
    }.items():
        parts = {"prior": ends[1].sample((20_000, 1)), "reference": reference, "objective": objective}
        bridge = ug.SchroedingerBridge(1, **parts)
        ug.fit(bridge, ends[0].sample((20_000,)), steps=steps, seed=0)
        drifts[name] = bridge.double().bridge.drift
    for name, drift in drifts.items():
        with torch.no_grad():
            path = integrate_sde(drift, lambda t, at: sigma, start, times, trajectory=True)[..., 0]
        paths[name], half = path, path[50].square()
        r = torch.corrcoef(path[[0, -1]])[0, 1]
        print(f"{name:18s}    correlation {r:.4f} ± {(1 - r**2) / 4000**0.5:.4f}     expected .766476")
        print(
            f"{'':18s}    Var x_½     {half.mean():.4f} ± {half.std() / 4000**0.5:.4f}     expected 1.521406"
        )

    with style():
        *panels, last = (fig := figure(11, 3.4)).subplots(1, 3)
        for axes, name in zip(panels, list(paths)[1:], strict=True):
            for side in (0, 1):
                few = paths[name][:, (start[:, 0] > 0) == bool(side)][:, :30]
                axes.plot(times, few, color=COLOURS[side], lw=0.6, alpha=0.7)
            axes.set(xlabel="t", ylabel="x", title=name, ylim=(-3.2, 3.2))
        last.plot(times, variance, color=GREY, label="plan")
        for i, (name, path) in enumerate(paths.items()):
            last.plot(times[::10], path[::10].square().mean(1), "o^s"[i], color=COLOURS[2 - i], label=name)
        last.set(xlabel="t", ylabel="Var x", title="variance on the way")
        last.legend()
        fig.savefig("schrodinger_bridge.png", dpi=110)


if __name__ == "__main__":
    main()
