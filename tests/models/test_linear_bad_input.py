"""What the linear-Gaussian families do with data that determine them badly: a typed error, or finite numbers."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from unigen.errors import ArgumentError, NonFiniteError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA
from unigen.objectives.ard import ARD
from unigen.objectives.likelihood import EM, ClosedForm

FITS = [
    (PPCA, ClosedForm()), (PPCA, EM()), (PPCA, ARD()), (FactorAnalysis, EM()), (FactorAnalysis, ARD()),
]  # fmt: skip


def fit(family, objective, x: torch.Tensor, latents: int = 2):
    program = family(x.shape[1], latents)
    ug.fit(program, x, objective=objective, steps=300, progress=False)
    assert program.log_prob(x).value.isfinite().all()
    assert program.encode(x).isfinite().all() and program.sample(3).isfinite().all()
    return program


@pytest.mark.parametrize(("family", "objective"), FITS)
def test_a_constant_column_is_noise_of_no_length(family, objective):
    x = torch.randn(200, 5)
    x[:, 2] = 7.0
    program = fit(family, objective, x)
    assert program.sample(500)[:, 2].mean().item() == pytest.approx(7.0, abs=0.5)


@pytest.mark.parametrize(("family", "objective"), FITS)
def test_duplicate_columns(family, objective):
    x = torch.randn(200, 4)
    fit(family, objective, torch.cat([x, x[:, :1]], 1))


@pytest.mark.parametrize("objective", [ClosedForm(), EM()])
def test_a_singular_covariance_leaves_ppca_no_noise(objective):
    x = torch.randn(100, 2).double() @ torch.randn(2, 5).double()
    program = PPCA(5, 2).double()
    with pytest.raises(ArgumentError, match="no maximum"):
        ug.fit(program, x, objective=objective, steps=3000, progress=False)
    assert all(p.isfinite().all() for p in program.parameters())


def test_a_singular_covariance_meets_the_floor_of_factor_analysis():
    program = fit(FactorAnalysis, EM(), torch.randn(100, 2) @ torch.randn(2, 5))
    assert (program.noise > 0).all()


@pytest.mark.parametrize(
    ("family", "objective", "error"),
    [
        (PPCA, ClosedForm(), ArgumentError),
        (PPCA, EM(), ArgumentError),
        (FactorAnalysis, EM(), NonFiniteError),
    ],
)
def test_one_example_is_refused(family, objective, error):
    with pytest.raises(error):
        ug.fit(family(5, 2), torch.randn(1, 5), objective=objective, progress=False)


def test_fewer_examples_than_latents():
    x = torch.randn(3, 8)
    with pytest.raises(ArgumentError, match="no maximum"):  # three points span two dimensions
        ug.fit(PPCA(8, 4), x, progress=False)
    fit(FactorAnalysis, EM(), x, latents=4)  # bounded by its floor
    pca = PCA(8, 4)
    ug.fit(pca, x, progress=False)
    assert torch.allclose(pca.reconstruct(x), x, atol=1e-5)  # two axes hold all, two have no variance
    assert (pca.explained_variance[2:] < 1e-6).all()


@pytest.mark.parametrize(("family", "latents"), [(PPCA, 5), (FactorAnalysis, 5), (PCA, 6)])
def test_more_latents_than_features_are_refused(family, latents):
    with pytest.raises(ArgumentError, match="latents"):
        family(5, latents)


@pytest.mark.parametrize("family", [PCA, PPCA])
def test_closed_forms_refuse_what_is_not_finite(family):
    for value in (torch.nan, torch.inf):
        x = torch.randn(20, 4)
        x[3, 1] = value
        with pytest.raises(NonFiniteError):
            family(4, 2).solve(x)
