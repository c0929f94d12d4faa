"""Collapse iff λ_i < βσ² on the spectrum (4, 2, 1, ½, ½); activities in closed form."""

from __future__ import annotations

import pytest
import torch

from tests.problems import SPECTRUM, ppca_log_likelihood, spectrum_data
from unigen.errors import ArgumentError, EmptyDataError
from unigen.evaluate.active_units import active_units, linear_active
from unigen.models.ppca import PPCA

CASES = [(0.75, 3, -7.513398), (1.5, 2, -7.909278), (3.0, 1, -8.651731), (5.0, 0, -9.418287)]


def optimum(noise: float) -> tuple[PPCA, torch.Tensor]:
    """PPCA with three latents at its optimum for a given σ²."""
    program, x = PPCA(5, 3).double(), spectrum_data()
    lam = torch.tensor(SPECTRUM[:3]).double()
    weight = torch.eye(5, 3).double() * (lam - noise).clamp_min(0).sqrt()
    program.write(weight, torch.zeros(5).double(), torch.tensor(noise).double())
    return program, x


@pytest.mark.parametrize(("noise", "count", "likelihood"), CASES)
def test_latents_collapse_below_the_noise(noise, count, likelihood):
    program, x = optimum(noise)
    found = active_units(program, x, noise=noise)
    assert program.log_prob(x).mean().value == pytest.approx(likelihood, abs=1e-6)
    assert ppca_log_likelihood(SPECTRUM, 3, noise) == pytest.approx(likelihood, abs=1e-6)
    assert int(found.active.sum()) == found.expected == linear_active(x, noise, latents=3) == count
    assert found.active.tolist() == [lam > noise for lam in SPECTRUM[:3]]
    assert found.collapsed.tolist() == (~found.active).tolist()
    lam = torch.tensor(SPECTRUM[:3]).double()
    ratio = (noise / lam).clamp(max=1.0)  # posterior variance; the means' variance is the rest
    assert torch.allclose(found.activity, 1 - ratio)
    assert torch.allclose(found.kl, -0.5 * ratio.log())  # ½ log(λ/σ²)
    assert found.exact


def test_beta_moves_the_threshold():
    assert [linear_active(spectrum_data(), 0.75, beta=beta) for beta in (0.5, 1, 2, 4, 8)] == [5, 3, 2, 1, 0]
    assert linear_active(spectrum_data(), 0.4, latents=3) == 3


def test_the_report_and_the_figure():
    program, x = optimum(1.5)
    found = active_units(program, x, noise=1.5)
    text = str(found)
    assert (
        "2 of 3 latent dimensions active" in text
        and "uses 2" in text
        and "z[2]" in text
        and "collapsed" in text
    )
    heights = [bar.get_height() for bar in found.plot().axes[0].patches]  # pyright: ignore
    assert heights == sorted(found.kl.tolist(), reverse=True)


def test_refusals():
    program, x = optimum(1.5)
    with pytest.raises(EmptyDataError):
        active_units(program, x[:1])
    for noise, beta in ((0.0, 1.0), (1.0, -1.0)):
        with pytest.raises(ArgumentError):
            linear_active(x, noise, beta=beta)
    with pytest.raises(EmptyDataError):
        linear_active(x[:1], 1.0)
