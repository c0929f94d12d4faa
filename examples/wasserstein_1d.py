"""Wasserstein distance in one dimension, its dual critic, and MMD: samples against closed forms.

Left: W₁ is the area between two distribution functions; for samples, the mean gap of the sorted values. Middle: with n
draws it is too large, by order n^(−1/2). Pairing the draws as they come (wrong) is the independent coupling, whose cost
stays where it is even for two samples of one distribution. Right: a critic of slope at most one, trained on samples of
N(0, 1) and N(2, 2²), and the best one, whose dual is W₁: it turns where the distribution functions cross.
"""

from __future__ import annotations

import argparse

import torch

import unigen as ug
from unigen.nn.kernels import squared_mmd
from unigen.plots.style import COLOURS, GREY, figure, style


def w1(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return W₁ of samples (repeats, n), a number a repeat: in one dimension sorting is optimal transport."""
    return (x.sort(1).values - y.sort(1).values).abs().mean(1)


def main() -> None:
    """Compare estimates with closed forms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100, help="repeats of every estimate")
    repeats = max(4, parser.parse_args().steps)
    torch.manual_seed(0)
    n, p = 2000, torch.randn(repeats, 2000, dtype=torch.float64)
    z = torch.randn(repeats, n, dtype=torch.float64)
    cases = {"N(2, 1)": (z + 2, 2.0), "N(0, 4)": (2 * z, 0.797885), "N(2, 4)": (2 + 2 * z, 2.016981)}
    rows = {f"W₁(N(0, 1), {name})": (w1(p, q), exact) for name, (q, exact) in cases.items()}
    rows["   both N(0, 1): bias of 2000 draws"] = (w1(p, z), 0.0)
    rows["   pairs as drawn, N(0, 4): wrong"] = ((p - 2 * z).abs().mean(1), 0.797885)
    pairs = list(zip(p[:50, :400, None], z[:50, :400, None], strict=True))
    mmd = torch.stack([squared_mmd(ug.GaussianKernel((1.0,), relative=False), a, b + 1) for a, b in pairs])
    energy = torch.stack([squared_mmd(ug.DistanceKernel(), a, b + 2) for a, b in pairs])
    rows["MMD² of N(0, 1), N(1, 1)"] = (mmd, 0.177268)
    rows["energy distance of N(0, 1), N(2, 1)"] = (energy, 1.944260)
    q = cases["N(2, 4)"][0]
    critic = ug.relation(21).fresh_critic(p[0, :, None], q[0, :, None])
    duals = [critic.wasserstein(a[:, None], b[:, None]) for a, b in zip(p[1:], q[1:], strict=True)]
    rows["   its dual by a critic, a lower bound"] = (torch.stack(duals), 2.016981)
    for what, (got, expected) in rows.items():
        print(f"{what:40s} {got.mean():9.6f} ± {got.std() / len(got) ** 0.5:.6f}   expected {expected:9.6f}")

    x, sizes = torch.linspace(-5, 8, 400, dtype=torch.float64), [20, 60, 200, 600, 2000]
    below, above = (torch.special.ndtr(v) for v in (x, x / 2 - 1))
    best = torch.cumulative_trapezoid(torch.sign(above - below), x)
    with style():
        a, b, c = (fig := figure(9.6, 3.3)).subplots(1, 3)
        a.plot(x, below, label="F of N(0, 1)")
        a.plot(x, above, label="G of N(2, 2²)")
        a.fill_between(x, below, above, color=GREY, alpha=0.25, label="area: W₁ = 2.017")
        same = [w1(p[:, :m], z[:, :m]).mean() for m in sizes]
        b.loglog(sizes, same, "o-", ms=4, label="sorted")
        b.loglog(
            sizes, [(p[:, :m] - z[:, :m]).abs().mean() for m in sizes], "o-", ms=4, label="as drawn: wrong"
        )
        b.loglog(sizes, [same[0] * (sizes[0] / m) ** 0.5 for m in sizes], ":", color=GREY, label="n^(−1/2)")
        f = critic(x[:, None]).detach()
        c.plot(x[1:], best - best[150], color=GREY, lw=3, alpha=0.5, label="best potential")
        c.plot(x, f - f[151], color=COLOURS[1], label="trained critic")
        a.set(xlabel="x", ylabel="probability", title="W₁ is an area")
        b.set(xlabel="n", ylabel="estimated W₁", title="two samples of N(0, 1): truth 0")
        c.set(xlabel="x", ylabel="f", title="Kantorovich potential")
        for axes in (a, b, c):
            axes.legend(fontsize=7)
        fig.savefig("wasserstein_1d.png", dpi=110)


if __name__ == "__main__":
    main()
