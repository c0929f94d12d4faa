"""Automatic relevance determination against its stationary equation, the closed form and the rank of the data."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

import unigen as ug
from unigen.distributions.principal import principal_axes
from unigen.errors import ArgumentError, NoDensityError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.objectives.ard import ARD, mean_variance
from unigen.objectives.likelihood import EM, ClosedForm

N, D, RANK, LATENTS = 1000, 100, 3, 8


def data() -> torch.Tensor:
    """Draws of a rank-3 PPCA, σ = 1, whose directions have variances of about 50, 30 and 20.

    With c = D/N = 0.1 a direction of noise survives only above (√c + √(1 + c))² = 1.86; the largest eigenvalue of the
    noise is 1.73 with a standard deviation of 0.03 (Tracy–Widom).
    """
    u = torch.linalg.qr(torch.randn(D, RANK).double()).Q * torch.tensor([50.0, 30.0, 20.0]).sqrt()
    return torch.randn(N, RANK).double() @ u.mT + torch.randn(N, D).double() + 2.0


def fitted(x: torch.Tensor, program: Any = None) -> tuple[Any, list[float]]:
    program = (PPCA(D, LATENTS) if program is None else program).double()
    record = ug.fit(program, x, objective=ARD(), steps=400, progress=False)
    return program, [value for _, value in record.history["ard"]]


def test_the_rank_of_the_data_is_found_and_the_price_paid():
    x = data()
    program, losses = fitted(x)
    assert all(b <= a + 1e-10 for a, b in pairwise(losses))
    relevant = ARD().relevant(program)
    assert int(relevant.sum()) == RANK
    best = PPCA(D, RANK).double()
    best.solve(x)
    # the closed form with three latents, the others zero, is a point that the objective of ARD could have chosen
    epsilon = ARD().floor * mean_variance(x)
    padded = torch.cat([best.weight, torch.zeros(D, LATENTS - RANK).double()], 1)
    paid = ARD().price(padded, epsilon, N) - ARD().price(program.weight, epsilon, N)
    lost = best.log_prob(x).mean().value - program.log_prob(x).mean().value
    assert 0 <= lost <= paid.item() + 1e-9
    # each length shrinks by about 1 + c, so that the price is D/2N Σ log(1 + c) and a little more
    assert paid.item() < D / (2 * N) * RANK * (math.log1p(D / N) + 0.05)


def test_the_kept_directions_solve_the_stationary_equation():
    """(1 + c) s² + (σ²(1 + 2c) − λ) s + cσ⁴ = 0, c = D/N, the larger root, from d/ds of the objective along an axis."""
    x = data()
    program, _ = fitted(x)
    player = ARD().players(program)[0]
    assert player.update is not None
    for _ in range(200):  # beyond where fit stops: the longest direction converges slowest
        player.update(x, None)
    lengths = program.weight.detach().square().sum(0).sort(descending=True).values[:RANK]
    values, v, c = principal_axes(x)[1][:RANK], program.variance.item(), D / N
    b = v * (1 + 2 * c) - values
    root = (-b + (b.square() - 4 * (1 + c) * c * v * v).sqrt()) / (2 * (1 + c))
    assert torch.allclose(lengths, root, rtol=1e-4)


def test_directions_of_noise_alone_are_all_dropped():
    program, _ = fitted(torch.randn(N, D).double())
    assert int(ARD().relevant(program).sum()) == 0
    assert program.log_prob(torch.randn(5, D)).value.isfinite().all()


def test_factor_analysis_finds_the_rank_and_a_stationary_point():
    x = data() * torch.linspace(0.7, 1.4, D).double()
    program, losses = fitted(x, FactorAnalysis(D, LATENTS))
    assert all(b <= a + 1e-9 for a, b in pairwise(losses))
    relevant = ARD().relevant(program)
    assert int(relevant.sum()) == RANK
    player = ARD().players(program)[0]
    assert player.update is not None
    for _ in range(300):
        player.update(x, None)
    price = ARD().price(program.weight, ARD().floor * mean_variance(x), N)
    (own,) = torch.autograd.grad(price, program.weight)
    (whole,) = torch.autograd.grad(player.loss(x, None), program.weight)
    assert (own + whole)[:, relevant].norm() < 1e-3 * own[:, relevant].norm()


def test_missing_entries():
    x = data()
    x[torch.rand(x.shape) < 0.1] = torch.nan
    program, losses = fitted(x, PPCA(D, 5, missing=True))
    assert all(b <= a + 1e-10 for a, b in pairwise(losses))
    assert int(ARD().relevant(program).sum()) == RANK


def test_refusals_and_files(tmp_path):
    with pytest.raises(ArgumentError, match="floor"):
        ARD(floor=0.0)
    with pytest.raises(NoDensityError, match="PPCA"):
        ARD().players(GaussianMixture(2, 2))
    program = ug.load(ug.save(PPCA(3, 1, objective=ARD(1e-10)), tmp_path / "a.safetensors"))
    assert isinstance(program.objective, ARD) and program.objective.floor == 1e-10
    assert mean_variance(torch.ones(3, 2)) == 1


def test_closed_form_em_and_gradients_agree_on_digits():
    """PPCA is trained four ways: closed form, EM, SVI here, ARD above; 10⁻³ nats an example apart at most."""
    x = ug.data.digits().train
    values = []
    for objective, options in (
        (ClosedForm(), {}),
        (EM(), {"steps": 300}),
        (ug.ELBO(), {"steps": 200, "batch_size": 2000, "lr": 0.05, "schedule": ug.Cosine(warmup=10)}),
    ):
        ppca = PPCA(64, 2, objective=objective)
        ug.fit(ppca, x, progress=False, **options)
        values.append(ppca.log_prob(x).mean().value)
    assert values[1] == pytest.approx(values[0], abs=1e-3)
    assert values[2] == pytest.approx(values[0], abs=1e-3)
