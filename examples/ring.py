"""A VAE and a latent diffusion on a ring: judge draws, never reconstructions.

Reconstructions (second and fourth panel) are nearly perfect for both, since a decoder has only to repeat what its
encoder saw. Draws show the difference: the plain VAE decodes normal latents, many of which no datum ever had, and they
land off the ring; a diffusion as the prior has learned where the latents are. A two-sample distance between data and
reconstructions, in place of draws, calls both models good, and the bound says that one is not.
"""

from __future__ import annotations

import argparse

import torch

import unigen as ug
from unigen.data.toy import circle
from unigen.plots.style import COLOURS, GREY, figure, style


def main() -> None:
    """Fit both, and compare bounds with the entropy, draws and reconstructions with the data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    toy = circle(radius=2.0, sd=0.08)
    x, held = toy.sample((10_000,)), toy.sample((1000,))
    parts = {"hidden": (64, 64), "likelihood": ug.Gaussian(0.08)}
    programs = {
        "VAE": ug.VAE(2, 2, **parts),
        "latent diffusion": ug.VAE(2, 2, prior=ug.Diffusion(2, hidden=64, blocks=2), **parts),
    }
    points = {"new data": toy.sample((1000,))}
    for name, vae in programs.items():
        ug.fit(vae, x, steps=steps, batch_size=256, seed=0)
        bound = vae.log_prob(held[: min(300, steps)], density=ug.Importance(50)).mean()
        print(
            f"{name:16s} −log p at most {-bound.value:7.4f} ± {bound.stderr:.4f}   entropy {toy.entropy():.6f}"
        )
        points[f"{name}: draws"] = vae.sample(1000, seed=1)
        points[f"{name}: reconstructions"] = vae.reconstruct(held)
    far = {name: ug.evaluate.energy_distance(each, held) for name, each in points.items()}
    for name, distance in far.items():
        right = "the wrong question" if "reconstructions" in name else "expected 0 of a perfect model"
        print(f"{name:34s} energy distance {distance.value:8.4f} ± {distance.stderr:.4f}   {right}")

    with style():
        fig = figure(13, 3.7)
        angle = torch.linspace(0, 2 * torch.pi, 200)
        for i, (axes, name) in enumerate(zip(fig.subplots(1, 4), list(points)[1:], strict=True)):
            axes.plot(2 * angle.cos(), 2 * angle.sin(), color=GREY, lw=0.8, label="the ring")
            axes.plot(*points[name].T, ".", ms=2.5, color=COLOURS[i % 2], label=name.split(": ")[1])
            axes.set(title=f"{name}\nenergy distance {far[name].value:.3f}", xlabel="x₁", ylabel="x₂")
            axes.set(aspect="equal", xlim=(-3, 3), ylim=(-2.6, 3.4))
            axes.legend(loc="upper center", markerscale=4, ncols=2)
        fig.savefig("ring.png", dpi=110)


if __name__ == "__main__":
    main()
