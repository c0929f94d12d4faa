"""One VAE, other parts: the same line with another prior, posterior or decoder, and what kind of number each gives."""

from __future__ import annotations

import argparse

import torch

import unigen as ug


def main() -> None:
    """Fit a VAE to the digits with one part changed at a time, and print its test bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    x = ug.data.digits()
    network = {"likelihood": ug.Gaussian("network"), "hidden": (128,)}
    changes = {
        "standard": {},
        "flow prior": {"prior": ug.NSF(features=4)},
        "VampPrior": {"prior": ug.VampPrior(components=50)},
        "diffusion prior": {"prior": ug.Diffusion(4, density=ug.DiffusionBound(times=4, replicates=2))},
        "energy prior": {"prior": ug.EnergyModel(features=4, energy=ug.Tilt(4))},
        "flow posterior": {"posterior": ug.IAF(features=4, context=32, transforms=2)},
        "full covariance": {"posterior": ug.FullCovariance()},
        "mixture posterior": {"posterior": ug.MixturePosterior(4)},
        "flow decoder": {"decoder": ug.MAF(features=64, context=4, transforms=2), "likelihood": None},
    }
    for name, parts in changes.items():
        torch.manual_seed(0)
        vae = ug.VAE(features=64, latents=4, **(network | parts))
        ug.fit(vae, x, steps=steps, seed=0)
        scored = vae.log_prob(x.test[:100], density=ug.Importance(8))
        print(f"{name:18s} {vae.formula:52s} {scored.mean()}")


if __name__ == "__main__":
    main()
