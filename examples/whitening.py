"""Whitening: coordinates without correlation, and why the latents of PPCA and of a VAE are white.

Top: a cloud; standardised feature by feature, which leaves the correlation (wrong); whitened along its axes, where the
dashed ellipse, its covariance, is the unit circle; and turned back to the features (ZCA), where it stays one. Below:
covariances over the digits. What PPCA's posteriors say of all digits together, by their means and by their spread, has
the covariance of the prior, I; the means alone have less, 1 − σ²/λ. A VAE comes as near as its training and its family
of posteriors let it.
"""

from __future__ import annotations

import argparse

import torch

import unigen as ug
from unigen.plots.style import COLOURS, bare, figure, style


def main() -> None:
    """Whiten a cloud and the digits, and compare covariances of latents with I."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    cloud = torch.randn(500, 2).double() @ torch.tensor([[1.6, 1.0], [0.0, 0.6]]).double()
    data = ug.data.digits()
    x, plane, pca, ppca = data.train.double(), ug.PCA(2, 2), ug.PCA(64, 8), ug.PPCA(64, 8)
    for program, given in ((plane, cloud), (pca, x), (ppca, x)):
        ug.fit(program.double(), given)
    vae, linear = ug.VAE(64, 8, hidden=(128,)), ug.convert(ppca, to="VAE")
    ug.fit(vae, data, steps=steps, seed=0)
    white, centred = plane.whiten(cloud), cloud - cloud.mean(0)
    panels = {"data": centred, "standardised: not white": centred / centred.std(0, correction=0), "whitened": white,
              "turned back: ZCA": white @ plane.components}  # fmt: skip
    covariances = {
        "raw: uᵀ(x − μ)": torch.cov(pca.encode(x).T, correction=0),
        "PCA, whitened": torch.cov(pca.whiten(x).T, correction=0),
        "PPCA, means alone": torch.cov(ppca.encode(x).T, correction=0),
        "PPCA, posterior": ug.evaluate.whiteness(ppca, x).covariance,
        "VAE, posterior": ug.evaluate.whiteness(vae, data.train, seed=0).covariance,
    }
    short = covariances["PPCA, means alone"].diagonal().min()
    u = torch.linalg.svd(centred, full_matrices=False)[0]
    rows = {
        "cloud, whitened: largest variance": (white.var(0, correction=0).max(), 1.0),
        "   by (x − μ)VΣ⁻¹ without √N: wrong": (u.square().mean(0).max(), 1.0),
        "cloud, whitened: correlation": (torch.corrcoef(white.T)[0, 1], 0.0),
        "   standardised only: wrong": (torch.corrcoef(cloud.T)[0, 1], 0.0),
        "PPCA, smallest variance of a mean": (short, 1 - pca.residual_variance / 56 / pca.explained_variance[-1]),
        "its linear VAE, largest |covariance − I|": (ug.evaluate.whiteness(linear, x).distance, 0.0),
    }  # fmt: skip
    for name in ("PCA, whitened", "PPCA, posterior", "VAE, posterior"):  # the last at its optimum
        rows[f"{name}, largest |covariance − I|"] = ((covariances[name] - torch.eye(8)).abs().max(), 0.0)
    for what, (got, expected) in rows.items():
        print(f"{what:46s} {float(got):10.6f}   expected {float(expected):9.6f}")

    with style():
        fig, angle = figure(9.0, 4.8), torch.linspace(0, 2 * torch.pi, 100).double()
        top, bottom = fig.subfigures(2, 1, height_ratios=(1.35, 1))
        for axes, (title, points) in zip(top.subplots(1, 4), panels.items(), strict=True):
            axes.plot(*points.T, ".", ms=2, alpha=0.6)
            factor = torch.linalg.cholesky(torch.cov(points.T, correction=0))
            circle = factor @ torch.stack([angle.cos(), angle.sin()])
            axes.plot(*circle, "--", color=COLOURS[1], label="covariance")
            axes.set(title=title, xlim=(-4, 4), ylim=(-4, 4), xlabel="$x_1$", ylabel="$x_2$", aspect=1)
            axes.legend(loc="lower right")
        for axes, (title, matrix) in zip(bottom.subplots(1, 5), covariances.items(), strict=True):
            shown = axes.imshow(matrix.numpy(), vmin=-1, vmax=1, cmap="RdBu_r")
            bare(axes).set_title(title)
        bottom.colorbar(shown, ax=bottom.axes, label="covariance")
        fig.savefig("whitening.png", dpi=110)


if __name__ == "__main__":
    main()
