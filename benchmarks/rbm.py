"""A restricted Boltzmann machine on the fixed binarised MNIST, −log p in nats an image with a bracket around log Z.

    python -m benchmarks.rbm --data-dir DIR --minutes 45 --out OUT
    python -m benchmarks.rbm --data-dir DIR --steps 25 --start data --out OUT

500 hidden units as published, trained by PCD (``--start chains``) or CD-k (``--start data``) with block Gibbs. The
budget is ``minutes × threads`` of processor time, compilation included; the learning rate follows that clock, a half
cosine down to zero. log Z by annealed importance sampling from independent pixels, and by annealing down from the ends
of long Gibbs chains: were they exact draws, the two would bound log Z from both sides in expectation; as they are, a
wide gap says that one of the two is wrong, a narrow one that both ends agree.

Published (Salakhutdinov & Murray 2008, CD-25, 500 hidden units): 86.34 by AIS from below.
With --out, curve, draws, result and checkpoints are written there; a run that was cut off goes on from its last point.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import unigen as ug
from benchmarks.clock import Clock, processor_seconds
from unigen.data.binarised_mnist import binarised_mnist
from unigen.densities.annealed import AnnealedNormaliser
from unigen.inference.run import StepEvent
from unigen.models.rbm import RBM

PUBLISHED = 86.34
FEATURES, HIDDEN = 784, 500
OPTIMISERS: dict[str, Any] = {
    "SGD": partial(torch.optim.SGD, momentum=0.5),
    "Adam": torch.optim.Adam,
}


def name_of(options: argparse.Namespace) -> str:
    """Return the name of a run's files."""
    return f"rbm-{'PCD' if options.start == 'chains' else 'CD'}-{options.steps}"


def nats(program: RBM, x: Tensor, normaliser: AnnealedNormaliser) -> float:
    """Return −log p(x) in nats an image by annealing up: in expectation too small."""
    with torch.no_grad():
        return program.energy(x).mean().item() + normaliser.log_z(program).value.item()


def train(options: argparse.Namespace, data: ug.data.Dataset) -> tuple[RBM, dict[str, Any]]:
    """Fit within the budget; return the program and what it took."""
    torch.manual_seed(options.seed)
    objective = ug.GibbsContrastiveDivergence(
        steps=options.steps, persistent=options.start == "chains", weight_decay=options.weight_decay
    )
    program = RBM(FEATURES, HIDDEN, chains=options.chains, objective=objective)
    name = name_of(options)
    kept = None if options.out is None else options.out / f"{name}.curve.json"
    # of each point: epochs, processor seconds, −log p by a short annealing
    curve: list[list[float]] = json.loads(kept.read_text()) if kept is not None and kept.exists() else []
    quick, watched = AnnealedNormaliser(steps=1000, chains=50), data.validation[:2000]

    def report(event: StepEvent, spent: float) -> str:
        epochs = event.step * options.batch / data.train.shape[0]
        curve.append([epochs, spent, nats(program, watched, quick)])
        if kept is not None:
            kept.write_text(json.dumps(curve))
        return f"epoch {epochs:.1f}, {spent:.0f} s, validation {curve[-1][2]:.3f}"

    seconds = 60.0 * options.minutes * options.threads
    clock = Clock(seconds, report=report, every=options.every, already=curve[-1][1] if curve else 0.0)
    record = ug.fit(
        program, data.train, steps=10**7, batch_size=options.batch, lr=options.lr, schedule=clock.schedule,
        optimizer=OPTIMISERS[options.optimiser], callbacks=[clock], compile=True, seed=options.seed, progress=False,
        checkpoint=None if options.out is None else options.out / f"{name}.ckpt", checkpoint_every=options.every,
        resume=options.out is not None,
    )  # fmt: skip
    took = {
        "training": name,
        "hidden": HIDDEN,
        "epochs": record.steps * options.batch / data.train.shape[0],
        "processor seconds": clock.spent,
        "wall seconds": time.perf_counter() - clock.wall,
        "threads": options.threads,
        "compiled": record.compiled,
        "notes": record.notes,
        "curve": curve,
    }
    return program, took


def score(program: RBM, data: ug.data.Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """Return −log p of the test images by annealing from both sides, and what the numbers are."""
    began = processor_seconds()
    torch.manual_seed(options.seed)
    annealed = AnnealedNormaliser(steps=options.temperatures, chains=options.annealed)
    found = annealed.bracket(program, sweeps=options.sweeps)
    print(found, file=sys.stderr, flush=True)
    with torch.no_grad():
        test, train = program.energy(data.test[: options.test]), program.energy(data.train[:10_000])
    up, down = found.lower, found.upper
    return {
        "nats": test.mean().item() + up.value.item(),
        "nats from above": test.mean().item() + down.value.item(),
        "stderr over images": (test.std() / test.shape[0] ** 0.5).item(),
        "stderr of log Z": [None if s.stderr is None else s.stderr.item() for s in (up, down)],
        "kinds of log Z": [str(up.kind), str(down.kind)],
        "effective chains": list(found.effective),
        "train nats": train.mean().item() + up.value.item(),
        "published": PUBLISHED,
        "scoring seconds": processor_seconds() - began,
    }


def options_of_command() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=1, help="k, sweeps for each optimiser step")
    parser.add_argument("--start", choices=("chains", "data"), default="chains", help="PCD or CD")
    parser.add_argument("--chains", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--optimiser", choices=sorted(OPTIMISERS), default="SGD")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=5000, help="steps between points of the curve")
    parser.add_argument("--test", type=int, default=10_000, help="test images that are scored")
    parser.add_argument("--temperatures", type=int, default=10_000, help="densities of the final annealing")
    parser.add_argument("--annealed", type=int, default=100, help="chains of the final annealing")
    parser.add_argument("--sweeps", type=int, default=10_000, help="of the chains from which it goes down")
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


def main() -> None:
    """Train, score from both sides, print and keep."""
    options = options_of_command()
    torch.set_num_threads(options.threads)
    data = binarised_mnist(options.data_dir)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    program, found = train(options, data)
    name = name_of(options)
    if options.out is not None:
        ug.save(program, options.out / f"{name}.safetensors")
    found |= score(program, data, options)
    print(json.dumps(found, indent=2, ensure_ascii=False))
    if options.out is not None:
        (options.out / f"{name}.json").write_text(json.dumps(found))
        with torch.no_grad():
            fantasies = program.joint.visible.conditional(
                program.joint.sent(program.joint.draw_hidden(program.sample(50, seed=options.seed)))
            ).mean
        ug.plots.image_grid(fantasies, data.image_shape, 10, (0.0, 1.0)).savefig(options.out / f"{name}.png")


if __name__ == "__main__":
    main()
