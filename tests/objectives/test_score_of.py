"""The score of a program and its slope against closed forms; which programs have one; what is noted of the noise."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import constraints

import unigen as ug
from tests.energies import Scaled
from tests.programs import Conditional
from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import NoDensityError, UnsupportedQueryError
from unigen.models.energy import EnergyModel
from unigen.models.potential import Potential
from unigen.objectives.score_of import check_score, note_noise, score_of, slope_of

F64 = torch.float64
PRECISION = torch.tensor([[2.0, -0.5], [-0.5, 1.0]], dtype=F64)
MEAN = torch.tensor([1.0, -2.0], dtype=F64)


def gaussian() -> Potential:
    return Potential(Scaled(PRECISION.clone(), MEAN.clone()), 2)


def test_the_score_of_a_gaussian_is_minus_its_precision_times_the_deviation():
    x = torch.randn(5, 2, dtype=F64)
    leaf, s = score_of(gaussian(), x, None)
    torch.testing.assert_close(s, -(x - MEAN) @ PRECISION)
    assert leaf.requires_grad and leaf.is_leaf and leaf is not x and not x.requires_grad
    with torch.no_grad():  # as inside a query
        torch.testing.assert_close(score_of(gaussian(), x, None)[1], s)


def test_an_exact_density_and_a_conditional_one_have_theirs():
    ppca = ug.PPCA(2, 1).double()
    x, c = torch.randn(5, 2, dtype=F64), torch.randn(5, 3, dtype=F64)
    w = ppca.weight.detach()
    precision = torch.linalg.inv(w @ w.mT + ppca.variance.detach() * torch.eye(2, dtype=F64))
    torch.testing.assert_close(score_of(ppca, x, None)[1], -(x - ppca.mean) @ precision)
    program = Conditional(2, 3).double()
    deviation = x - program.mean(c)
    torch.testing.assert_close(score_of(program, x, c)[1], -deviation / program.log_scale.exp() ** 2)


def test_the_slope_of_a_score_is_the_hessian_of_the_log_density():
    leaf, s = score_of(gaussian(), torch.randn(5, 2, dtype=F64), None)
    rows = torch.stack([slope_of(s[:, i], leaf) for i in range(2)], 1)
    torch.testing.assert_close(rows, -PRECISION.expand(5, 2, 2))
    v = torch.randn(5, 2, dtype=F64)
    torch.testing.assert_close(slope_of((v * s).sum(1), leaf), -v @ PRECISION)


def test_both_reach_the_parameters():
    program = gaussian()
    precision, loc = program.get_parameter("f.precision"), program.get_parameter("f.loc")
    leaf, s = score_of(program, torch.randn(5, 2, dtype=F64), None)
    divergence = torch.stack([slope_of(s[:, i], leaf)[:, i].sum() for i in range(2)]).sum()
    (slope,) = torch.autograd.grad(divergence, precision, retain_graph=True)
    torch.testing.assert_close(slope, -5 * torch.eye(2, dtype=F64))
    (by_mean,) = torch.autograd.grad(s.sum(), loc)
    torch.testing.assert_close(by_mean, 5 * PRECISION.sum(0))


def test_an_energy_without_a_second_derivative_is_refused():
    leaf, s = score_of(Potential(nn.Linear(2, 1), 2), torch.randn(3, 2), None)
    with pytest.raises(UnsupportedQueryError, match=r"no second derivative.*SiLU"):
        slope_of(s[:, 0], leaf)
    with pytest.raises(UnsupportedQueryError, match="does not depend on x"):
        slope_of(torch.zeros(3), torch.zeros(3, 2, requires_grad=True))


@pytest.mark.parametrize(
    "make",
    [gaussian, lambda: ug.PPCA(2, 1), lambda: EnergyModel(2), lambda: ug.RealNVP(2, hidden=(4,))],
    ids=["energy", "PPCA", "EnergyModel", "flow"],
)
def test_densities_and_energies_on_the_reals_have_a_score(make):
    check_score(make(), "some objective")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ug.VAE(2, 1), "kind lower bound"),
        (lambda: ug.VAE(2, 1, likelihood=Bernoulli()), "support"),
        (lambda: ug.RBM(2, 1), "support"),
        (lambda: Potential(lambda x: x.sum(-1), 1, support=constraints.positive), "support"),
    ],
    ids=["bound", "discrete", "discrete energy", "bounded"],
)
def test_others_have_none(make, match):
    with pytest.raises(NoDensityError, match=rf"some objective needs a density.*{match}"):
        check_score(make(), "some objective")


def test_noise_is_noted_where_there_is_room_for_it():
    model = EnergyModel(2)
    before = model.noise
    note_noise(model, 0.25)
    assert model.noise is before and float(model.noise) == 0.25
    other = ug.PPCA(2, 1)
    note_noise(other, 0.25)
    assert not hasattr(other, "noise")
