"""One data set through seven families: the same two moons by one step, by many, by noise, by none.

Each row is a fitted program as two processes: data to noise on the left, noise to data on the right. A point keeps the
colour of its place among the data. PPCA and the VAE take one random step and lose order; the flow takes one step that
bends the plane and keeps it; autoregression goes coordinate by coordinate; the diffusion adds noise, learns the way
back, and has an ODE beside it; an energy model only runs chains, and a GAN only draws. What each says of log p differs
in kind: compare exact with exact, and never a bound with a bound.
"""

from __future__ import annotations

import argparse

import torch

import unigen as ug
from unigen.data.toy import two_moons


def main() -> None:
    """Fit seven families, print what each says of held-out data, and draw them as processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    steps, toy = parser.parse_args().steps, two_moons()
    torch.manual_seed(0)
    data = toy.dataset(train=6000, test=600)
    contrast = ug.ContrastiveDivergence(10, 0.02, adjusted=True)
    annealed = ug.Normalised(ug.AnnealedNormaliser(100, 50))
    programs = {
        "PPCA": ug.PPCA(2, latents=1),
        "VAE": ug.VAE(2, latents=2, hidden=(64, 64), likelihood=ug.Gaussian("network")),
        "flow": ug.NSF(2, hidden=(64, 64), transforms=3),
        "autoregression": ug.MADE(2, likelihood=ug.MixtureOfGaussians(10), hidden=(64, 64)),
        "diffusion": ug.Diffusion(2, hidden=64, blocks=2),
        "energy": ug.EnergyModel(2, hidden=(64, 64), objective=contrast),
        "GAN": ug.GAN(2, latents=2, hidden=(64, 64)),
    }
    print(f"entropy of the data, the least −log p there is: {toy.entropy():.4f}")
    few = data.test[: min(200, 20 * steps)]
    for name, program in programs.items():
        ug.fit(program, data.train, steps=steps, batch_size=256, seed=0)
        far = ug.evaluate.energy_distance(program.sample(len(few), seed=1), few, permutations=0)
        try:
            density = annealed if name == "energy" else None
            found = program.log_prob(few, density=density).mean()
            print(f"{name:15s} −log p {-found.value:7.4f} ± {found.stderr:.4f} ({found.kind})", end="   ")
        except ug.errors.NoDensityError:
            print(f"{name:15s} no density{' ':21s}", end="   ")
        print(f"energy distance of draws {far.value:7.4f} ± {far.stderr:.4f}")
    processes = {name: ug.process(program, few, n=len(few), seed=0) for name, program in programs.items()}
    for name, each in processes.items():
        print(f"{name:15s} forward: {each.forward_step or 'none':28s} reverse: {each.reverse_step}")
    ug.plots.process_figure(processes, columns=4).savefig("unified_view.png", dpi=90)


if __name__ == "__main__":
    main()
