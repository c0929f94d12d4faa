"""A distribution spread over a parameter has the density of its independent entries."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch

from unigen.distributions.spread import spread
from unigen.errors import ShapeError


def test_entries_are_independent_copies():
    parameter, scale = torch.randn(3, 2).double(), torch.tensor([1.0, 2.0])
    prior = spread(dist.Normal(0.0, scale), parameter)
    assert (prior.batch_shape, prior.event_shape, prior.sample().dtype) == ((), (3, 2), torch.float64)
    expected = dist.Normal(torch.zeros(3, 2).double(), scale.double()).log_prob(parameter).sum()
    torch.testing.assert_close(prior.log_prob(parameter), expected)


def test_event_dimensions_are_the_last():
    parameter = torch.randn(4, 2)
    whole = dist.MultivariateNormal(torch.zeros(2), torch.eye(2))
    prior = spread(whole, parameter)
    assert prior.event_shape == (4, 2)
    torch.testing.assert_close(prior.log_prob(parameter), whole.log_prob(parameter).sum())


@pytest.mark.parametrize("shape", [(4,), (3, 2, 1), (2, 2)])
def test_what_does_not_fit_is_refused(shape):
    with pytest.raises(ShapeError, match=r"weight.*spread over all entries"):
        spread(dist.Normal(torch.zeros(shape), 1.0), torch.zeros(3, 2), "weight", "PPCA")
