"""Guidance by a scale: what a class-conditional diffusion draws between "any class" and "very much this class".

Three normal classes in the plane, the one asked for on the right. First three panels: draws by classifier-free
guidance at scales 0 (any class), 1 (the class itself, in closed form) and 4 (sharper, and pushed away from the others).
Right: the mean of the draws against the scale. By the exact score, by a trained classifier and by a trained network it
grows nearly alike; the law p(x) p(y | x)^w, which guidance is often said to draw from, is another one beyond scale 1.
"""

from __future__ import annotations

import argparse

import torch

import unigen as ug
from unigen.plots.field import plane_points
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.relations.noisy_mixture import NoisyMixture

SD, SCALES = 0.7, (0.0, 1.0, 2.0, 4.0)


def main() -> None:
    """Guide in three ways at four scales, and compare moments with closed form and quadrature."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    steps, schedule = parser.parse_args().steps, ug.VPLinear()
    n = min(5000, 100 * steps)
    torch.manual_seed(0)
    centres = torch.tensor([[1.5, 0.0], [-0.75, 1.3], [-0.75, -1.3]])
    law, labels = NoisyMixture(schedule, centres, SD), torch.randint(3, (10_000,))
    x, one_hot = centres[labels] + SD * torch.randn(10_000, 2), torch.eye(3)

    def bayes(z: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # log p(y | z_t), exact
        return (law.offsets(z, t)[1].log_softmax(1) * y).sum(1)

    parts = {"schedule": schedule, "prediction": ug.Eps()}
    exact = ug.Diffusion(2, network=law, **parts)
    objective = ug.DropContext(ug.DenoisingScoreMatching(ug.NoiseWeighting()), probability=0.15)
    trained = ug.Diffusion(2, context=3, hidden=64, blocks=2, objective=objective, **parts)
    ug.fit(trained, (x, one_hot[labels]), steps=steps, seed=0)
    classifier = ug.NoisyClassifier(2, classes=3, hidden=32)
    ug.fit_noisy_classifier(classifier, exact, x, labels, steps=steps, seed=0)

    grid, tilted, draws = plane_points((5.0, 5.0), (201, 201)), "p(x) p(y | x)^w", {}
    at, first = torch.full_like(grid[:, 0], 1e-4), one_hot[:1].expand(len(grid), 3)
    log_p = law.log_prob(grid.double(), at.double())
    for scale in SCALES:
        guided = {"exact score": ug.Guided(exact, ug.ClassifierGuidance(bayes, scale, context=3))}
        guided["trained classifier"] = ug.Guided(exact, ug.ClassifierGuidance(classifier, scale))
        guided["classifier-free"] = ug.Guided(trained, ug.ClassifierFree(scale))
        for name, program in guided.items():
            draws[name, scale] = program.sample(n, one_hot[:1], sampler=ug.DPMSolver(40), seed=1)
        law_w = (log_p + scale * bayes(grid, at, first)).softmax(0)
        draws[tilted, scale] = grid[law_w.multinomial(n, replacement=True)]
    for (name, scale), x in draws.items():
        known = {0.0: "expected mean 0", 1.0: f"expected 1.5 and {SD}"}.get(scale, "")
        mean = f"mean {x[:, 0].mean():7.4f} ± {x[:, 0].std() / n**0.5:.4f}"
        across = f"sd across {x[:, 1].std():.4f} ± {x[:, 1].std() / (2 * n) ** 0.5:.4f}"
        print(f"scale {scale:g}  {name:18s} {mean}   {across}   {known}")

    with style():
        *panels, last = (fig := figure(13, 3.6)).subplots(1, 4)
        for axes, scale in zip(panels, (0.0, 1.0, 4.0), strict=True):
            axes.contour(*grid.T.reshape(2, 201, 201), log_p.exp().reshape(201, 201), 6, colors=GREY)
            axes.plot(*draws["classifier-free", scale][:600].T, ".", ms=2.5, color=COLOURS[2])
            axes.set(xlabel="x₁", ylabel="x₂", title=f"scale {scale:g}", xlim=(-4, 5), ylim=(-4, 4))
            axes.set_aspect("equal")
        for i, name in enumerate((*guided, tilted)):
            means = [float(draws[name, scale][:, 0].mean()) for scale in SCALES]
            last.plot(SCALES, means, ("o-", "s-", "^-", "--")[i], color=(*COLOURS[:3], GREY)[i], label=name)
        last.set(xlabel="scale w", ylabel="mean of x₁", title="class at (1.5, 0)")
        last.legend()
        fig.savefig("conditional_generation.png", dpi=110)


if __name__ == "__main__":
    main()
