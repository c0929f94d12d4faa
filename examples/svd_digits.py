"""Singular values of the digits: eigen-digits, images rebuilt from a few of them, and PPCA's choice of how many.

Top left: the share of the variance along each axis; without centring, the first axis is little but the mean image, and
its large share is no structure of the data. Top right: with a noise variance the spectrum becomes a density, and images
that were held out say how many axes it needs: about 55, the choice of the evidence (Minka), of BIC and of
cross-validation too. What is left is little but the noise by which the grey levels were dequantised. Below: the mean
and the first axes; three images rebuilt.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.decomposition import PCA as ScikitPCA

import unigen as ug
from unigen.evaluate.dimension import held_out
from unigen.plots.images import as_images, mosaic
from unigen.plots.style import COLOURS, GREY, bare, figure, style


def main() -> None:
    """Compare the SVD with PCA, PPCA and scikit-learn, and choose a dimension."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=63, help="largest number of axes on the curve")
    tried = range(1, min(63, parser.parse_args().steps) + 1)
    data = ug.data.digits(dtype=torch.float64)
    x, n = data.train, len(data.train)
    values, raw = (torch.linalg.svdvals(each).square() / n for each in (x - x.mean(0), x))
    pcas, ppca = {q: ug.PCA(64, q).double() for q in (2, 5, 10, 20, 40)}, ug.PPCA(64, 20).double()
    for program in (*pcas.values(), ppca):
        ug.fit(program, x)
    scikit, spread = ScikitPCA().fit(x), values / values.sum()
    lengths = torch.cat([values[:20], values[20:].mean().expand(44)])
    rows = {
        "variance along the first axis": (values[0], scikit.explained_variance_[0] * (n - 1) / n),
        "share of the variance on 20 axes": (pcas[20].explained_variance_ratio.sum(), spread[:20].sum()),
        "‖x − x̂‖² of 20 axes": ((x - pcas[20].reconstruct(x)).square().sum(1).mean(), values[20:].sum()),
        "log p of PPCA, 20 axes": (ppca.log_prob(x).mean().value, -0.5 * (2 * torch.pi * lengths).log().sum() - 32),
        "share of the first axis": (spread[0], scikit.explained_variance_ratio_[0]),
        "   not centred: wrong": (raw[0] / raw.sum(), scikit.explained_variance_ratio_[0]),
    }  # fmt: skip
    likeliest = ScikitPCA("mle").fit(x).n_components_
    for method in ("minka", "bic", "cross-validation"):
        rows[f"axes, by {method}"] = (int(ug.evaluate.choose_latents(x, method)), likeliest)
    for what, (got, expected) in rows.items():
        print(f"{what:34s} {float(got):12.6f}   expected {float(expected):12.6f}")
    curves = {"training images": held_out(x, x, tried), "held-out images": held_out(x, data.test, tried)}

    with style():
        fig = figure(9.0, 6.0)
        (a, b), (c, d) = fig.subplots(2, 2, height_ratios=(1.0, 1.1), width_ratios=(1.0, 1.35))
        a.semilogy(range(1, 65), spread, "o-", ms=2.5, lw=1.0, label="centred: the variance")
        a.semilogy(range(1, 65), raw / raw.sum(), ".", ms=3, color=COLOURS[1], label="not centred: wrong")
        a.set(xlabel="axis", ylabel="share", title="singular values, squared")
        for name, curve in curves.items():
            b.plot(tried, curve, label=name)
        b.axvline(rows["axes, by minka"][0], color=GREY, lw=0.9, ls="--", label="choice by the evidence")
        b.set(xlabel="axes", ylabel="nats an image", title="log p of PPCA")
        axes = pcas[20].components[:14] / pcas[20].components[:14].abs().amax(1, keepdim=True) / 2 + 0.5
        eigen = mosaic(as_images(torch.cat([x.mean(0)[None], axes])), 5)
        c.set_title("the mean, and the first 14 axes")
        columns = torch.stack([x[:3], *(p.reconstruct(x[:3]) for p in pcas.values())], 1)
        for where, picture in ((c, eigen), (d, mosaic(as_images(columns.flatten(0, 1)), 6))):
            bare(where).imshow(picture.numpy(), vmin=0, vmax=1)
        d.set_xticks([4 + 9 * k for k in range(6)], ["image", *(f"{q} axes" for q in pcas)])
        d.tick_params(length=0)
        d.set_title("rebuilt")
        a.legend()
        b.legend()
        fig.savefig("svd_digits.png", dpi=110)


if __name__ == "__main__":
    main()
