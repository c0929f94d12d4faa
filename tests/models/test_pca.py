"""PCA against scikit-learn, and as the limit of PPCA."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import decomposition

from tests import problems
from unigen.data.digits import digits
from unigen.errors import ArgumentError, NoDensityError
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA


def test_digits_equal_sklearn():
    x = digits().train.double()
    pca, peer = PCA(64, 10).double(), decomposition.PCA(10).fit(x.numpy())
    pca.solve(x)
    signs = np.sign((peer.components_ * pca.components.numpy()).sum(1, keepdims=True))
    assert np.allclose(pca.components, signs * peer.components_, atol=1e-9)
    n = x.shape[0]
    assert np.allclose(pca.explained_variance, peer.explained_variance_ * (n - 1) / n, atol=1e-12)
    assert np.allclose(pca.explained_variance_ratio, peer.explained_variance_ratio_, atol=1e-12)
    assert np.allclose(pca.encode(x), peer.transform(x.numpy()) * signs.T, atol=1e-9)
    assert np.allclose(pca.reconstruct(x), peer.inverse_transform(peer.transform(x.numpy())), atol=1e-9)


def test_residual_is_the_discarded_spectrum():
    """THEOREMS 3: Σ_{i>q} λ_i = 2.0."""
    x = problems.spectrum_data()
    pca = PCA(5, 2).double()
    player = pca.objective.players(pca)[0]
    assert player.once
    assert player.update(x, None).item() == pytest.approx(2.0, abs=1e-12)
    assert pca.residual_variance.item() == pytest.approx(2.0, abs=1e-12)
    assert (x - pca.reconstruct(x)).square().sum(1).mean().item() == pytest.approx(2.0, abs=1e-12)


def test_samples_lie_on_the_plane_with_the_spectrum():
    pca = PCA(5, 2).double()
    pca.solve(problems.spectrum_data(mean=3.0))
    n = 100_000
    x = pca.sample(n, seed=0)
    assert torch.allclose(pca.reconstruct(x), x, atol=1e-12)
    variance = pca.encode(x).var(0)
    assert (
        (variance - torch.tensor([4.0, 2.0])) / (torch.tensor([4.0, 2.0]) * (2 / n) ** 0.5)
    ).abs().max() < 5


def test_ppca_tends_to_it():
    """As σ² → 0 the posterior mean of PPCA, in the axes of PCA, tends to the projection, linearly in σ²."""
    x = problems.spectrum_data()
    pca = PCA(5, 2).double()
    pca.solve(x)
    gaps = []
    for variance in (1e-2, 1e-4, 1e-6):
        ppca = PPCA(5, 2).double()
        weight = pca.components.mT * (pca.explained_variance - variance).sqrt()
        ppca.write(weight, pca.mean, torch.tensor(variance))
        gaps.append((ppca.reconstruct(x) - pca.reconstruct(x)).abs().max().item())
    assert gaps[0] < 0.02
    assert np.allclose(np.array(gaps[1:]) / np.array(gaps[:-1]), 0.01, rtol=0.02)


def test_no_density_names_ppca():
    pca = PCA(5, 2)
    for ask in (pca.log_prob, pca.score, pca.energy):
        with pytest.raises(NoDensityError, match=r"PPCA\(features=5"):
            ask(torch.zeros(2, 5))


def test_model_and_guide_agree():
    PCA(5, 2).check()


@pytest.mark.parametrize("q", [0, 6])
def test_refuses_latents(q):
    with pytest.raises(ArgumentError, match="latents ≤ features"):
        PCA(5, q)


def test_all_latents_and_constant_data():
    pca = PCA(3, 3)
    pca.solve(torch.ones(4, 3))
    assert torch.allclose(pca.sample(5), torch.ones(5, 3))
    assert torch.allclose(pca.reconstruct(torch.ones(2, 3)), torch.ones(2, 3))


def test_whitening_is_sklearns_and_inverts():
    """THEOREMS 33: the whitened coordinates of the data have mean 0 and covariance I."""
    x = digits().train.double()[:300]
    pca, peer = PCA(64, 10).double(), decomposition.PCA(10, whiten=True).fit(x.numpy())
    pca.solve(x)
    y, n = pca.whiten(x), x.shape[0]
    signs = np.sign((peer.components_ * pca.components.numpy()).sum(1))
    assert np.allclose(y, peer.transform(x.numpy()) * signs * (n / (n - 1)) ** 0.5, atol=1e-9)
    assert np.allclose(np.cov(y.numpy().T, bias=True), np.eye(10), atol=1e-10)
    assert y.mean(0).abs().max() < 1e-10
    assert torch.allclose(pca.unwhiten(y), pca.reconstruct(x), atol=1e-10)


def test_the_codes_of_ppca_are_white_together_with_their_spread():
    """THEOREMS 33: at the optimum the aggregated posterior has mean 0 and covariance I."""
    x = problems.spectrum_data(mean=1.0)
    ppca = PPCA(5, 2).double()
    ppca.solve(x)
    z = ppca.posterior(x)
    spread = torch.cov(z.mean.mT, correction=0) + z.covariance_matrix.mean(0)
    assert z.mean.mean(0).abs().max() < 1e-12
    assert torch.allclose(spread, torch.eye(2).double(), atol=1e-12)


def test_axes_without_variance_cannot_be_whitened():
    x = torch.randn(50, 4)
    x[:, 2] = 1.0
    for data, latents in ((x, 4), (torch.cat([x[:, :2], x[:, :2]], 1), 3), (x[:2], 2), (torch.ones(1, 4), 1)):
        pca = PCA(4, latents)
        pca.solve(data)
        assert torch.allclose(pca.components @ pca.components.mT, torch.eye(latents), atol=1e-5)
        assert pca.reconstruct(data).isfinite().all()
        with pytest.raises(ArgumentError, match="no variance along an axis"):
            pca.whiten(data)


def test_weights_repeat_rows():
    x, r = torch.randn(20, 3).double(), torch.arange(20) % 3
    a, b = PCA(3, 2).double(), PCA(3, 2).double()
    a.solve(x, weights=r)
    b.solve(x.repeat_interleave(r, 0))
    for p, q in zip(a.buffers(), b.buffers(), strict=True):
        assert torch.allclose(p, q, atol=1e-12)
