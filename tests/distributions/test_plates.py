"""Batch shapes beside plates."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import distributions as dist

from unigen.distributions.plates import check_plates
from unigen.errors import SiteError
from unigen.traces import record


def nodes() -> dict:
    def model():
        with pyro.plate("data", 3, dim=-1), pyro.plate("inner", 2, dim=-2):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    return record(model).nodes


def test_dimensions_of_plates_and_of_size_one_pass():
    z = nodes()["z"]
    for shape in ((2, 3), (1, 3), (3,), (), (1, 2, 3)):
        check_plates(z, torch.Size(shape))


def test_another_dimension_is_refused():
    with pytest.raises(SiteError, match="batch shape"):
        check_plates(nodes()["z"], torch.Size((4, 2, 3)))
