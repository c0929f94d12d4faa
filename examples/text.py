"""A Transformer on characters: what it learns beyond counting, and what decoding makes of its next character.

Left: nats a character while it trains. An untrained model knows nothing, log 65; counting single characters and pairs
gets as far as the two dotted lines; what lies below takes a longer memory. Right: the next character after a prompt, as
the model has it and as decoding changes it: a low temperature sharpens, top-k and top-p cut off the tail. The text is
the handbook of the language that this is written in, reduced to its 65 most frequent characters.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pydoc_data.topics import topics

import torch

import unigen as ug
from unigen.plots.style import COLOURS, GREY, figure, style


def main() -> None:
    """Train, score held-out text, and decode in several ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    steps, text, length = parser.parse_args().steps, "\n".join(topics.values()), 48
    symbols = "".join(c for c, _ in Counter(text).most_common(65))
    vocabulary = ug.Characters(symbols)
    tokens = vocabulary.encode("".join(c for c in text if c in symbols))
    train, held = tokens[: int(0.9 * len(tokens))], tokens[-min(4000, 100 * steps) :]
    pairs = torch.ones(65, 65).index_put((train[:-1], train[1:]), torch.ones(1), accumulate=True)
    counted = {"single characters": pairs.sum(0, keepdim=True).expand(65, 65), "pairs": pairs}
    counted = {name: (table / table.sum(1, keepdim=True)).log() for name, table in counted.items()}
    known = {name: -float(table[held[:-1], held[1:]].mean()) for name, table in counted.items()}
    torch.manual_seed(0)
    model = ug.Transformer(length=length, vocabulary=65, width=64, heads=4, layers=2)
    before = -ug.sliding_log_prob(model, held[:1000]).value.mean()
    print(f"untrained, nats a character {before:.4f}   uniform, log 65: {math.log(65):.6f}")
    record = ug.fit(model, ug.Windows(train, length), steps=steps, batch_size=32, lr=4e-3, seed=0)
    after = ug.sliding_log_prob(model, held)
    print(f"trained, nats a character   {-after.value.mean():.4f}, {after.perplexity()}")
    print("by counting                 " + ", ".join(f"{name} {value:.4f}" for name, value in known.items()))

    prompt = vocabulary.encode("The following ")
    cached, plain = (ug.Decoding(cache=each).complete(model, prompt, n=20, seed=1) for each in (True, False))
    print(f"characters that a cache of keys and values changes: {(cached != plain).sum()}, expected 0")
    best, log_p = ug.BeamSearch(8).search(model, prompt)
    before = model.log_prob(best[:1]).value - log_p[0]  # of the prompt
    ways = {"as it is": ug.Decoding(), "temperature .5": ug.Decoding(0.5), "top-k 3": ug.Decoding(top_k=3)}
    ways |= {"top-p .8": ug.Decoding(top_p=0.8), "greedy": ug.Decoding(top_k=1)}
    for name, way in ways.items():
        drawn = way.complete(model, prompt, n=20, seed=2)
        rest = float((model.log_prob(drawn).value - before).mean())
        print(f"{name:14s} log p of the rest {rest:8.2f}   {vocabulary.decode(drawn[0])!r}")
    print(f"{'beam of 8':14s} log p of the rest {log_p[0]:8.2f}   {vocabulary.decode(best[0])!r}")

    with style():
        left, right = (fig := figure(10, 3.4)).subplots(1, 2, width_ratios=(1, 1.5))
        curve = torch.tensor(record.history["likelihood"])
        left.plot(curve[:, 0], curve[:, 1] / length, lw=0.8, label="training")
        lines = {"uniform": math.log(65), **known, "held out": float(-after.value.mean())}
        for (name, value), ls in zip(lines.items(), (":", "--", "-.", "-"), strict=True):
            left.axhline(value, color=COLOURS[1] if ls == "-" else GREY, ls=ls, label=name)
        left.set(xlabel="step", ylabel="nats a character", title="beyond counting", ylim=(1, 5.6))
        table = model.distribution().conditionals(best[:1]).logits[0, len(prompt)].detach()
        top = table.topk(12).indices
        for i, (name, way) in enumerate(list(ways.items())[:4]):
            p = way.warp(table).softmax(0)[top]
            right.bar(torch.arange(12) + 0.2 * (i - 1.5), p, 0.18, label=name)
        right.set_xticks(range(12), [repr(vocabulary.decode([k])) for k in top.tolist()])
        right.set(xlabel="next character", ylabel="probability", title="after 'The following '")
        left.legend(ncols=2), right.legend()
        fig.savefig("text.png", dpi=110)


if __name__ == "__main__":
    main()
