"""Importance-weighted autoencoders on the fixed binarised MNIST, −log p in nats an image.

    python -m benchmarks.iwae --data-dir DIR --samples 50 --minutes 45 --out OUT
    python -m benchmarks.iwae --data-dir DIR --samples 1 --prior RealNVP --out OUT

One stochastic layer of 50 units, two hidden layers of 200 (tanh) in each network, K importance samples in training, as
published; −log p of the test images by 5,000 samples. The budget is ``minutes × threads`` of processor time,
compilation included; the learning rate follows that clock, a half cosine down to zero. Matrices are multiplied in
bfloat16 with float32 sums where the processor has instructions for it, in training only.

Published, fixed binarisation, 3,280 epochs (Burda, Grosse & Salakhutdinov 2016): K = 1, 5, 50: 88.71, 87.63, 87.10.
With --out, curves, draws, results and checkpoints are written there: a run that was cut off goes on from its last
point, and ``--table OUT`` draws all runs of a folder.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import unigen as ug
from benchmarks.clock import Clock
from unigen.data.binarised_mnist import binarised_mnist
from unigen.densities.importance import Importance
from unigen.inference.run import StepEvent
from unigen.nn.mlp import MLP
from unigen.program import Program

PUBLISHED = {1: 88.71, 5: 87.63, 50: 87.10}
FEATURES, LATENTS, HIDDEN = 784, 50, (200, 200)
PRIORS = {
    "Gaussian": lambda: None,
    "RealNVP": lambda: ug.RealNVP(LATENTS, transforms=6, hidden=(128, 128)),
    "NSF": lambda: ug.NSF(LATENTS, transforms=4, hidden=(128, 128)),
    "Mixture": lambda: ug.GaussianMixture(LATENTS, components=64, covariance="diagonal"),
}


def name_of(options: argparse.Namespace) -> str:
    """Return the name of a run's files."""
    return f"iwae-{options.samples}-{options.prior}"


def build(samples: int, prior: str, train: Tensor) -> Program:
    """Return the published network; the decoder starts at the mean image."""
    decoder = MLP(LATENTS, FEATURES, HIDDEN, nn.Tanh())
    mean = train.mean(0).clamp(1e-3, 1 - 1e-3)
    with torch.no_grad():
        decoder.get_parameter("layers.4.bias").copy_(mean.logit())
    return ug.VAE(
        FEATURES,
        LATENTS,
        prior=PRIORS[prior](),
        likelihood=ug.Bernoulli(),
        encoder=MLP(FEATURES, 2 * LATENTS, HIDDEN, nn.Tanh()),
        decoder=decoder,
        objective=ug.ELBO(analytic=False) if samples == 1 else ug.IWAE(samples),
    )


def nats(program: Program, x: Tensor, samples: int, seed: int) -> tuple[float, float]:
    """Return −log p(x) in nats an image by importance samples, with its error over images."""
    with torch.no_grad():
        found = program.log_prob(x, density=Importance(samples), seed=seed).mean()
    return -found.value, found.stderr or 0.0


def train(options: argparse.Namespace, data: ug.data.Dataset) -> tuple[Program, dict]:
    """Fit within the budget; return the program and what it took."""
    torch.manual_seed(options.seed)
    program = build(options.samples, options.prior, data.train)
    name = name_of(options)
    kept = None if options.out is None else options.out / f"{name}.curve.json"
    # of each point: epochs, processor seconds, −log p by 100 samples
    curve: list[list[float]] = json.loads(kept.read_text()) if kept is not None and kept.exists() else []
    watched = data.test[::10]

    def report(event: StepEvent, spent: float) -> str:
        epochs = event.step * options.batch / data.train.shape[0]
        curve.append([epochs, spent, nats(program, watched, 100, options.seed)[0]])
        program.train()
        if kept is not None:
            kept.write_text(json.dumps(curve))
        return f"epoch {epochs:.1f}, {spent:.0f} s, test {curve[-1][2]:.3f}"

    seconds = 60.0 * options.minutes * options.threads
    already = curve[-1][1] if curve else 0.0
    clock = Clock(seconds, report=report, every=options.every, already=already)
    torch.set_float32_matmul_precision(options.precision)
    record = ug.fit(
        program, data.train, steps=10**7, batch_size=options.batch, lr=options.lr, schedule=clock.schedule,
        callbacks=[clock], compile=True, seed=options.seed, progress=False, resume=options.out is not None,
        checkpoint=None if options.out is None else options.out / f"{name}.ckpt", checkpoint_every=options.every,
    )  # fmt: skip
    torch.set_float32_matmul_precision("highest")
    epochs = record.steps * options.batch / data.train.shape[0]
    took = {
        "samples": options.samples,
        "prior": options.prior,
        "epochs": epochs,
        "processor seconds": clock.spent,
        "wall seconds": time.perf_counter() - clock.wall,
        "threads": options.threads,
        "parameters": sum(p.numel() for p in program.parameters()),
        "compiled": record.compiled,
        "notes": record.notes,
        "curve": curve,
    }
    return program, took


