"""Rate and distortion: a linear β-VAE on Gaussian data draws Shannon's curve, and what latents buy on the digits.

Left: with noise σ² the level of reverse water-filling is βσ²: each axis keeps min(λ, βσ²) of its variance as error and
costs ½ log(λ/βσ²) nats. Measuring the error of decoded means (wrong) leaves out what the noise of the code does, and
falls below the curve, where no code can be. Middle: squared error on test digits by the number of latents, with PCA's
beside it; a VAE that pays for its rate stops using further ones. Right: digits rebuilt.
"""

from __future__ import annotations

import argparse
import math

import torch

import unigen as ug
from unigen.plots.images import as_images, mosaic
from unigen.plots.style import GREY, bare, figure, style
from unigen.relations.ppca_vae import axis_points


def main() -> None:
    """Sweep β on Gaussian data, and the number of latents on the digits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    values, noise = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.5]).double(), 0.25
    x, points = axis_points(values), []  # ten points with exactly these variances
    for beta in (1.0, 2.0, 4.0, 8.0, 12.0):
        vae, level = ug.relation(2).train(x, 5, noise, beta), beta * noise
        found = [
            ug.evaluate.rate_distortion(vae, x, samples=min(1000, 9 * steps), seed=s).means for s in range(8)
        ]
        rate, nats = torch.tensor(found).double().T
        square = 2 * noise * (nats - 2.5 * math.log(2 * math.pi * noise))
        mean, error = (x - vae.reconstruct(x)).square().sum(1).mean(), square.std() / 8**0.5
        least, shannon = values.clamp(max=level).sum(), 0.5 * (values / level).log().clamp(min=0).sum()
        points.append((rate.mean(), square.mean(), mean))
        print(f"β = {beta:4.0f}: rate, nats       {rate.mean():9.6f}              expected {shannon:9.6f}")
        print(f"          squared error    {square.mean():9.6f} ± {error:.6f}   expected {least:9.6f}")
        print(f"          of means: wrong  {mean:9.6f}              expected {least:9.6f}")

    data, sizes, errors = ug.data.digits(), (2, 4, 8, 16, 32), {"VAE": [], "PCA": []}
    held, rebuilt = data.test, [data.test[:6]]
    for size in sizes:
        for program in (ug.VAE(64, size, hidden=(128,)), ug.PCA(64, size)):
            ug.fit(program, data, steps=steps, seed=0)
            errors[program.name].append((held - program.reconstruct(held)).square().sum(1).mean())
            rebuilt += [program.reconstruct(held[:6])] * (program.name == "VAE")
        print(
            f"digits, {size:2d} latents: VAE    {errors['VAE'][-1]:9.6f}              PCA      {errors['PCA'][-1]:9.6f}"
        )

    level = torch.linspace(0.1, 4, 200).double()[:, None]
    with style(legend__fontsize=7):
        a, b, c = (fig := figure(10.0, 3.4)).subplots(1, 3, width_ratios=(1.1, 1, 1))
        shannon = 0.5 * (values / level).log().clamp(min=0).sum(1)
        a.plot(shannon, values.clamp(max=level).sum(1), color=GREY, label="Shannon")
        rate, square, mean = torch.tensor(points).T
        a.plot(rate, square, "o", label="β-VAE")
        a.plot(rate, mean, "x", label="decoded means: wrong")
        for name, each in errors.items():
            b.plot(sizes, each, "o-", ms=4, label=name)
        a.set(xlabel="rate (nats)", ylabel="squared error", title="Gaussian data, variances 4, 2, 1, ½, ½")
        b.set(xlabel="latents", ylabel="squared error", title="test digits")
        bare(c).imshow(mosaic(as_images(torch.stack(rebuilt).flatten(0, 1)), 6).numpy(), vmin=0, vmax=1)
        c.set_yticks([4 + 9 * k for k in range(6)], ["image", *(f"{size} latents" for size in sizes)])
        c.set_title("rebuilt by the VAE")
        a.legend()
        b.legend()
        fig.savefig("rate_distortion.png", dpi=110)


if __name__ == "__main__":
    main()
