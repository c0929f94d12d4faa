"""One VAE, four priors: the same line with another part, and what kind of number each gives."""

from __future__ import annotations

import argparse

import torch

import unigen as ug


def main() -> None:
    """Fit a VAE to the digits under each prior, and print its test bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    x = ug.data.digits()
    priors = {
        "standard normal": None,
        "flow": ug.NSF(features=4),
        "diffusion": ug.Diffusion(features=4, density=ug.DiffusionBound(times=4, replicates=2)),
        "energy": ug.EnergyModel(features=4, energy=ug.Tilt(4)),
    }
    for name, prior in priors.items():
        torch.manual_seed(0)
        vae = ug.VAE(features=64, latents=4, prior=prior, likelihood=ug.Gaussian("network"), hidden=(128,))
        ug.fit(vae, x, steps=steps, seed=0)
        scored = vae.log_prob(x.test[:100], density=ug.Importance(8))
        print(f"{name:16s} {vae.formula:52s} {scored.mean()}")


if __name__ == "__main__":
    main()
