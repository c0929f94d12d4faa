"""Coverage of draws whose modes are known by construction."""

from __future__ import annotations

import math

import pytest
import torch

from unigen.data.toy import grid, ring
from unigen.errors import ArgumentError, ShapeError
from unigen.evaluate.mode_coverage import ModeCoverage, mode_coverage
from unigen.inference.fit import fit
from unigen.models.gan import GAN


def test_draws_of_the_mixture_itself_cover_it() -> None:
    toy, n = grid(5, 2.0, 0.05), 4000
    found = mode_coverage(toy.sample((n,)), toy.means, 0.05)
    inside = 1 - math.exp(-4.5)  # of a Gaussian in two dimensions within 3 sd
    assert found.recovered == found.modes == 25 and not found.collapsed
    assert abs(found.high_quality - inside) < 5 * math.sqrt(inside * (1 - inside) / n)
    assert abs(2 * n * found.divergence - 24) < 6 * math.sqrt(
        48
    )  # twice n KL is χ² with K − 1 degrees of freedom


def test_lost_modes_and_poor_draws_are_seen() -> None:
    toy = ring(8, 2.0, 0.1)
    kept = toy.means[:3].repeat(100, 1)
    found = mode_coverage(kept, toy.means, 0.1)
    assert (found.recovered, found.high_quality, found.collapsed) == (3, 1.0, True)
    assert found.divergence == pytest.approx(math.log(8 / 3))
    assert found.counts.tolist() == [100, 100, 100, 0, 0, 0, 0, 0]
    half = torch.cat([kept, kept + 0.35])  # 0.35 √2 is further than 3 sd
    assert mode_coverage(half, toy.means, 0.1).high_quality == 0.5
    assert mode_coverage(kept[:4], toy.means, 0.1, least=2).recovered == 1
    uneven = torch.tensor([5.0, 5.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert mode_coverage(kept, toy.means, 0.1, uneven).divergence == pytest.approx(math.log(4 / 3))
    assert "3 of 8 modes" in str(found)


def test_the_callback_writes_curves_and_leaves_the_run_alone() -> None:
    toy = ring()
    x = toy.sample((64,)).float()
    watch = ModeCoverage(toy.means, 0.1, every=2, draws=100)
    torch.manual_seed(0)
    one, two = GAN(2, 2, hidden=(4,)), GAN(2, 2, hidden=(4,))
    two.load_state_dict(one.state_dict())
    record = fit(one, x, steps=5, seed=1, callbacks=[watch], progress=False)
    fit(two, x, steps=5, seed=1, progress=False)
    assert [step for step, _ in record.history["modes"]] == [2, 4]
    assert set(record.history) == {"critic", "generator", "modes", "high quality", "mode divergence"}
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert watch.last is not None and watch.last.draws == 100
    assert watch.last.plot().axes[0].get_ylabel() == "draws of high quality"


def test_bad_arguments_are_refused() -> None:
    centres, x = torch.zeros(3, 2), torch.zeros(4, 2)
    with pytest.raises(ShapeError, match=r"\(K, D\)"):
        mode_coverage(x, torch.zeros(3), 0.1)
    with pytest.raises(ShapeError, match=r"\(N, 2\)"):
        mode_coverage(torch.zeros(4, 3), centres, 0.1)
    for make in (
        lambda: mode_coverage(x, centres, 0.0),
        lambda: mode_coverage(x, centres, 0.1, least=0),
        lambda: mode_coverage(x, centres, 0.1, torch.zeros(3)),
        lambda: mode_coverage(x, centres, 0.1, torch.ones(2)),
        lambda: ModeCoverage(centres, -1.0),
        lambda: ModeCoverage(centres, 0.1, every=0),
        lambda: ModeCoverage(centres, 0.1, draws=0),
    ):
        with pytest.raises(ArgumentError, match="expected"):
            make()
