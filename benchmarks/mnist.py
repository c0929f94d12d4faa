"""Image models on dequantised MNIST, bits a dimension: a UNet diffusion beside flows of the same training time.

    python -m benchmarks.mnist --data-dir DIR --model UNet --minutes 24 --out OUT
    python -m benchmarks.mnist --data-dir DIR --model RealNVP --minutes 24 --out OUT
    python -m benchmarks.mnist --table OUT

The models see z = logit(α + (1 − 2α) y) of y = (k + u) / 256, u fresh for every batch in training, one fixed draw in
testing. Dequantisation is accounted for: bits/dim = −(log p(z) + Σ log |dz/dy| − D log 256) / (D log 2), in
expectation over u an upper bound on the code length of the integers. For the diffusion the bound's three terms are
reported apart, and the probability flow by Hutchinson's estimator with its error.

The budget is ``minutes × threads`` of processor time, or ``wall-minutes`` if they end before; the learning rate follows
that clock, a half cosine down to zero. Every model ends with the parameters of its best validation loss. With --out,
results, draws and checkpoints are written there: a run that was cut off goes on from its last point.

Published, 28 × 28, dequantised: RealNVP 1.06, Glow 1.05, FFJORD 0.99 (Grathwohl et al. 2019).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import unigen as ug
from benchmarks.clock import Clock
from unigen import units
from unigen.data.dataset import Dataset
from unigen.data.dequantise import Dequantise
from unigen.data.mnist import LEVELS, mnist
from unigen.dynamics.denoiser import denoiser_of
from unigen.inference.run import StepEvent
from unigen.logprob import LogProb
from unigen.nn.unet import UNet
from unigen.program import Program

IMAGE, DIMS, MARGIN = (1, 28, 28), 784, 1e-6
LEARNING_RATE = {"UNet": 1.5e-3, "RealNVP": 5e-4, "Glow": 1e-3}


class LogitPixels(Dequantise):
    """z = logit(α + (1 − 2α) y) of dequantised y."""

    def forward(
        self, k: Tensor, noise: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return z of integers k under fresh noise."""
        return to_logit(super().forward(k, noise, generator))

    def inverse(self, y: Tensor) -> Tensor:
        """Return the integers behind z."""
        return super().inverse(to_pixels(y))


def to_logit(y: Tensor) -> Tensor:
    """Return z of y in [0, 1]."""
    return torch.logit(MARGIN + (1 - 2 * MARGIN) * y)


def to_pixels(z: Tensor) -> Tensor:
    """Return y of z."""
    return (torch.sigmoid(z) - MARGIN) / (1 - 2 * MARGIN)


def load(options: argparse.Namespace, shape: tuple[int, ...]) -> Dataset:
    """Return MNIST in the coordinates of the models, with as many validation and test images as are looked at."""
    data = mnist(options.data_dir).reshaped(shape)
    return dataclasses.replace(
        data, train=to_logit(data.train), validation=to_logit(data.validation[: options.validation]),
        test=to_logit(data.test), train_labels=None, validation_labels=None, test_labels=None,
        dequantise=LogitPixels(LEVELS),
    )  # fmt: skip


def diffusion() -> Program:
    """Return a diffusion with a UNet of half a million parameters on 2 × 2 patches: 14 × 14, then 7 × 7 features."""
    network = UNet(IMAGE, channels=(32, 64), patch=2, attention=())
    schedule = ug.LogLinearSNR(snr_max=2.0**16, snr_min=2.0**-10)
    return ug.Diffusion(IMAGE, network=network, schedule=schedule)


MODELS: dict[str, tuple[tuple[int, ...], Callable[[], Program]]] = {
    "UNet": (IMAGE, diffusion),
    "RealNVP": ((DIMS,), lambda: ug.RealNVP(DIMS, transforms=8, hidden=(512, 512))),
    "Glow": (IMAGE, lambda: ug.Glow(IMAGE, levels=2, steps=6, hidden=(64, 64), support="real")),
}


def train(options: argparse.Namespace, data: Dataset) -> tuple[Program, dict]:
    """Fit within the budget; return the program and what it took."""
    torch.manual_seed(options.seed)
    program, kept = MODELS[options.model][1](), None
    if options.out is not None:
        kept = options.out / f"{options.model}.spent.json"
    already = json.loads(kept.read_text()) if kept is not None and kept.exists() else 0.0

    def report(event: StepEvent, spent: float) -> str:
        if kept is not None:
            kept.write_text(json.dumps(spent))
        held = event.record.history.get("validation", [(0, float("nan"))])[-1][1]
        return f"epoch {event.step * options.batch / data.train.shape[0]:.2f}, {spent:.0f} s, held out {held:.1f} nats"

    clock = Clock(
        60.0 * options.minutes * options.threads, wall_seconds=60.0 * options.wall_minutes, report=report,
        every=options.every, already=already,
    )  # fmt: skip
    record = ug.fit(
        program, data, steps=10**7, batch_size=options.batch, lr=options.lr or LEARNING_RATE[options.model],
        schedule=clock.schedule, callbacks=[clock], compile=False, ema=0.999, seed=options.seed, progress=False,
        validate_every=options.every, resume=kept is not None, checkpoint_every=options.every,
        checkpoint=None if options.out is None else options.out / f"{options.model}.ckpt",
    )  # fmt: skip
    return program, {
        "model": options.model,
        "parameters": sum(p.numel() for p in program.parameters()),
        "processor minutes": clock.spent / 60,
        "epochs": record.steps * options.batch / data.train.shape[0],
        "validation": record.history.get("validation", []),
    }


