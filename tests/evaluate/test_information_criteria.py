"""LOO against its closed form on a conjugate model; refusals of kinds and of point parameters."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from pyro import distributions as dist

from unigen.errors import KindError
from unigen.evaluate.arviz import to_arviz
from unigen.evaluate.information_criteria import compare_loo, loo, waic
from unigen.models.gan import GAN
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.program import Program


class Theta(Program):
    """θ ~ N(0, 1), x_i | θ ~ N(θ, s²), with the exact posterior as its guide."""

    def __init__(self, sd: float = 1.0) -> None:
        super().__init__((1,))
        self.sd = sd

    def model(self, x=None, n=1):
        theta = pyro.sample("theta", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(theta, self.sd).to_event(1), obs=x)

    def guide(self, x):
        precision = 1 + x.shape[0] / self.sd**2
        pyro.sample("theta", dist.Normal(x.sum(0) / self.sd**2 / precision, precision**-0.5).to_event(1))


def exact_loo(x: torch.Tensor) -> float:
    """Σ log p(x_i | x_{−i}) for s = 1: N(mean of the others' posterior, 1 + 1/n)."""
    n = x.shape[0]
    rest = (x.sum() - x) / n  # posterior of n − 1 points has precision n
    return torch.distributions.Normal(rest, math.sqrt(1 + 1 / n)).log_prob(x).sum().item()


def test_loo_and_waic_reach_the_closed_form():
    x = torch.randn(100, 1)
    idata = to_arviz(Theta(), x, samples=1000, seed=0)
    found = loo(idata)
    assert found.elpd_loo == pytest.approx(exact_loo(x), abs=0.3)
    assert float(found.pareto_k.max()) < 0.7
    assert waic(idata).elpd_waic == pytest.approx(exact_loo(x), abs=0.3)
    table = compare_loo({"right": idata, "wrong": to_arviz(Theta(4.0), x, samples=1000, seed=0)})
    assert list(table.index) == ["right", "wrong"]


@pytest.mark.parametrize(
    ("program", "words"),
    [(VAE(3, 2, hidden=(4,)), "lower bound"), (GAN(3), "two-sample"), (PPCA(3, 1), "point")],
)
def test_numbers_that_mean_nothing_are_refused(program, words):
    idata = to_arviz(program, torch.randn(6, 3), samples=3)
    for criterion in (loo, waic):
        with pytest.raises(KindError, match=words):
            criterion(idata)
