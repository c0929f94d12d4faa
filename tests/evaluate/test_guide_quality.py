"""ESS against χ² in closed form, Pareto-k of guides too narrow and too wide, the verdicts."""

from __future__ import annotations

import sys

import pyro
import pytest
import torch
from pyro import distributions as dist

from tests.programs import Conditional, SharedMean, Toy
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.evaluate.guide_quality import guide_quality
from unigen.models.ddpm import DDPM
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE

N = 20


class Guided(Toy):
    """The toy, with posterior N(x/2, ½), under a guide N(x/2 + shift, scale²/2)."""

    def __init__(self, scale: float, shift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def guide(self, x):
        with self.plate(x):
            loc = x / 2 + self.shift
            return pyro.sample("z", dist.Normal(loc, self.scale * 0.5**0.5).to_event(1))


def ones() -> torch.Tensor:
    return torch.ones(N, 1, dtype=torch.float64)


def chi_squared(scale: float, shift: float) -> float:
    """χ²(p‖q) of p = N(0, ½), q = N(m, s²/2): with a = scale², 1 + χ² = a/√(2a − 1) exp(2 m² / (2a − 1))."""
    a = scale**2
    return a / (2 * a - 1) ** 0.5 * torch.tensor(2 * shift**2 / (2 * a - 1)).exp().item() - 1


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1.3, 0.0), (2.0, 0.3), (0.95, 0.1)])
def test_the_effective_sample_size_is_that_of_chi_squared(scale, shift):
    found = guide_quality(Guided(scale, shift), ones(), samples=4000)
    expected = 1 / (1 + chi_squared(scale, shift))
    error = found.efficiency.std() / N**0.5
    assert abs(found.efficiency.mean() - expected) < 5 * error + 1e-3
    assert torch.allclose(found.ess, found.efficiency * 4000)


def test_a_narrow_guide_is_found_out_and_a_wide_one_is_not():
    narrow, wide = (guide_quality(Guided(s), ones(), samples=4000) for s in (0.4, 1.5))
    assert narrow.k.mean().item() == pytest.approx(1 - 0.4**2, abs=0.15)  # index of the tail in closed form
    assert "k >" in narrow.verdict and "AIS" in narrow.verdict
    assert bool((wide.k < 0.5).all()) and "can be trusted" in wide.verdict


def test_an_exact_guide_has_constant_weights():
    program = PPCA(3, 1).double()
    found = guide_quality(program, program.sample(5), samples=50)
    assert torch.allclose(found.efficiency, torch.ones(5).double())
    assert found.k.tolist() == [-torch.inf] * 5
    assert "can be trusted" in str(found)
    assert len(found.plot().axes) == 1


def test_a_seed_reproduces_across_batches(monkeypatch):
    one = guide_quality(Toy(), ones(), samples=100, seed=1)
    assert torch.equal(one.k, guide_quality(Toy(), ones(), samples=100, seed=1).k)
    monkeypatch.setattr(sys.modules["unigen.evaluate.guide_quality"], "BATCH", 300)
    again = guide_quality(Toy(), ones(), samples=100)
    assert again.k.shape == (N,) and one.samples == 100


def test_refusals():
    with pytest.raises(ArgumentError):
        guide_quality(Toy(), ones(), samples=5)
    with pytest.raises(UnsupportedQueryError, match="inside the plate"):
        guide_quality(Conditional(), torch.zeros(2, 2), torch.zeros(2, 3))
    with pytest.raises(UnsupportedQueryError, match="inside the plate"):
        guide_quality(SharedMean(), torch.zeros(2, 1))
    with pytest.raises(UnsupportedQueryError, match="noise"):
        guide_quality(VAE(3, 2, prior=DDPM(2), hidden=(4,)), torch.zeros(2, 3), samples=30)
