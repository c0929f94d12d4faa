from __future__ import annotations

import math

import pytest
import torch

from unigen.data.dequantise import Dequantise
from unigen.errors import ArgumentError, DTypeError, ShapeError, SupportError
from unigen.logprob import Kind, LogProb


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("u", [0.0, 0.5, 1.0])
def test_integers_are_recovered_exactly_even_at_the_ends_of_the_noise(levels, dtype, u) -> None:
    dequantise = Dequantise(levels)
    k = torch.arange(levels, dtype=dtype)
    y = dequantise(k, noise=torch.full((levels,), u, dtype=dtype))
    assert y.dtype == dtype
    assert y.min() > 0
    assert y.max() < 1
    assert torch.equal(dequantise.inverse(y), k)


def test_equals_the_formula_by_hand_and_noise_is_uniform() -> None:
    dequantise = Dequantise(17)
    y = dequantise(torch.tensor([0.0, 3.0, 16.0]), noise=torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(y, torch.tensor([0.25 / 17, 3.5 / 17, 16.75 / 17]))
    k = torch.randint(0, 17, (200_000,))
    u = (17 * dequantise(k).double() - k).sort().values
    n = u.shape[0]
    kolmogorov = (u - (torch.arange(n) + 0.5) / n).abs().max() * math.sqrt(n)
    assert kolmogorov < 2.7  # P = 9e-7


def test_log_mass_and_bits_per_dim_by_hand() -> None:
    dequantise = Dequantise(17)
    log_p, dims = 48.7, 64
    nats = 48.7 - 64 * 2.833213344056216  # log 17
    assert dequantise.log_mass(log_p, dims) == pytest.approx(nats, abs=1e-10)
    bits = -nats / (64 * 0.6931471805599453)
    assert dequantise.bits_per_dim(log_p, dims) == pytest.approx(bits, abs=1e-12)
    assert bits == pytest.approx(132.625654 / 44.361420, abs=1e-7)
    torch.testing.assert_close(
        dequantise.bits_per_dim(torch.tensor([48.7, 0.0]), 64),
        torch.tensor([bits, math.log2(17)]),
        atol=1e-6,
        rtol=0,
    )


def test_agrees_with_the_bits_per_dim_of_log_prob() -> None:
    log_p = torch.tensor([10.0, 12.0], dtype=torch.float64)
    mean = LogProb(log_p, Kind.EXACT, dims=8).bits_per_dim(levels=17)
    assert float(mean) == pytest.approx(float(Dequantise(17).bits_per_dim(log_p, 8).mean()), abs=1e-12)


def test_bounds_the_exact_mass_of_a_gaussian_from_below() -> None:
    """For y ~ N(.4, .1²), P(k) = Φ((k + 1) / L) − Φ(k / L); the gap of the bound is Jensen's, small where p is flat."""
    dequantise = Dequantise(17)
    normal = torch.distributions.Normal(torch.tensor(0.4).double(), torch.tensor(0.1).double())
    k = torch.arange(17, dtype=torch.float64)
    exact = (normal.cdf((k + 1) / 17) - normal.cdf(k / 17)).log()
    u = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    log_p = normal.log_prob(dequantise(k[:, None].expand(17, 4000), noise=u.expand(17, 4000)))
    bound = dequantise.log_mass(log_p, 1).mean(-1)
    assert (bound <= exact + 1e-9).all()
    estimate = torch.logsumexp(dequantise.log_mass(log_p, 1), -1) - math.log(4000)
    torch.testing.assert_close(estimate, exact, atol=1e-4, rtol=0)
    torch.testing.assert_close(bound[6:8], exact[6:8], atol=0.05, rtol=0)


def test_fresh_noise_keeps_the_image_and_a_generator_repeats_it() -> None:
    dequantise = Dequantise(17)
    k = torch.randint(0, 17, (50, 8)).float()
    y = dequantise(k)
    again = dequantise.fresh(y)
    assert torch.equal(dequantise.inverse(again), k)
    assert not torch.equal(again, y)
    seeded = [dequantise(k, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*seeded)


def test_draws_outside_the_unit_interval_become_images() -> None:
    assert Dequantise(17).inverse(torch.tensor([-0.3, 1.0, 1.7])).tolist() == [0.0, 16.0, 16.0]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ArgumentError):
        Dequantise(1)
    with pytest.raises(ShapeError):
        Dequantise(17)(torch.zeros(3), noise=torch.zeros(2))
    with pytest.raises(DTypeError):
        Dequantise(17).inverse(torch.zeros(3, dtype=torch.long))
    for bad in (torch.tensor([0.5]), torch.tensor([17]), torch.tensor([-1.0]), torch.tensor([math.nan])):
        with pytest.raises(SupportError, match="integers 0 … 16"):
            Dequantise(17).check(bad)
    assert Dequantise(17).check(torch.tensor([0, 16])).tolist() == [0, 16]
