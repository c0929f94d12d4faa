"""Optimisers on logistic regression of two Gaussians, where the best logit is known: the log ratio of the densities.

Left: the distance to the minimiser of the training loss; the noise of minibatches keeps a constant step from arriving,
warm-up and a cosine let it. Right: Adam without bias correction (wrong) begins with steps three times too long,
(1 − β₁)/√(1 − β₂) of the learning rate. Printed: the weights are Σ⁻¹(μ₁ − μ₀) up to their standard errors; L2 shrinks
them; the minimiser with L1 has weights at zero, and steps along its subgradient (wrong) end near zero and never there.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

import unigen as ug
from unigen.plots.style import figure, style

L1, L2, RATE = 0.01, 0.05, 0.02


def run(x: torch.Tensor, y: torch.Tensor, steps: int, kind, warm=0, late=0, l1=0.0, l2=0.0) -> torch.Tensor:
    w = torch.zeros(6, dtype=x.dtype, requires_grad=True)
    optimizer, path = kind([w], lr=RATE), [w.detach().clone()]
    if late:  # Adam that believes in many steps before the first does not correct its averages
        optimizer.state[w] = {"step": torch.tensor(late), "exp_avg": 0 * path[0], "exp_avg_sq": 0 * path[0]}
    schedule = ug.Cosine(warm, final=0.0 if warm else 1.0)(optimizer, steps)
    for rows in torch.randint(len(x), (steps, 64), generator=torch.Generator().manual_seed(1)):
        loss = F.binary_cross_entropy_with_logits(x[rows] @ w, y[rows]) + l1 * w.abs().sum() + l2 * w @ w / 2
        (w.grad,) = torch.autograd.grad(loss, w)
        optimizer.step()
        schedule.step()
        path.append(w.detach().clone())
    return torch.stack(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    n, best, warm = 20_000, torch.tensor([1.5, -1.0, 0.5, 0.0, 0.0, 0.0]).double(), 1 + steps // 10
    factor, y = (torch.eye(6) + 0.8 * torch.eye(6).roll(1, 0).tril()).double(), (torch.arange(n) % 2).double()
    x = torch.randn(n, 6).double() @ factor.T + (y[:, None] - 0.5) * (factor @ factor.T @ best)
    exact, saga = {}, {"solver": "saga", "tol": 1e-9, "max_iter": 9999, "fit_intercept": False}
    for name, c, l1 in (("", float("inf"), 0), ("L2", 1 / (L2 * n), 0), ("L1", 1 / (L1 * n), 1)):
        exact[name] = torch.from_numpy(LogisticRegression(C=c, l1_ratio=l1, **saga).fit(x, y).coef_[0])
    chance = torch.sigmoid(x @ exact[""])
    error = torch.linalg.inv((x * (chance * (1 - chance))[:, None]).T @ x).diagonal().sqrt()
    sgd, adam, rms = torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop
    cases = {"SGD": (sgd,), "momentum": (lambda p, lr: sgd(p, lr, 0.9),), "RMSProp": (rms,), "Adam": (adam,),
             "Adam, uncorrected": (adam, 0, 10**6), "Adam, warm-up, cosine": (adam, warm)}  # fmt: skip
    paths = {name: run(x, y, steps, *case) for name, case in cases.items()}
    learned, ridge = paths["Adam, warm-up, cosine"][-1], run(x, y, steps, adam, warm, l2=L2)[-1]
    zeros = [int((w == 0).sum()) for w in (run(x, y, steps, adam, warm, l1=L1)[-1], exact["L1"])]
    for k in range(6):
        print(f"weight {k + 1:<39d}{learned[k]:9.6f} ± {error[k]:.6f}   expected {best[k]:9.6f}")
    print(f"{'distance from the minimiser, L2':46s}{(ridge - exact['L2']).norm():9.6f}{'expected  0':>25s}")
    print(f"{'weights at zero, L1 by subgradient: wrong':46s}{zeros[0]:9d}{'expected':>22s} {zeros[1]:2d}")

    with style():
        a, b = (fig := figure(8.6, 3.4)).subplots(1, 2)
        for name, path in paths.items():
            a.semilogy((path - exact[""]).norm(dim=1), lw=1.0, label=name)
        for name in ("Adam", "Adam, uncorrected"):
            length = paths[name].diff(dim=0).abs().mean(1) / RATE
            b.plot(length[:100], label=name)
            print(f"{f'first step / learning rate, {name}':46s}{length[0]:9.6f}{'expected  1':>25s}")
        a.set(xlabel="step", ylabel="‖w − minimiser‖", title="distance to the minimiser", ylim=(2e-3, 3))
        b.set(xlabel="step", ylabel="|Δw| / learning rate", title="length of the first steps")
        a.legend(fontsize=7, ncols=2, loc="lower left")
        b.legend()
        fig.savefig("optimisers.png", dpi=110)


if __name__ == "__main__":
    main()
