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
import time
from pathlib import Path

import torch
from torch import Tensor

import unigen as ug
from benchmarks.clock import Clock
from unigen.data.text import shakespeare
from unigen.data.vocabulary import Characters
from unigen.data.windows import Windows
from unigen.evaluate.sliding_window import sliding_log_prob
from unigen.inference.muon import Muon
from unigen.inference.run import StepEvent
from unigen.models.transformer import Transformer
from unigen.samplers.decoding import Decoding

TARGET, STRIDE = 1.52, 64


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

    def report(event: StepEvent, spent: float) -> str:
        text = f"step {event.step}, {spent:.0f} s, train {event.losses['likelihood'] / 256:.4f}"
        if watch is not None:
            text += f", held out {-sliding_log_prob(event.program, watch).mean().value:.4f}"
            event.program.train()
        return text

    seconds, wall = 60.0 * options.minutes * options.threads, 60.0 * options.wall_minutes
    clock = Clock(seconds, wall_seconds=wall, report=report)
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
