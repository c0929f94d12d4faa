"""Sliced score matching: all sign vectors one by one give the divergence; their noise, gradients, images, refusals."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.energies import Scaled
from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import ArgumentError, NoDensityError, UnsupportedQueryError
from unigen.models.energy import EnergyModel
from unigen.models.potential import Potential
from unigen.models.vae import VAE
from unigen.nn.tilt import Tilt
from unigen.objectives.score_matching import ScoreMatching
from unigen.objectives.sliced_score_matching import SlicedScoreMatching

F64 = torch.float64


class Quartic(nn.Module):
    """E(x) = ½ xᵀ P x + ¼ Σ (a·x)⁴: a score whose Jacobian is full and varies with x."""

    def __init__(self, d: int) -> None:
        super().__init__()
        root = torch.randn(d, d, dtype=F64)
        self.precision, self.a = nn.Parameter(root @ root.mT), nn.Parameter(torch.randn(d, dtype=F64))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return 0.5 * ((flat @ self.precision) * flat).sum(-1) + 0.25 * (flat @ self.a) ** 4

    def divergence(self, x: Tensor) -> Tensor:
        """∇·s = −tr P − 3 ‖a‖² (a·x)²."""
        return -self.precision.trace() - 3 * self.a.square().sum() * (x.flatten(1) @ self.a) ** 2

    def score(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        symmetric = 0.5 * (self.precision + self.precision.mT)
        return -flat @ symmetric - (flat @ self.a)[:, None] ** 3 * self.a


def signs(monkeypatch: pytest.MonkeyPatch, v: Tensor) -> None:
    """Let the next directions be v, in zeros and ones as they are drawn."""
    monkeypatch.setattr(torch, "randint_like", lambda like, high: ((v + 1) / 2).expand(like.shape).to(like))


def test_over_all_signs_the_terms_average_to_the_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Potential(Quartic(3), 3)
    energy, x = program.f, torch.randn(5, 3, dtype=F64)
    loss: Any = SlicedScoreMatching().players(program)[0].loss
    terms = []
    for v in itertools.product((-1.0, 1.0), repeat=3):
        signs(monkeypatch, torch.tensor(v, dtype=F64))
        terms.append(loss.terms(x))
    found = torch.stack(terms).mean(0)
    truth = 0.5 * energy.score(x).square().sum(1) + energy.divergence(x)
    torch.testing.assert_close(found, truth)
    exact: Any = ScoreMatching().players(program)[0].loss
    torch.testing.assert_close(exact.terms(x), truth)
    assert bool((torch.stack(terms).std(0) > 0).all())  # one direction alone is not the divergence
    ours = torch.autograd.grad(found.mean(), [energy.precision, energy.a])
    torch.testing.assert_close(ours, torch.autograd.grad(truth.mean(), [energy.precision, energy.a]))


def test_slices_average_to_the_divergence() -> None:
    x, n = torch.randn(3, 2, dtype=F64), 200
    root = torch.tensor([[1.0, 0.0], [0.7, 0.5]], dtype=F64)
    program = Potential(Scaled(torch.linalg.inv(root @ root.mT), torch.zeros(2, dtype=F64)), 2)
    exact: Any = ScoreMatching().players(program)[0].loss
    spread = {}
    for projections in (1, 4):
        sliced: Any = SlicedScoreMatching(projections).players(program)[0].loss
        draws = torch.stack([sliced.terms(x).detach() for _ in range(n)])
        spread[projections] = draws.std(0)
        assert bool(((draws.mean(0) - exact.terms(x)).abs() < 5 * draws.std(0) / n**0.5 + 1e-12).all())
    ratio = spread[1] / spread[4]  # four directions halve the error
    assert float(spread[1].min()) > 0 and bool(((ratio / 2 - 1).abs() < 0.4).all())


def test_in_one_dimension_every_direction_is_exact() -> None:
    program, x = Potential(Quartic(1), 1), torch.randn(6, 1, dtype=F64)
    sliced: Any = SlicedScoreMatching().players(program)[0].loss
    exact: Any = ScoreMatching().players(program)[0].loss
    torch.testing.assert_close(sliced.terms(x), exact.terms(x))
    torch.testing.assert_close(sliced(x), sliced.terms(x).mean())


def test_events_of_any_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    energy = Quartic(4)
    x = torch.randn(5, 2, 2, dtype=F64)
    v = torch.tensor([[1.0, -1.0], [-1.0, -1.0]], dtype=F64)
    signs(monkeypatch, v)
    image: Any = SlicedScoreMatching().players(Potential(energy, (2, 2)))[0].loss
    jacobian = -energy.precision - 3 * (x.flatten(1) @ energy.a)[:, None, None] ** 2 * torch.outer(
        energy.a, energy.a
    )
    along = torch.einsum("i,nij,j->n", v.flatten(), jacobian, v.flatten())
    torch.testing.assert_close(image.terms(x), 0.5 * energy.score(x).square().sum(1) + along)


def test_the_program_is_told_that_there_is_no_noise() -> None:
    model = EnergyModel(2, energy=Tilt(2, hidden=(4,)))
    model.noise.fill_(0.3)
    SlicedScoreMatching().players(model)
    assert float(model.noise) == 0.0


@pytest.mark.parametrize("projections", [0, -1, 1.5, True])
def test_bad_numbers_of_directions_are_refused(projections: Any) -> None:
    with pytest.raises(ArgumentError, match=r"projections.*positive integer"):
        SlicedScoreMatching(projections)


def test_programs_without_a_score_are_refused() -> None:
    for program, match in ((VAE(4, 2, likelihood=Bernoulli()), "on the reals"), (VAE(2, 1), "lower bound")):
        with pytest.raises(NoDensityError, match=match):
            SlicedScoreMatching().players(program)
    straight = SlicedScoreMatching().players(Potential(nn.Linear(2, 1), 2))[0].loss
    with pytest.raises(UnsupportedQueryError, match="smooth activations"):
        straight(torch.zeros(3, 2))
