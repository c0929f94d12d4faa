"""Digits by class: accuracy of guided draws by a classifier of real digits; lower halves given the upper ones."""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch

import unigen as ug


def classifier(data: ug.data.Dataset) -> Any:
    """Return a support vector machine trained on the real digits."""
    from sklearn.svm import SVC

    return SVC(C=10.0).fit(data.train.numpy(), data.train_labels.numpy())


def main() -> None:
    """Fit with dropped labels; draw under guidance, classify, and complete half images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    steps = parser.parse_args().steps
    data = ug.data.digits()
    torch.manual_seed(0)
    objective = ug.DropContext(ug.DenoisingScoreMatching(), probability=0.15)
    program = ug.Diffusion(64, context=10, objective=objective)
    ug.fit(program, data, steps=steps, seed=0)

    judge, count = classifier(data), min(100, steps)
    print(f"real test digits     {judge.score(data.test.numpy(), data.test_labels.numpy()):.3f}")
    labels = torch.arange(10).repeat(count)
    context = torch.nn.functional.one_hot(labels, 10).float()
    for scale in (0.0, 1.0, 2.0, 4.0):
        guided = ug.Guided(program, ug.ClassifierFree(scale))
        draws = guided.sample(len(labels), context, sampler=ug.DPMSolver(20), seed=1)
        right = judge.score(draws.numpy(), labels.numpy())
        error = math.sqrt(right * (1.0 - right) / len(labels))
        print(f"draws at scale {scale:.0f}     {right:.3f} ± {error:.3f} of the class asked for")
        if scale == 2.0:
            ug.plots.image_grid(draws[:100].clamp(0, 1), columns=10).savefig("guided_digits.png", dpi=150)

    known, rows = torch.arange(64) < 32, []
    plain = ug.Guided(program, ug.ClassifierFree(0.0))  # any digit
    for x in data.test[:8]:
        half = ug.Inpainting(known, x, noise=0.05)
        found = ug.TwistedSMC(half, 256, steps=min(100, steps)).posterior(plain, torch.zeros(1, 10), seed=2)
        print(f"upper half: {found}")
        rows += [x, torch.where(known, x, 0.0), *found.resample(8)]
    figure = ug.plots.image_grid(torch.stack(rows).clamp(0, 1), columns=10)
    figure.savefig("inpainted_digits.png", dpi=150)


if __name__ == "__main__":
    main()
