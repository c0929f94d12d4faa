"""A density that does not exist is refused, with what has one."""

from __future__ import annotations

import pytest
import torch

from unigen.densities.degenerate import Degenerate
from unigen.errors import NoDensityError
from unigen.models.pca import PCA


def test_it_names_the_program_that_has_one():
    pca = PCA(5, 2)
    assert isinstance(pca.density, Degenerate)
    with pytest.raises(NoDensityError, match="PPCA"):
        _ = Degenerate().kind
    with pytest.raises(NoDensityError, match=r"PPCA\(features=5"):
        Degenerate().log_prob(pca, torch.zeros(1, 5))
