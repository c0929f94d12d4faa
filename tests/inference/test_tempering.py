"""Parallel tempering: modes in their right shares, where one chain stays in the mode it began in."""

from __future__ import annotations

import pytest
import torch

from unigen.dynamics.nuts import Point
from unigen.errors import ArgumentError
from unigen.inference.markov import HMC
from unigen.inference.mcmc import mcmc
from unigen.inference.tempering import Tempering, swapped

SHARE = 0.25  # of the mode at −4


def two_modes(x: torch.Tensor) -> torch.Tensor:
    """¼ N(−4, .5²) + ¾ N(4, .5²)."""
    weights = torch.tensor([SHARE, 1 - SHARE]).log()
    ends = torch.stack([-0.5 * ((x[..., 0] - s) / 0.5).square() for s in (-4.0, 4.0)], -1)
    return -(ends + weights).logsumexp(-1)


def test_modes_are_mixed_where_one_chain_does_not():
    chains, starts = 60, torch.full((60, 1), -4.0)
    alone = mcmc(two_modes, 1, engine=HMC(chains, 100, 50, compile=False), starts=starts, seed=1)["x"]
    assert float((alone < 0).float().mean()) > 0.9  # of ¼; some cross while the step size is learned
    engine = Tempering(chains, 400, 150, temperatures=7, hottest=60.0, leaps=4, compile=False)
    draws = mcmc(two_modes, 1, engine=engine, starts=starts, seed=int(torch.randint(9999, ())))
    left = (draws["x"][..., 0] < 0).float().mean(1)
    error = float(left.std() / chains**0.5)
    assert error < 0.04 and abs(float(left.mean()) - SHARE) < 5 * error
    assert float(draws.statistics["swap_rate"].mean()) > 0.2
    right = draws["x"][draws["x"] > 0]
    assert abs(float(right.std()) - 0.5) < 0.03  # the cold chain is at temperature one


def test_the_cold_chain_of_a_gaussian_is_unbiased():
    engine = Tempering(1500, 60, 60, temperatures=3, hottest=4.0, leaps=3, compile=False)
    x = mcmc(lambda x: 0.5 * x.square().sum(-1), 1, engine=engine, seed=int(torch.randint(9999, ())))["x"]
    each = x.square().mean((1, 2))
    error = float(each.std() / 1500**0.5)
    assert error < 0.01 and abs(float(each.mean()) - 1) < 5 * error


@pytest.mark.parametrize("parity", [0, 1])
def test_swaps_exchange_neighbours_and_their_energies(parity):
    beta = torch.tensor([1.0, 0.5, 0.25]).repeat(2)
    raw = torch.tensor([9.0, 5.0, 1.0, 1.0, 5.0, 9.0])
    at = Point(raw[:, None].clone(), beta * raw, beta[:, None] * raw[:, None])
    # chain 0 has its low energies in hot rungs, so swaps are certain; chain 1 the reverse, and u = .99 refuses
    end, rate = swapped(at, beta, 3, parity, torch.full((6,), 0.99))
    first = [5.0, 9.0, 1.0] if parity == 0 else [9.0, 1.0, 5.0]
    assert end.q[:, 0].tolist() == [*first, 1.0, 5.0, 9.0]
    torch.testing.assert_close(end.potential, beta * end.q[:, 0])
    torch.testing.assert_close(end.gradient[:, 0], beta * end.q[:, 0])
    gap = (0.5 if parity == 0 else 0.25) * -4.0
    torch.testing.assert_close(rate, torch.tensor([1.0, gap]).exp().clamp(max=1.0))


def test_bad_settings_are_refused():
    for bad in ({"temperatures": 1}, {"chains": 0}, {"hottest": 1.0}, {"target": 1.0}, {"leaps": 0}):
        with pytest.raises(ArgumentError, match=next(iter(bad))):
            Tempering(**bad)
