"""R̂, ESS and acceptance of chains, through ArviZ."""

from __future__ import annotations

import arviz
import numpy as np
import pytest
import torch

import unigen as ug
from unigen.errors import UnsupportedQueryError
from unigen.evaluate.convergence import convergence


def quadratic(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x.square().sum(-1)


def test_the_worst_of_arviz_numbers_is_reported():
    draws = ug.mcmc(quadratic, 3, engine=ug.HMC(chains=4, draws=200, warmup=100, compile=False), seed=0)
    data = ug.to_arviz(draws)
    assert dict(data["posterior"]["x"].sizes) == {"chain": 4, "draw": 200, "x_dim_0": 3}
    assert data["sample_stats"]["acceptance_rate"].shape == (4, 200)
    found, x = convergence(draws), draws["x"].numpy()
    assert found.r_hat == pytest.approx(max(arviz.rhat(x[..., d]) for d in range(3)), rel=1e-6)
    assert found.ess_bulk == pytest.approx(min(arviz.ess(x[..., d]) for d in range(3)), rel=1e-6)
    assert found.acceptance == pytest.approx(float(np.mean(draws.statistics["acceptance_rate"].numpy())))
    assert found.r_hat < 1.1 and "acceptance" in str(found)


def test_chains_in_different_modes_are_not_trusted():
    starts = torch.tensor([[-8.0], [-8.0], [8.0], [8.0]])
    draws = ug.mcmc(
        lambda x: -torch.logaddexp(-quadratic(x - 8), -quadratic(x + 8)), 1,
        engine=ug.MALA(chains=4, draws=60, warmup=40), starts=starts, seed=0,
    )  # fmt: skip
    found = convergence(draws)
    assert found.r_hat > 1.5 and not found.trusted


def test_too_little_to_compare_is_refused():
    with pytest.raises(UnsupportedQueryError, match="compares chains"):
        convergence(ug.mcmc(quadratic, 1, engine=ug.HMC(chains=1, draws=9, warmup=2), seed=0))
