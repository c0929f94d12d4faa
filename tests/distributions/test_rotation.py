"""Rotations against SciPy, scikit-learn and a grid of angles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import FactorAnalysis as Peer

from unigen.distributions.rotation import principal, procrustes, rotated, varimax, varimax_criterion
from unigen.errors import ArgumentError, ShapeError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.ppca import PPCA


def angle(theta: float) -> torch.Tensor:
    c, s = np.cos(theta), np.sin(theta)
    return torch.tensor([[c, -s], [s, c]]).double()


def orthogonal(q: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(q, q).double()).Q


@pytest.mark.parametrize(("d", "q"), [(6, 3), (3, 3), (2, 1)])
def test_principal(d, q):
    w = torch.randn(d, q).double()
    r = principal(w)
    turned = w @ r
    gram = turned.mT @ turned
    assert torch.allclose(r.mT @ r, torch.eye(q).double(), atol=1e-12)
    assert torch.allclose(gram, torch.diag(torch.linalg.svdvals(w).square()), atol=1e-11)
    assert (turned.gather(0, turned.abs().argmax(0, keepdim=True)) > 0).all()
    again = w @ orthogonal(q)  # whatever rotation it is given, the result is one
    assert torch.allclose(again @ principal(again), turned, atol=1e-10)


def test_varimax_of_two_columns_is_the_best_angle():
    w = torch.randn(7, 2).double()
    best = max(varimax_criterion(w @ angle(t)).item() for t in np.linspace(0, np.pi / 2, 20001))
    found = varimax_criterion(w @ varimax(w, sweeps=1)).item()  # the angle is known in closed form
    assert (
        best - 1e-12 <= found <= best + 1e-6
    )  # the grid's best lies within its spacing squared of the maximum


def test_varimax_recovers_simple_structure():
    """Loadings with one non-zero entry a row are a maximum: any rotation of them is undone, up to order and sign."""
    w = torch.zeros(12, 3).double()
    w[torch.arange(12), torch.arange(12) % 3] = torch.rand(12).double() + 0.5
    turned = w @ orthogonal(3)
    r = varimax(turned)
    assert torch.allclose(r.mT @ r, torch.eye(3).double(), atol=1e-12)
    order = w.square().sum(0).argsort(descending=True)
    assert torch.allclose(turned @ r, w[:, order], atol=1e-6)


def test_varimax_is_sklearns():
    x = np.random.standard_normal((400, 3))
    truth = np.zeros((3, 9))
    truth[np.arange(9) % 3, np.arange(9)] = 2.0
    x = x @ truth + 0.5 * np.random.standard_normal((400, 9))
    plain = Peer(3, svd_method="lapack", tol=1e-8, max_iter=5000).fit(x).components_.T
    peer = Peer(3, svd_method="lapack", tol=1e-8, max_iter=5000, rotation="varimax").fit(x).components_.T
    w = torch.from_numpy(plain)
    ours = w @ varimax(w)
    assert varimax_criterion(ours) >= varimax_criterion(torch.from_numpy(peer)) - 1e-9
    match = np.abs(peer.T @ ours.numpy()).argmax(0)
    signs = np.sign((peer[:, match] * ours.numpy()).sum(0))
    # scikit-learn stops where its criterion grows by less than 10⁻⁶ of itself, an angle of about 10⁻³
    assert np.allclose(ours, peer[:, match] * signs, atol=1e-2)


def test_procrustes_is_scipys():
    w, target = torch.randn(6, 3).double(), torch.randn(6, 3).double()
    assert np.allclose(procrustes(w, target), orthogonal_procrustes(w.numpy(), target.numpy())[0], atol=1e-10)
    r = orthogonal(3)
    assert torch.allclose(procrustes(w, w @ r), r, atol=1e-10)
    with pytest.raises(ShapeError):
        procrustes(w, target[:4])


@pytest.mark.parametrize("family", [PPCA, FactorAnalysis])
@pytest.mark.parametrize("how", [principal, varimax, lambda w: procrustes(w, torch.ones_like(w))])
def test_programs_rotate_in_place_and_keep_their_likelihood(family, how):
    program = family(5, 3).double()
    x = program.sample(50)
    before, codes, parameter = program.log_prob(x).value, program.encode(x), program.weight
    w = program.weight.detach().clone()
    program.rotate(how)
    assert program.weight is parameter and not torch.allclose(w, parameter)
    assert (program.log_prob(x).value - before).abs().max() <= 1e-12 * before.abs().max()
    r = procrustes(w, program.weight)
    assert torch.allclose(program.encode(x), codes @ r, atol=1e-10)


@pytest.mark.parametrize(
    "bad", [lambda w: 2 * torch.eye(3), lambda w: torch.eye(2), lambda w: torch.full((3, 3), torch.nan)]
)
def test_refuses_what_is_no_rotation(bad):
    with pytest.raises(ArgumentError, match="orthogonal"):
        rotated(torch.randn(5, 3), bad, "PPCA")
