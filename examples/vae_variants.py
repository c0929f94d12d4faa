"""Variants of the VAE on the digits: the test bound of each, and a row of its samples in vae_variants.png."""

from __future__ import annotations

import argparse

import torch

import unigen as ug

HIDDEN = (128,)


def variants() -> dict[str, ug.Program]:
    """Return each variant, as the combination that it is."""
    image = (1, 8, 8)
    return {
        "VAE": ug.VAE(64, 8, hidden=HIDDEN),
        "convolutions": ug.VAE(
            64, 8, encoder=ug.ConvEncoder(image, 16, width=8), decoder=ug.ConvDecoder(8, image, width=8)
        ),
        "VampPrior": ug.VAE(64, 8, prior=ug.VampPrior(components=50), hidden=HIDDEN),
        "VAE as prior": ug.VAE(64, 8, prior=ug.VAE(8, 4, hidden=(32,)), hidden=HIDDEN),
        "ladder": ug.LadderVAE(64, latents=(8, 4), hidden=HIDDEN),
        "VQ-VAE": ug.VQVAE(
            64, positions=8, codes=32, hidden=HIDDEN, prior=ug.Transformer(8, 32, layers=2, width=64)
        ),
        "labelled": ug.Labelled(ug.VAE(64, 8, context=10, hidden=HIDDEN), hidden=HIDDEN),
    }


def main() -> None:
    """Fit, score and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    data, rows = ug.data.digits(), []
    for name in variants():
        torch.manual_seed(0)
        program = variants()[name]
        x, test = data.train, data.test
        if isinstance(program, ug.Labelled):  # rows of pixels and a label, of which 100 are known
            labels = torch.where(torch.arange(x.shape[0]) < 100, data.train_labels, -1)
            x, test = program.rows(x, labels), program.rows(test)
        ug.fit(program, x, steps=steps, seed=0)
        print(f"{name:13s} {program.formula:55s} {program.log_prob(test).mean()}")
        rows.append(program.sample(12, seed=1)[:, :64])
    figure = ug.plots.image_grid(torch.cat(rows).clamp(0, 1), columns=12)
    figure.savefig("vae_variants.png", dpi=150)


if __name__ == "__main__":
    main()
