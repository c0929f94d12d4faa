"""A character Transformer on tinyshakespeare, in nats a character of the held-out last tenth.

    python -m benchmarks.text --data-dir DIR --minutes 9 --threads 2

The budget is ``minutes × threads`` of processor time, compilation included, whatever else the machine does: the
learning rate follows that clock, down to zero at its end. Matrices are multiplied in bfloat16 with float32 sums where
the processor has instructions for it. Evaluation is in float32, over windows of 256 characters that start 64 apart, so
that every character but the first of the text is predicted from 192 to 255 characters before it. The target is 1.52.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

import unigen as ug
from unigen.data.text import shakespeare
from unigen.data.vocabulary import Characters
from unigen.data.windows import Windows
from unigen.evaluate.sliding_window import sliding_log_prob
from unigen.inference.muon import Muon
from unigen.inference.run import StepEvent
from unigen.models.transformer import Transformer
from unigen.samplers.decoding import Decoding

TARGET, STRIDE = 1.52, 64


def processor_seconds() -> float:
    """Return the processor time of this process and of those it started and waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


class Clock:
    """A cosine learning rate over processor time, and the callback that ends the run with it."""

    def __init__(self, seconds: float, wall_seconds: float, warmup: int, test: Tensor | None) -> None:
        self.seconds, self.wall_seconds, self.warmup, self.test = seconds, wall_seconds, warmup, test
        self.began, self.wall = processor_seconds(), time.perf_counter()
        self.spent_outside = 0.0

    @property
    def progress(self) -> float:
        """Fraction of the budget that is used up."""
        return max(self.spent / self.seconds, (time.perf_counter() - self.wall) / self.wall_seconds)

    @property
    def spent(self) -> float:
        """Processor seconds of training."""
        return processor_seconds() - self.began - self.spent_outside

    def schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        """Return the schedule; ``steps`` is an upper bound that the clock does not use."""

        def factor(step: int) -> float:
            cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
            return min(1.0, (step + 1) / self.warmup) * cosine

        return LambdaLR(optimizer, factor)

    def __call__(self, event: StepEvent) -> bool:
        """Tell how it goes now and then; stop when the time is spent."""
        if event.step % 250 == 0:
            before = processor_seconds()
            text = f"step {event.step}, {self.spent:.0f} s, train {event.losses['likelihood'] / 256:.4f}"
            if self.test is not None:
                text += f", held out {-sliding_log_prob(event.program, self.test).mean().value:.4f}"
                event.program.train()
            print(text, file=sys.stderr, flush=True)
            self.spent_outside += processor_seconds() - before
        return self.progress >= 1


def baselines(train: Tensor, test: Tensor, v: int) -> dict[str, float]:
    """Return nats a character of the uniform law and of counted characters and pairs, half a count added to each."""
    ones = torch.bincount(train, minlength=v).double() + 0.5
    pairs = torch.bincount(train[:-1] * v + train[1:], minlength=v * v).double().reshape(v, v) + 0.5
    return {
        "uniform": math.log(v),
        "unigram": float(-(ones / ones.sum()).log()[test].mean()),
        "bigram": float(-(pairs / pairs.sum(1, keepdim=True)).log()[test[:-1], test[1:]].mean()),
    }


def train_text(
    options: argparse.Namespace, train: Tensor, watch: Tensor | None, v: int
) -> tuple[Transformer, dict]:
    """Fit within the budget and return the program and what it cost."""
    torch.manual_seed(options.seed)
    program = Transformer(256, v, layers=5, width=128, heads=2, dropout=options.dropout)
    clock = Clock(60.0 * options.minutes * options.threads, 60.0 * options.wall_minutes, 50, watch)
    inner = list(program.net.blocks.parameters())
    others = [p for p in program.parameters() if all(p is not q for q in inner)]
    torch.set_float32_matmul_precision("medium")
    record = ug.fit(
        program,
        Windows(train, 256),
        steps=10**6,
        batch_size=options.batch,
        optimizer=Muon(inner, others, lr=options.lr, lr_others=options.lr / 5, weight_decay=0.05),
        schedule=clock.schedule,
        callbacks=[clock],
        compile=True,
        seed=options.seed,
        progress=False,
        checkpoint=options.checkpoint,
        checkpoint_every=500,
    )
    torch.set_float32_matmul_precision("highest")
    return program, {
        "parameters": sum(p.numel() for p in program.parameters()),
        "steps": record.steps,
        "epochs": record.steps * options.batch * 256 / train.shape[0],
        "processor seconds": clock.spent,
        "wall seconds": time.perf_counter() - clock.wall,
        "threads": options.threads,
        "compiled": record.compiled,
        "notes": record.notes,
    }


def options_of_command() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--wall-minutes", type=float, default=math.inf, help="end by then in any case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=None)
    parser.add_argument(
        "--watch", action="store_true", help="print held-out nats on the way (chooses nothing)"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Train, score, sample."""
    options = options_of_command()
    torch.set_num_threads(options.threads)
    text = shakespeare(options.data_dir)
    vocabulary = Characters.of(text.train + text.test)
    train, test = vocabulary.encode(text.train), vocabulary.encode(text.test)
    found: dict[str, object] = {"baselines": baselines(train, test, vocabulary.size)}
    program, cost = train_text(options, train, test[:20_000] if options.watch else None, vocabulary.size)
    score = sliding_log_prob(program, test, stride=STRIDE)
    nats, prompt = -score.mean().value, vocabulary.encode("\n\nKING")
    drawn = Decoding(temperature=0.8).complete(program, prompt, n=2, seed=options.seed)
    found |= cost | {
        "nats/character": nats,
        "stderr": score.mean().stderr,
        "bits/character": score.bits_per_dim().value,
        "perplexity": score.perplexity().value,
        "met": {f"≤ {TARGET} nats/character": nats <= TARGET},
        "draws at temperature 0.8": [vocabulary.decode(row) for row in drawn],
    }
    print(json.dumps(found, indent=2, ensure_ascii=False))
    if not options.json:
        print(*found["draws at temperature 0.8"], sep="\n---\n")  # type: ignore[misc]


if __name__ == "__main__":
    main()
