"""Attention: softmax(QKᵀ/√d)V, what the √d is for, and a tiny Transformer that learns to look back.

Left: the number of keys that a query effectively reads. Products of random queries and keys have variance d: without √d
one key takes all the weight, and no gradient reaches the others (wrong); with it their number does not depend on d.
Middle: the letters of a text in which every word of eight random letters comes twice: the first time a letter costs
log 26 nats whatever the model, the second time nothing. Right: the head that makes this possible, reading eight back.
"""

from __future__ import annotations

import argparse
import math

import torch
import torch.nn.functional as F

import unigen as ug
from unigen.nn.attention_maps import attention_maps
from unigen.plots.style import COLOURS, GREY, figure, style


def main() -> None:
    """Check the formula, sweep d with and without the scale, and train on words that come twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    sizes, keys, found = [4, 16, 64, 256, 1024], 4096, {"QKᵀ/√d": [], "QKᵀ, no √d: wrong": []}
    for d in sizes:
        q, k = torch.randn(50, d, dtype=torch.float64), torch.randn(keys, d, dtype=torch.float64)
        for each, score in zip(found.values(), (q @ k.T / math.sqrt(d), q @ k.T), strict=True):
            each.append(torch.distributions.Categorical(logits=score).entropy())
    scaled, unscaled = (torch.stack(each) for each in found.values())
    v = torch.randn(keys, 8, dtype=torch.float64)
    by_hand = (q @ k.T / math.sqrt(d)).softmax(-1) @ v

    x = torch.randint(26, (20_000, 8)).repeat(1, 2)
    program, held = ug.Transformer(16, 26, layers=2, width=64, heads=2, positions="learned"), x[:1000]
    ug.fit(program, x[1000:], steps=steps, batch_size=64, seed=0)
    with torch.no_grad():
        cost = F.cross_entropy(program.eval().net(held).mT, held, reduction="none").double()
        leak = (program.net(held) - program.net(torch.cat([held[:, :10], x[-1000:, 10:]], 1)))[:, :11].abs()
    rows = {
        "softmax(QKᵀ/√d)V − torch's own": ((by_hand - F.scaled_dot_product_attention(q, k, v)), "0"),
        "variance of q·k, d = 1024": ((q @ k.T).var(1), "1024"),
        "entropy of the weights on 4096 keys": (scaled[-1], f"{math.log(keys) - 0.5:.6f}"),
        "   without √d: wrong": (unscaled[-1], f"{math.log(keys) - 0.5:.6f}"),
        "nats of a text": (-program.log_prob(held).value.double(), f"≥ {8 * math.log(26):.6f}"),
        "nats of a letter, first time": (cost[:, :8].mean(1), f"≥ {math.log(26):.6f}"),
        "nats of a letter, second time": (cost[:, 8:].mean(1), "≥ 0.000000"),
        "what a letter says before it comes": (leak, "0"),
    }
    for what, (got, expected) in rows.items():
        print(f"{what:36s} {got.mean():12.6f} ± {got.std() / len(got) ** 0.5:8.6f}   expected {expected}")

    maps = attention_maps(program.net, held[:200]).mean(1).flatten(0, 1)
    head = maps[maps.diagonal(-7, 1, 2).mean(1).argmax()]  # the one that looks eight letters back most
    with style():
        a, b, c = (fig := figure(9.6, 3.2)).subplots(1, 3, width_ratios=(1, 1, 1.15))
        for (name, each), colour in zip(found.items(), COLOURS, strict=False):
            a.loglog(sizes, torch.stack(each).mean(1).exp(), "o-", ms=4, color=colour, label=name)
        a.axhline(keys / math.e**0.5, color=GREY, ls="--", lw=0.9, label="4096 / √e")
        a.set(xlabel="d", ylabel="keys read by a query", title="exp(entropy of the weights)")
        b.bar(range(16), cost.mean(0).tolist(), color=COLOURS[0], label="Transformer")
        b.step([-0.5, 7.5, 15.5], [0, math.log(26), 0], color=COLOURS[1], label="expected: log 26, then 0")
        b.set(xlabel="position", ylabel="nats", title="cost of a letter", ylim=(0, 4.4))
        a.legend()
        b.legend()
        shown = c.imshow(head.numpy(), vmin=0, vmax=1, extent=(-1.5, 14.5, 15.5, -0.5))
        fig.colorbar(shown, label="weight")
        c.set(xlabel="letter read (−1: the start)", ylabel="letter predicted", title="weights of one head")
        c.grid(False)
        fig.savefig("attention.png", dpi=110)


if __name__ == "__main__":
    main()
