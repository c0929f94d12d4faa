"""Data sets, baselines and models of ``benchmarks.density``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

import unigen as ug
from unigen.data import toy
from unigen.data.binarised_mnist import binarised_mnist
from unigen.data.dataset import Dataset
from unigen.data.digits import digits
from unigen.distributions.mixture_of_orders import MixtureOfOrders
from unigen.distributions.orders import scan_orders
from unigen.evaluate.baselines import chow_liu, gaussian_tree, shrunk_gaussian
from unigen.logprob import Kind, LogProb
from unigen.program import Program
from unigen.queries import evaluating
from unigen.study.catalogue import entry

Scores = dict[str, LogProb]
DIGITS = ("PPCA", "Factor analysis", "Gaussian mixture", "RealNVP", "NSF", "MAF", "MADE")


def score(program: Program, name: str, x: Tensor) -> Scores:
    """Return the program's own log-likelihood."""
    return {name: program.log_prob(x)}


def score_orders(program: Program, name: str, x: Tensor) -> Scores:
    """Return the log-likelihood under each order, and of their mixture."""
    density = program.marginal()
    assert isinstance(density, MixtureOfOrders)
    with evaluating(program), torch.no_grad():
        each = [
            torch.cat([density.log_prob_given(rows, m) for rows in x.split(1000)])
            for m in range(density.orders)
        ]
    single = {
        f"{name}, order {m + 1} alone": LogProb(v, Kind.EXACT, dims=x.shape[1]) for m, v in enumerate(each)
    }
    return single | {f"{name}, ensemble of its {density.orders} orders": program.log_prob(x)}


@dataclass(frozen=True)
class Model:
    """How one program is built, trained and scored.

    Args:
        name: Title of the row.
        build: Constructs the program for D features.
        fit: Options of ``fit`` that differ from the family's recipe.
        score: Turns the fitted program into rows.
        integers: Levels L, where it is a model of the integers k and not of y = (k + u) / L.
    """

    name: str
    build: Callable[[int], Program]
    fit: Mapping[str, Any] = field(default_factory=dict)
    score: Callable[[Program, str, Tensor], Scores] = score
    integers: int = 1


@dataclass(frozen=True)
class Problem:
    """One data set, its baselines and the models that are fitted to it."""

    data: Dataset
    baselines: Mapping[str, Callable[[Tensor], Any]]
    models: tuple[Model, ...]
    integers: Dataset | None = None
    truth: Callable[[Tensor], Tensor] | None = None

    def source(self, model: Model) -> Dataset:
        """Return what a model is fitted to: the data, or the integers they were made from."""
        return self.data if model.integers == 1 or self.integers is None else self.integers


REAL = {"shrunk full-covariance Gaussian": shrunk_gaussian, "Chow–Liu tree of Gaussians": gaussian_tree}
MIXTURE = ug.MixtureOfGaussians(8)
TOY_MODELS = (
    Model("PPCA", lambda d: ug.PPCA(d, latents=1)),
    Model("Factor analysis", lambda d: ug.FactorAnalysis(d, latents=1)),
    Model("Gaussian mixture", lambda d: ug.GaussianMixture(d, components=20)),
    Model("RealNVP", lambda d: ug.RealNVP(d)),
    Model("NSF", lambda d: ug.NSF(d)),
    Model("MAF", lambda d: ug.MAF(d)),
    Model("MADE, 8 Gaussians", lambda d: ug.MADE(d, likelihood=MIXTURE)),
    Model("MADE, 8 logistics", lambda d: ug.MADE(d, likelihood=ug.MixtureOfLogistics(8))),
    Model("MADE, 2 orders", lambda d: ug.MADE(d, likelihood=MIXTURE, orders=2), score=score_orders),
)


def toy_problem(distribution: toy.Toy) -> Problem:
    """Return a toy set, whose true density is known."""
    return Problem(distribution.dataset(), REAL, TOY_MODELS, truth=distribution.log_prob)


def digits_problem() -> Problem:
    """Return the digits: rows of the study, and MADE on the integers themselves."""
    of_study = tuple(Model(name, entry(name).build, entry(name).fit) for name in DIGITS)
    options = {"steps": 1500, "batch_size": 64, "lr": 2e-3}
    orders = scan_orders(8, 8, 8)
    levels = partial(ug.MixtureOfLogistics, levels=17)
    mine = (
        Model("MADE, 5 Gaussians", lambda d: ug.MADE(d, likelihood=ug.MixtureOfGaussians(5)), options),
        Model(
            "MADE on integers, 5 logistics",
            lambda d: ug.MADE(d, likelihood=levels(5), hidden=(512,), dropout=0.2, direct=True),
            options, integers=17,
        ),
        Model(
            "MADE on integers, 8 scans",
            lambda d: ug.MADE(d, likelihood=levels(5), hidden=(512,), orders=orders, dropout=0.1, direct=True),
            options | {"steps": 6000}, score_orders, integers=17,
        ),
    )  # fmt: skip
    return Problem(digits(), REAL, of_study + mine, integers=digits(dequantise=False))


def mnist_problem(data_dir: str | None) -> Problem:
    """Return MNIST under the fixed binarisation: a MADE over the raster scan and its reverse."""
    made = Model(
        "MADE, 1,000 units",
        lambda d: ug.MADE(
            d, likelihood=ug.Bernoulli(), hidden=(1000,), orders=scan_orders(28, 28, 2), dropout=0.35, direct=True
        ),
        {
            "epochs": 50, "lr": 4e-3, "schedule": ug.Cosine(warmup=200), "clip": 20.0, "compile": True,
            "optimizer": partial(torch.optim.AdamW, weight_decay=0.1),
        },
        score_orders,
    )  # fmt: skip
    return Problem(binarised_mnist(data_dir), {"Chow–Liu tree": chow_liu}, (made,))


def problems(data_dir: str | None) -> dict[str, Callable[[], Problem]]:
    """Return how each data set is made, by name."""
    return {
        "two-moons": lambda: toy_problem(toy.two_moons()),
        "pinwheel": lambda: toy_problem(toy.pinwheel()),
        "ring": lambda: toy_problem(toy.ring()),
        "digits": digits_problem,
        "binarised-mnist": lambda: mnist_problem(data_dir),
    }
