from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from unigen.dynamics.observation import Given, Inpainting, LinearObservation, as_observation
from unigen.errors import ArgumentError, NonFiniteError, ShapeError

A = torch.tensor([[1.0, 0.5, 0.0], [0.0, -1.0, 2.0]]).double()
Y = torch.tensor([0.3, -0.4]).double()


def test_a_linear_observation_is_a_normal_density():
    x, noise = torch.randn(5, 3).double(), 0.7
    wanted = MultivariateNormal(x @ A.T, noise**2 * torch.eye(2).double()).log_prob(Y)
    torch.testing.assert_close(LinearObservation(A, Y, noise).log_prob(x), wanted)


def test_in_unit_coordinates_an_error_of_x_widens_it():
    """N(y; A (loc + scale u), noise² I + spread² A diag(scale²) Aᵀ), by an independent implementation."""
    observation, noise = LinearObservation(A, Y, 0.7), 0.7
    for _ in range(2):  # another scale, another spectrum
        loc, scale, u = torch.randn(3).double(), torch.rand(3).double() + 0.5, torch.randn(5, 3).double()
        for spread in (0.0, 0.8):
            covariance = noise**2 * torch.eye(2).double() + spread**2 * A @ torch.diag(scale**2) @ A.T
            wanted = MultivariateNormal((loc + scale * u) @ A.T, covariance).log_prob(Y)
            ours = observation.in_unit(loc, scale)(u, torch.tensor(spread).double())
            torch.testing.assert_close(ours, wanted)


def test_a_spread_may_differ_from_row_to_row():
    likelihood = LinearObservation(A, Y, 0.7).in_unit(torch.zeros(3).double(), torch.ones(3).double())
    u, spread = torch.randn(4, 3).double(), torch.rand(4).double()
    each = [likelihood(u[i : i + 1], spread[i])[0] for i in range(4)]
    torch.testing.assert_close(likelihood(u, spread.unsqueeze(-1)), torch.stack(each))


def test_inpainting_is_the_linear_observation_of_some_entries():
    known = torch.tensor([[True, False], [False, True]])
    x = torch.tensor([[0.3, math.nan], [math.nan, -1.0]]).double()
    rows = torch.eye(4).double()[known.flatten()]
    ours, theirs = Inpainting(known, x, 0.3), LinearObservation(rows, x[known], 0.3)
    z, loc, scale = torch.randn(6, 2, 2).double(), torch.randn(2, 2).double(), torch.rand(2, 2).double() + 0.5
    torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(z))
    for spread in (0.0, 0.8):
        pair = [o.in_unit(loc, scale)(z, torch.tensor(spread).double()) for o in (ours, theirs)]
        torch.testing.assert_close(*pair)


def test_a_function_is_an_observation():
    given = as_observation(lambda x: -x.square().sum(-1), "Some")
    x = torch.randn(3, 2)
    assert isinstance(given, Given)
    torch.testing.assert_close(given.log_prob(x), -x.square().sum(-1))
    scaled = given.in_unit(torch.ones(2), 2.0 * torch.ones(2))(x, torch.tensor(9.0))
    torch.testing.assert_close(scaled, -(1.0 + 2.0 * x).square().sum(-1))
    given.check(x[0])
    with pytest.raises(ArgumentError, match="gradient"):
        as_observation(lambda x: x.detach().sum(-1), "Some").check(x[0])
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        as_observation(lambda x: x.sum(), "Some").check(x[0])
    with pytest.raises(ArgumentError, match="LinearObservation"):
        as_observation(torch.zeros(3), "Some")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan, math.inf, True])
def test_the_noise_is_positive(noise):
    with pytest.raises(ArgumentError, match=r"noise.*> 0.*limit"):
        LinearObservation(A, Y, noise)
    with pytest.raises(ArgumentError, match=r"noise.*> 0.*limit"):
        Inpainting(torch.tensor([True, False]), torch.zeros(2), noise)


def test_misshapen_observations_are_refused():
    with pytest.raises(ShapeError, match=r"\(M, D\)"):
        LinearObservation(Y, Y, 1.0)
    with pytest.raises(ShapeError, match="one entry a row"):
        LinearObservation(A, torch.zeros(3), 1.0)
    with pytest.raises(ShapeError, match=r"got \(2, 3\), expected \(2, 2\).*transpose"):
        LinearObservation(A, Y, 1.0).check(torch.zeros(2))
    with pytest.raises(NonFiniteError, match="matrix"):
        LinearObservation(A * math.nan, Y, 1.0)
    with pytest.raises(ShapeError, match="x"):
        Inpainting(torch.tensor([True, False]), torch.zeros(3), 1.0)
    with pytest.raises(ShapeError, match="known"):
        Inpainting(torch.tensor([True, False]), torch.zeros(2), 1.0).check(torch.zeros(3))
    with pytest.raises(NonFiniteError):
        Inpainting(torch.tensor([True, False]), torch.tensor([math.nan, 0.0]), 1.0)
    for mask in (torch.tensor([False, False]), torch.tensor([1.0, 0.0])):
        with pytest.raises(ArgumentError, match="mask"):
            Inpainting(mask, torch.zeros(2), 1.0)
