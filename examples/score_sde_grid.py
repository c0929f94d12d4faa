"""The score of data that drown in noise: nine Gaussians, the reverse SDE and the probability flow back to them.

The first three panels show a learned score at three times over contours of the exact density: early each mode pulls its
own surroundings, late all are one. Right: draws by the reverse SDE, from new noise in every step, and by the
probability-flow ODE. The loss does not fall to zero, since noise cannot be told from data: its floor is known.
"""

from __future__ import annotations

import argparse

import torch

import unigen as ug
from unigen.data.toy import grid
from unigen.plots.field import score_field
from unigen.plots.style import figure, style
from unigen.relations.denoising_tweedie import DenoisingTweedie
from unigen.relations.noisy_mixture import NoisyMixture


def main() -> None:
    """Train on nine Gaussians, and compare loss, density and draws with what is known of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    steps, schedule = parser.parse_args().steps, ug.VPLinear(0.1, 20.0)
    torch.manual_seed(0)
    toy = grid(3, 6.0, 1.5)
    exact = NoisyMixture(schedule, toy.means, 1.5)
    line = NoisyMixture(schedule, torch.tensor([[-6.0], [0.0], [6.0]]), 1.5)
    parts = {"schedule": schedule, "prediction": ug.Eps(), "start": 1e-4, "hidden": 128}
    program = ug.Diffusion(2, objective=ug.DenoisingScoreMatching(ug.NoiseWeighting()), **parts)
    loss = program.objective.players(program)[0].loss  # a module; a plain loop leaves x in its own units
    optimizer = torch.optim.Adam(program.parameters(), lr=3e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(toy.sample((512,))).backward()
        optimizer.step()
        decay.step()

    with torch.no_grad():
        seen = torch.stack([loss(toy.sample((2000,))) / 2 for _ in range(50)])
    floor = DenoisingTweedie().floor(line, 1e-4)
    print(f"loss a dimension    {seen.mean():9.4f} ± {seen.std() / 50**0.5:.4f}   floor {floor:.6f}")
    n = min(1000, 25 * steps)
    held = toy.sample((n,))
    found, truth = program.log_prob(held).value, toy.log_prob(held)
    print(
        f"−E log p by the ODE {-found.mean():9.4f} ± {found.std() / n**0.5:.4f}   entropy {toy.entropy():.6f}"
    )
    gap = truth - found
    print(f"KL(data ‖ model)    {gap.mean():9.4f} ± {gap.std() / n**0.5:.4f}   expected 0 at best")
    draws = {"reverse SDE": ug.ReverseSDE(200), "flow ODE": ug.ProbabilityFlowODE()}
    draws = {name: program.sample(n, sampler=sampler, seed=1) for name, sampler in draws.items()}
    for name, x in draws.items():
        print(f"{name:12s} {ug.evaluate.mode_coverage(x, toy.means, 1.5)}")
        print(f"{name:12s} {ug.evaluate.energy_distance(x, held)}")

    with style():
        fig = figure(13, 3.5)
        *early, last = fig.subplots(1, 4)
        for axes, t in zip(early, torch.tensor([0.02, 0.25, 0.6]), strict=True):
            levels = {"log_prob": lambda z, t=t: exact.log_prob(z.double(), t.double().expand(len(z)))}
            half = float(6.5 * schedule.alpha(t) + 2.5)
            score_field(axes, lambda z, t=t: program.denoiser.score(t.expand(len(z)), z), half=half, **levels)
            axes.set_title(f"score at t = {t:.2g}")
        for name, x in draws.items():
            last.plot(*x.T, ".", ms=2, label=name)
        last.set(xlabel="x₁", ylabel="x₂", title="draws", aspect="equal", xlim=(-12, 12), ylim=(-12, 15))
        last.legend(ncols=2, markerscale=3, columnspacing=1)
        fig.savefig("score_sde_grid.png", dpi=110)


if __name__ == "__main__":
    main()
