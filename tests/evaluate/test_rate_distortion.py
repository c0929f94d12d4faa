"""Rate and distortion of PPCA in closed form, β-VAEs' along the sweep, kinds."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from tests.problems import SPECTRUM, ppca_log_likelihood, spectrum_data
from tests.programs import Conditional, Nested, SharedMean
from unigen.errors import ArgumentError, EmptyDataError, KindError, UnsupportedQueryError
from unigen.evaluate.rate_distortion import rate_distortion, rate_distortion_curve
from unigen.models.ddpm import DDPM
from unigen.models.energy import EnergyModel
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE


def at(noise: float, latents: int = 2) -> PPCA:
    """PPCA of the spectrum at the best W for σ² = ``noise``: where a linear β-VAE with σ₀² ends, noise = βσ₀²."""
    program = PPCA(5, latents).double()
    lam = torch.tensor(SPECTRUM[:latents]).double()
    weight = torch.eye(5, latents).double() * (lam - noise).clamp_min(0).sqrt()
    program.write(weight, torch.zeros(5).double(), torch.tensor(noise).double())
    return program


def test_ppca_has_rate_half_log_of_the_ratio_and_the_rest_is_distortion():
    """σ² = 2/3: rate ½ Σ log(λ/σ²) = 1.445186, log-likelihood −7.526216, distortion their sum."""
    found = rate_distortion(at(2 / 3), spectrum_data(), samples=4000)
    rate, distortion = found.means
    assert sum(0.5 * math.log(lam * 1.5) for lam in (4, 2)) == pytest.approx(1.445186, abs=1e-6)
    noise = 2 / (10 * 4000) ** 0.5  # each draw's log q/p has a standard deviation below 2
    assert abs(rate - 1.445186) < 5 * noise
    assert abs(distortion - (7.526216 - 1.445186)) < 5 * noise
    assert found.elbo == pytest.approx(ppca_log_likelihood(SPECTRUM, 2), abs=1e-9)  # at every draw
    assert found.kind.value == "exact" and "nats" in str(found)


def test_the_curve_falls_and_stays_above_the_entropy():
    """Optima at σ² = .75 … 5: rates in closed form, R + D = −log-likelihood ≥ H."""
    entropy = 0.5 * sum(math.log(2 * math.pi * math.e * lam) for lam in SPECTRUM)
    curve = rate_distortion_curve(
        at, spectrum_data(), betas=(0.75, 1.5, 3.0, 5.0), entropy=entropy, samples=500, seed=0
    )
    for noise, point in curve.points.items():
        expected = sum(0.5 * math.log(max(lam / noise, 1.0)) for lam in SPECTRUM[:2])
        assert abs(point.means[0] - expected) < 5 * 2 / (10 * 500) ** 0.5
        assert point.elbo == pytest.approx(ppca_log_likelihood(SPECTRUM, 2, noise), abs=1e-9)
        assert -point.elbo > entropy
    rates = [curve.points[beta].means[0] for beta in sorted(curve.points)]
    assert rates == sorted(rates, reverse=True) and abs(rates[-1]) < 1e-9
    axes = curve.plot().axes[0]
    assert len(axes.texts) == 4 and axes.get_legend() is not None
    assert str(curve).count("β=") == 4


def test_given_programs_and_inner_plates_and_chunks(monkeypatch):
    program, x = Nested(), torch.randn(10, 3)
    one = rate_distortion_curve({1.0: program}, x, samples=64, seed=0).points[1.0]
    monkeypatch.setattr(sys.modules["unigen.evaluate.rate_distortion"], "BATCH", 128)
    two = rate_distortion(program, x, samples=64, seed=0)
    assert one.rate.shape == two.rate.shape == (10,)
    assert abs(one.elbo - two.elbo) < 1.0


def test_kinds_and_refusals():
    x = torch.randn(4, 3)
    bounded = rate_distortion(VAE(3, 2, hidden=(4,), prior=DDPM(2)), x, samples=2)
    assert bounded.kind.value == "upper bound"
    with pytest.raises(KindError, match="log Z"):
        rate_distortion(VAE(3, 2, hidden=(4,), prior=EnergyModel(2, hidden=(4,))), x)
    with pytest.raises(UnsupportedQueryError):
        rate_distortion(SharedMean(), x[:, :1])
    with pytest.raises(UnsupportedQueryError):
        rate_distortion(Conditional(), x[:, :2], x)
    with pytest.raises(ArgumentError):
        rate_distortion(VAE(3, 2, hidden=(4,)), x, samples=0)
    with pytest.raises(EmptyDataError):
        rate_distortion(VAE(3, 2, hidden=(4,)), x[:1])
    with pytest.raises(ArgumentError, match="β"):
        rate_distortion_curve({}, x)
