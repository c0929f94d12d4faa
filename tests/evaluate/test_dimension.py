"""The number of latents against scikit-learn, hand-written sums and a direct loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA as Peer
from sklearn.decomposition._pca import _assess_dimension

from tests import problems
from unigen.data.digits import digits
from unigen.errors import ArgumentError, EmptyDataError, NonFiniteError, ShapeError
from unigen.evaluate.dimension import Dimension, bic, choose_latents, held_out, minka
from unigen.models.ppca import PPCA


def signal(n: int = 400, d: int = 8, rank: int = 3) -> torch.Tensor:
    """Draws whose first directions stand out: variances of about 10 beside 1."""
    u = torch.linalg.qr(torch.randn(d, rank).double()).Q * 3.0
    return torch.randn(n, rank).double() @ u.mT + torch.randn(n, d).double()


def test_minka_is_sklearns():
    for x in (signal(), digits().train.double()[:, [10, 20, 21, 28, 29, 35, 36, 43]]):
        n = x.shape[0]
        peer = Peer(n_components="mle", svd_solver="full").fit(x.numpy())
        spectrum = np.linalg.eigvalsh(np.cov(x.numpy().T))[::-1].copy()
        found = choose_latents(x)
        truth = [_assess_dimension(spectrum, q, n) / n for q in found.candidates]
        assert np.allclose(found.scores, truth, rtol=1e-9)
        assert found.chosen == peer.n_components_


@pytest.mark.parametrize("method", ["minka", "bic", "cross-validation"])
def test_the_rank_of_a_clear_signal_is_chosen(method):
    found = choose_latents(signal(), method)
    # cross-validation pays only the variance of an idle axis, so that one more may win by chance
    assert found.chosen in ((3,) if method != "cross-validation" else (3, 4))
    assert int(found) == found.chosen and found.candidates == tuple(range(1, 8))


def test_bic_by_hand():
    x = signal()
    n, d = x.shape
    found = choose_latents(x, "bic")
    for q, score in zip(found.candidates, found.scores, strict=True):
        ppca = PPCA(d, q).double()
        ppca.solve(x)
        parameters = d * q - q * (q - 1) / 2 + 1 + d
        assert score == pytest.approx(
            ppca.log_prob(x).mean().value - 0.5 * parameters * math.log(n) / n, abs=1e-10
        )


def test_worked_likelihoods():
    """THEOREMS 1, 2: −7.526216 with two latents, −7.513398 with three."""
    values = torch.tensor(problems.SPECTRUM)
    for q, likelihood in ((2, -7.526216), (3, problems.ppca_log_likelihood(problems.SPECTRUM, 3))):
        parameters = 5 * q - q * (q - 1) / 2 + 6
        assert bic(values, 10, q) / 10 + parameters * math.log(10) / 20 == pytest.approx(likelihood, abs=5e-7)


def test_cross_validation_is_a_direct_loop():
    x = signal(60, 5, 2)
    found = choose_latents(x, "cross-validation", folds=4, seed=3)
    parts = torch.randperm(60, generator=torch.Generator().manual_seed(3)).tensor_split(4)
    for i, q in enumerate(found.candidates):
        scores, peers = [], []
        for part in parts:
            rest = np.setdiff1d(np.arange(60), part.numpy())
            train, test = x[rest], x[part]
            ppca = PPCA(5, q).double()
            ppca.solve(train)
            scores.append(ppca.log_prob(test).mean().value)
            peer = Peer(q).fit(train.numpy())
            n = train.shape[
                0
            ]  # scikit-learn's model covariance is N / (N − 1) times the maximum-likelihood one
            covariance = peer.get_covariance() * (n - 1) / n
            exact = problems.gaussian_log_density(test.numpy(), peer.mean_, covariance).mean()
            assert scores[-1] == pytest.approx(exact, abs=1e-9)
            peers.append(peer.score(test.numpy()))
        assert found.scores[i] == pytest.approx(np.mean(scores), abs=1e-10)
        assert found.stderr is not None
        assert found.stderr[i] == pytest.approx(np.std(scores, ddof=1) / 2, abs=1e-10)
        assert found.scores[i] == pytest.approx(np.mean(peers), abs=0.2)


def test_held_out_of_every_candidate_in_one_decomposition():
    x = signal(50, 5, 2)
    both = held_out(x[:30], x[30:], [1, 3])
    assert torch.equal(both, torch.cat([held_out(x[:30], x[30:], [q]) for q in (1, 3)]))


def test_data_of_low_rank_and_ties():
    plane = torch.randn(40, 2).double() @ torch.randn(2, 5).double()
    for method in ("bic", "minka", "cross-validation"):
        found = choose_latents(plane, method)
        assert found.scores[1:] == (-math.inf,) * 3 and found.chosen == 1
        with pytest.raises(ArgumentError, match="no candidate"):
            choose_latents(torch.ones(9, 4).double(), method)
    assert minka(torch.tensor([4.0, 2.0, 2.0, 1.0]), 100, 2) == -math.inf  # which of the two is kept?
    assert choose_latents(torch.randn(3, 8), "bic", candidates=[1]).chosen == 1
    duplicate = torch.cat([plane, plane[:, :1]], 1)
    assert choose_latents(duplicate, "bic").chosen == 1


def test_refusals():
    x = torch.randn(20, 4)
    with pytest.raises(ArgumentError, match="method"):
        choose_latents(x, "aic")
    with pytest.raises(ArgumentError, match="N ≥ D"):
        choose_latents(x[:3], "minka")
    with pytest.raises(ArgumentError, match="candidates"):
        choose_latents(x, candidates=[0, 1])
    with pytest.raises(ArgumentError, match="folds"):
        choose_latents(x, "cross-validation", folds=30)
    with pytest.raises(EmptyDataError):
        choose_latents(x[:1])
    with pytest.raises(ShapeError):
        choose_latents(x[:, 0])
    with pytest.raises(NonFiniteError):
        choose_latents(torch.full((9, 3), torch.nan))


def test_result_reads_and_draws():
    found = Dimension("bic", 2, (1, 2, 3), (-2.0, -1.0, -math.inf))
    assert str(found) == "2 latents by bic, 1 nats an example above the next (3 candidates)"
    assert len(found.plot().axes) == 1
    crossed = choose_latents(signal(50, 4, 1), "cross-validation")
    assert len(crossed.plot().axes[0].containers) == 1  # error bars