def table(folder: Path) -> None:
    """Print all runs of a folder and draw their curves."""
    from unigen.plots.style import figure

    runs = [
        json.loads(path.read_text())
        for path in sorted(folder.glob("iwae-*.json"))
        if "curve" not in path.name
    ]
    fig = figure(9.0, 3.5)
    axes = fig.subplots(1, 2, sharey=True)
    print(
        f"{'K':>3} {'prior':<10} {'−log p':>15} {'published':>10} {'train':>8} {'epochs':>7} {'CPU min':>8}"
    )
    for run in runs:
        title = f"K = {run['samples']}, {run['prior']}"
        for axis, column in zip(axes, (0, 1), strict=True):
            axis.plot([p[column] for p in run["curve"]], [p[2] for p in run["curve"]], label=title)
        known = PUBLISHED[run["samples"]] if run["prior"] == "Gaussian" else None
        print(
            f"{run['samples']:>3} {run['prior']:<10} {run['nats']:>8.2f} ± {run['stderr']:.2f} "
            f"{'–' if known is None else known:>10} {run['train nats']:>8.2f} {run['epochs']:>7.0f} "
            f"{run['processor seconds'] / 60:>8.1f}"
        )
    for axis, label in zip(axes, ("epochs", "processor seconds"), strict=True):
        axis.set(xlabel=label, xscale="log", ylim=(85, 110))
    axes[0].set_ylabel("−log p of 1,000 test images by 100 samples, nats")
    axes[1].legend()
    fig.savefig(folder / "iwae-curves.png", dpi=150)


def options_of_command() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--samples", type=int, default=1, help="K of the training objective")
    parser.add_argument("--prior", choices=sorted(PRIORS), default="Gaussian")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=2500, help="steps between points of the curve")
    parser.add_argument("--test", type=int, default=10_000, help="test images that are scored")
    parser.add_argument("--precision", choices=("medium", "highest"), default="medium")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--table", type=Path, default=None, help="only print and draw the runs of a folder")
    return parser.parse_args()


def main() -> None:
    """Train, score with 5,000 samples, print and keep."""
    options = options_of_command()
    if options.table is not None:
        table(options.table)
        return
    torch.set_num_threads(options.threads)
    data = binarised_mnist(options.data_dir)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    program, found = train(options, data)
    found["nats"], found["stderr"] = nats(program, data.test[: options.test], 5000, options.seed)
    found["train nats"] = nats(program, data.train[:2000], 5000, options.seed)[0]
    print(json.dumps(found, indent=2, ensure_ascii=False))
    if options.out is not None:
        name = name_of(options)
        (options.out / f"{name}.json").write_text(json.dumps(found))
        draws = program.decode(torch.as_tensor(_latents(program, options.seed)))
        ug.plots.image_grid(draws, data.image_shape, 5, (0.0, 1.0)).savefig(options.out / f"{name}.png")
        ug.save(program, options.out / f"{name}.safetensors")


def _latents(program: Program, seed: int) -> Tensor:
    """Return 25 draws of z from the prior, whose decoded means are looked at."""
    prior = program.prior
    if isinstance(prior, Program):
        return prior.sample(25, seed=seed)
    torch.manual_seed(seed)
    return torch.randn(25, LATENTS)


if __name__ == "__main__":
    main()
