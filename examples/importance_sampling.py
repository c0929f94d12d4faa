"""Draws by the inverse distribution function, importance sampling and its effective sample size, and rare events.

Left: .6 N(−2, 1) + .4 N(2, ¼), drawn by sending uniform numbers through F⁻¹. Middle: a share 1/(1 + χ²) of a proposal's
weighted draws is effective. One that covers a single mode (wrong) looks good on its own draws, which miss the other
mode and the mean; its true share is near 0. Right: the chance of x > 5 under N(0, 1) is 3 in ten million. Plain draws
see nothing of it; the cross-entropy method moves the proposal there step by step.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch.distributions import Normal

import unigen as ug
from unigen.data.toy import Toy
from unigen.plots.style import COLOURS, GREY, figure, style


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200, help="thousands of draws")
    n = 1000 * parser.parse_args().steps
    torch.manual_seed(0)
    means, sd = torch.tensor([[-2.0], [2.0]]), torch.tensor([[[1.0]], [[0.5]]])
    target, x = Toy("two modes", means, sd, torch.tensor([0.6, 0.4])), torch.linspace(-8, 8, 4001).double()
    p = target.log_prob(x[:, None]).exp()
    cumulative = (p.cumsum(0) - p / 2) * (x[1] - x[0])
    draws = torch.from_numpy(np.interp(torch.rand(n, dtype=torch.float64), cumulative, x))
    log_p = target.log_prob(draws[:, None])
    rows = {"entropy, by quadrature": (target.entropy(), 0.0, "1.803017")}
    rows["entropy, by draws of F⁻¹"] = (-log_p.mean(), log_p.std() / n**0.5, "1.803017")
    proposals = {"wide": Normal(0.0, 3.0), "one mode: wrong": Normal(-2.0, 0.85)}
    for name, q in proposals.items():
        y = q.sample((n // 400,)).double()
        w = (target.log_prob(y[:, None]) - q.log_prob(y)).exp()
        share, error = ug.relation(30).effective(w.log()[:, None])
        mean, second = (w @ y) / w.sum(), torch.trapezoid(p.square() / q.log_prob(x).exp(), x)
        rows[f"ESS/N, proposal {name}"] = (share[0], error[0], f"{1 / second:.6f} = 1/(1 + χ²)")
        rows[f"   mean, {name}"] = (mean, (w * (y - mean)).norm() / w.sum(), "-0.4")
    base, m, path = Normal(0.0, 1.0), torch.zeros(()), []
    for _ in range(5):  # towards the best tenth, then towards the event
        y = m + torch.randn(n // 10)
        w = (base.log_prob(y) - Normal(m, 1.0).log_prob(y)).exp()
        hit, best = 1e7 * w * (y > 5), w * (y > min(5.0, y.quantile(0.9)))
        path.append((m, hit.mean(), hit.std() / len(y) ** 0.5))
        m = (best * y).sum() / best.sum()
    rows["10⁷ P(x > 5), plain draws: useless"] = (*path[0][1:], "2.866516")
    rows["10⁷ P(x > 5), cross-entropy method"] = (*path[-1][1:], "2.866516")
    for what, (got, error, expected) in rows.items():
        print(f"{what:36s} {got:9.6f} ± {error:.6f}   expected {expected}")

    with style(legend__fontsize=7):
        a, b, c = (fig := figure(9.6, 3.3)).subplots(1, 3)
        a.hist(draws.numpy(), 100, range=(-6, 5), density=True, color=COLOURS[5], alpha=0.6, label="F⁻¹(u)")
        a.plot(x, p, label="density")
        a.plot(x, cumulative, "--", color=GREY, label="F")
        b.plot(x, p, color=GREY, lw=3, alpha=0.5, label="target")
        for name, q in proposals.items():
            b.plot(x, q.log_prob(x).exp(), label=f"{name}, ESS/N {rows[f'ESS/N, proposal {name}'][0]:.2f}")
        for k, (at, *_) in enumerate(path):
            c.semilogy(x, Normal(at, 1.0).log_prob(x).exp(), label=f"step {k}: mean {at:.2f}")
        c.axvline(5.0, color=GREY, ls="--", lw=0.9)
        a.set(xlabel="x", xlim=(-6, 5), title="inverse transform", ylabel="density, and F")
        b.set(xlabel="x", xlim=(-6, 5), ylim=(0, 0.7), title="proposals", ylabel="density")
        c.set(xlabel="x", xlim=(-3, 8), ylim=(1e-4, 30), title="cross-entropy method", ylabel="density")
        for axes in (a, b, c):
            axes.legend()
        fig.savefig("importance_sampling.png", dpi=110)


if __name__ == "__main__":
    main()