def bits(log_p: LogProb, z: Tensor) -> dict[str, float]:
    """Return bits/dim of the integers from log p(z), with its error over images and the part that is Monte Carlo."""
    correction = units.logit_correction(to_pixels(z.double()).clamp(0, 1).flatten(1), MARGIN)
    mean = LogProb(log_p.value.double() + correction, log_p.kind, log_p.stderr, DIMS).bits_per_dim(
        levels=LEVELS
    )
    return {"bits/dim": mean.value, "stderr": mean.stderr or 0.0, "monte carlo": mean.monte_carlo or 0.0}


def bound_terms(program: Program, z: Tensor, times: int) -> dict[str, float]:
    """Return the three terms of the diffusion's bound on −log p(z) and what units add, in bits/dim, over images."""
    denoiser, totals = denoiser_of(program), torch.zeros(3, dtype=torch.float64)
    for rows in z.split(100):
        u = denoiser.to_unit(rows)
        many = u.repeat_interleave(times, 0)
        lattice = torch.arange(times) / times
        t = denoiser.at(torch.remainder(torch.rand(rows.shape[0], 1) + lattice, 1.0).reshape(-1))
        error = denoiser.noise_error(many, t, torch.randn_like(many))
        diffusion = (denoiser.likelihood_weight(t) * error).sum() / times
        reconstruction = (denoiser.reconstruction_term(u) + denoiser.log_volume()).sum()
        totals += torch.stack([denoiser.prior_term(u).sum(), diffusion, reconstruction]).double()
    names = ("prior", "diffusion", "reconstruction")
    each = units.bits(totals / (z.shape[0] * DIMS)).tolist()
    correction = units.logit_correction(to_pixels(z.double()).clamp(0, 1).flatten(1), MARGIN).mean()
    return dict(zip(names, each, strict=True)) | {
        "logit": -float(units.bits(correction)) / DIMS,
        "dequantisation": float(units.bits(torch.tensor(float(LEVELS)).log())),
    }


@torch.no_grad()
def score(program: Program, data: Dataset, options: argparse.Namespace) -> dict:
    """Return bits/dim of test images."""
    torch.manual_seed(options.seed)
    z = data.test[: options.test]
    if options.model != "UNet":
        return {"exact": bits(program.log_prob(z), z)}
    few = z[: options.flow_test]
    density = ug.ProbabilityFlow(ug.Hutchinson(options.probes), rtol=1e-3, atol=1e-3)
    parts = [
        program.log_prob(rows, density=density, seed=options.seed + i)
        for i, rows in enumerate(few.split(100))
    ]
    flow = LogProb(
        torch.cat([p.value for p in parts]), parts[0].kind,
        torch.cat([p.stderr for p in parts if p.stderr is not None]), DIMS,
    )  # fmt: skip
    bound = ug.DiffusionBound(8, 4)
    return {
        "bound": bits(program.log_prob(z, density=bound, seed=options.seed), z),
        "terms": bound_terms(program, z, 32),
        "flow": bits(flow, few),
        "bound of the same images": bits(program.log_prob(few, density=bound, seed=options.seed), few),
    }


def table(folder: Path) -> None:
    """Print the results of a folder."""
    print(f"{'model':<9} {'bits/dim':>16} {'of':<17} {'million':>8} {'epochs':>7} {'CPU min':>8}")
    for path in sorted(folder.glob("*.result.json")):
        found = json.loads(path.read_text())
        for what in ("exact", "flow", "bound"):
            if what in found:
                one = found[what]
                print(
                    f"{found['model']:<9} {one['bits/dim']:>8.3f} ± {one['stderr']:.3f} {what:<17} "
                    f"{found['parameters'] / 1e6:>8.2f} {found['epochs']:>7.1f} {found['processor minutes']:>8.1f}"
                )
        if "terms" in found:
            print("          " + ", ".join(f"{k} {v:.3f}" for k, v in found["terms"].items()))


def options_of_command() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--model", choices=sorted(MODELS), default="UNet")
    parser.add_argument("--minutes", type=float, default=24.0)
    parser.add_argument("--wall-minutes", type=float, default=math.inf, help="end by then in any case")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=500, help="steps between validations and checkpoints")
    parser.add_argument("--validation", type=int, default=1000, help="validation images")
    parser.add_argument("--test", type=int, default=1000, help="test images")
    parser.add_argument("--flow-test", type=int, default=500, help="of these, scored by the probability flow")
    parser.add_argument("--probes", type=int, default=2, help="of Hutchinson's estimator")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--table", type=Path, default=None, help="only print the results of a folder")
    return parser.parse_args()


def main() -> None:
    """Train, draw, score, print and keep."""
    options = options_of_command()
    if options.table is not None:
        table(options.table)
        return
    torch.set_num_threads(options.threads)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    data = load(options, MODELS[options.model][0])
    program, found = train(options, data)
    if options.out is not None:
        ug.save(program, options.out / f"{options.model}.safetensors")
        how = {"sampler": ug.DPMSolver(100, sde=True)} if options.model == "UNet" else {}
        draws = to_pixels(program.sample(100, seed=options.seed, **how)).reshape(-1, DIMS)
        ug.plots.image_grid(draws, (28, 28), 10).savefig(options.out / f"{options.model}.png", dpi=150)
    print("trained", file=sys.stderr, flush=True)
    found |= score(program, data, options)
    print(json.dumps(found, indent=2, ensure_ascii=False))
    if options.out is not None:
        (options.out / f"{options.model}.result.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
