"""Brute force over all trees, enumeration of states, networkx, scikit-learn, and the digits."""

from __future__ import annotations

import itertools
import math

import networkx
import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.covariance import LedoitWolf

from unigen.data.digits import digits
from unigen.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError, SupportError
from unigen.evaluate.baselines import chow_liu, gaussian_tree, shrunk_gaussian, spanning_tree
from unigen.logprob import Kind

F64 = torch.float64


def all_trees(d):
    """Every labelled tree on d nodes, as edge lists, from the d^(d−2) Prüfer sequences."""
    for code in itertools.product(range(d), repeat=d - 2):
        yield list(networkx.from_prufer_sequence(list(code)).edges)


def dependent_bits(n, d, values=2):
    """A Markov random field sampled along a random tree: x_i copies an earlier feature with probability 0.7."""
    x = torch.randint(values, (n, d))
    for i in range(1, d):
        copy = torch.rand(n) < 0.7
        x[:, i] = torch.where(copy, x[:, torch.randint(i, ())], x[:, i])
    return x


def tree_log_likelihood(x, edges, values, alpha):
    """The smoothed tree distribution by its definition, Π p_ij / Π p_i^(degree − 1), term by term."""
    n, d = x.shape
    single = [
        [(float((x[:, i] == a).sum()) + alpha / values) / (n + alpha) for a in range(values)]
        for i in range(d)
    ]
    total = torch.stack([torch.tensor(single[i], dtype=F64).log()[x[:, i]] for i in range(d)]).sum(0)
    for i, j in edges:
        both = torch.tensor([
            [(float(((x[:, i] == a) & (x[:, j] == b)).sum()) + alpha / values**2) / (n + alpha) for b in range(values)]
            for a in range(values)
        ], dtype=F64)  # fmt: skip
        ratio = both / (torch.tensor(single[i], dtype=F64)[:, None] * torch.tensor(single[j], dtype=F64))
        total = total + ratio.log()[x[:, i], x[:, j]]
    return total


@pytest.mark.parametrize(("d", "values"), [(4, 2), (5, 2), (4, 3)])
def test_no_tree_has_a_higher_likelihood(d, values):
    """All 16 or 125 trees. With α → 0 the best tree by information is the best by likelihood."""
    x = dependent_bits(300, d, values)
    found = chow_liu(x, values, pseudocount=1e-9).log_prob(x).value
    scores = [float(tree_log_likelihood(x, edges, values, 1e-9).mean()) for edges in all_trees(d)]
    assert len(scores) == d ** (d - 2)
    assert float(found.mean()) == pytest.approx(max(scores), abs=1e-9)


@pytest.mark.parametrize("values", [2, 4])
def test_it_is_the_definition_and_sums_to_one(values):
    x = dependent_bits(50, 5, values)
    tree = chow_liu(x, values)
    edges = [(i, int(j)) for i, j in enumerate(tree.parent.tolist()) if j >= 0]
    torch.testing.assert_close(
        tree.log_prob(x).value, tree_log_likelihood(x, edges, values, 1.0), rtol=0, atol=1e-10
    )
    states = torch.tensor(list(itertools.product(range(values), repeat=5)))
    assert float(tree.log_prob(states).value.exp().sum()) == pytest.approx(1.0, abs=1e-12)
    assert tree.log_prob(states).kind is Kind.EXACT and tree.log_prob(x).dims == 5


def test_unseen_values_keep_finite_masses():
    tree = chow_liu(torch.zeros(10, 3, dtype=torch.long), classes=3)
    assert bool(tree.log_prob(torch.tensor([[2, 1, 0]])).value.isfinite().all())


def test_spanning_trees_are_networkxs():
    weights = torch.rand(30, 30, dtype=F64)
    weights = weights + weights.T
    parent = spanning_tree(weights)
    ours = float(sum(weights[i, j] for i, j in enumerate(parent.tolist()) if j >= 0))
    graph = networkx.from_numpy_array(weights.numpy())
    oracle = networkx.maximum_spanning_tree(graph).size(weight="weight")
    loops = sum(
        data["weight"] for a, b, data in networkx.maximum_spanning_tree(graph).edges(data=True) if a == b
    )
    assert ours == pytest.approx(oracle - loops, abs=1e-10) and int((parent == -1).sum()) == 1


def test_the_gaussian_is_scikit_learns():
    x = torch.randn(40, 6, dtype=F64) @ torch.randn(6, 6, dtype=F64)
    found = shrunk_gaussian(x).log_prob(x)
    oracle = LedoitWolf().fit(x.numpy())
    direct = scipy.stats.multivariate_normal(oracle.location_, oracle.covariance_).logpdf(x.numpy())
    np.testing.assert_allclose(found.value.numpy(), direct, rtol=1e-10)
    assert found.kind is Kind.EXACT


def test_a_gaussian_tree_is_the_product_of_its_conditionals():
    """log p = Σ log N(x_i) + Σ_edges log N(x_i, x_j) − log N(x_i) − log N(x_j), and no tree has a better fit."""
    x = torch.randn(400, 5, dtype=F64) @ torch.randn(5, 5, dtype=F64) + 3
    tree = gaussian_tree(x)
    oracle = LedoitWolf().fit(x.numpy())
    m, c = oracle.location_, oracle.covariance_
    normal = lambda i: scipy.stats.multivariate_normal(m[i], c[np.ix_(i, i)]).logpdf(x.numpy()[:, i])  # noqa: E731

    def score(edges):
        ends = sum(normal([i]) for i in range(5))
        return ends + sum(normal([i, j]) - normal([i]) - normal([j]) for i, j in edges)

    edges = [(i, int(j)) for i, j in enumerate(tree.parent.tolist()) if j >= 0]
    np.testing.assert_allclose(tree.log_prob(x).value.numpy(), score(edges), rtol=0, atol=1e-9)

    def information(edges):
        return -0.5 * sum(math.log1p(-(c[i, j] ** 2) / (c[i, i] * c[j, j])) for i, j in edges)

    assert information(edges) == pytest.approx(max(information(e) for e in all_trees(5)), abs=1e-10)


def test_a_chain_loses_nothing():
    """A Gaussian Markov chain is a tree: both baselines reach its entropy, −½ log(2πe)·8 − 7·½ log(1 − 0.81)."""
    n, rho = 20_000, 0.9
    x = torch.randn(n, 8, dtype=F64)
    for i in range(1, 8):
        x[:, i] = rho * x[:, i - 1] + math.sqrt(1 - rho**2) * x[:, i]
    truth = -4 * math.log(2 * math.pi * math.e) - 3.5 * math.log(1 - rho**2)
    tree, dense = gaussian_tree(x), shrunk_gaussian(x)
    assert {frozenset(e) for e in enumerate(tree.parent.tolist()) if e[1] >= 0} == {
        frozenset((i, i + 1)) for i in range(7)
    }
    for model in (tree, dense):
        mean = model.log_prob(x).mean()
        assert abs(mean.value - truth) < 5 * mean.stderr + 0.01


def test_constant_and_equal_columns_do_no_harm():
    x = torch.randn(50, 4)
    x[:, 1], x[:, 2] = 1.0, x[:, 0]
    for fit in (shrunk_gaussian, gaussian_tree):
        assert bool(fit(x).log_prob(x).value.isfinite().all())


def test_the_digits():
    """Ledoit–Wolf has 47.04 nats on the held-out split; a tree of pairs explains less than the full covariance."""
    data = digits(dtype=F64)
    dense = shrunk_gaussian(data.train).log_prob(data.test).mean().value
    tree = gaussian_tree(data.train).log_prob(data.test).mean().value
    assert dense == pytest.approx(47.036, abs=0.02) and 20 < tree < dense


@pytest.mark.parametrize("fit", [shrunk_gaussian, gaussian_tree])
def test_bad_real_data_are_refused(fit):
    for x, error in (
        (torch.zeros(3), ShapeError), (torch.randn(1, 3), ArgumentError), (torch.ones(5, 3), ArgumentError),
        (torch.full((4, 2), math.nan), NonFiniteError), (torch.zeros(4, 2, dtype=torch.long), DTypeError),
    ):  # fmt: skip
        with pytest.raises(error):
            fit(x)
    with pytest.raises(ShapeError):
        fit(torch.randn(9, 3)).log_prob(torch.randn(2, 4))


def test_bad_integers_are_refused():
    x = torch.randint(2, (9, 3))
    for call, error in (
        (lambda: chow_liu(x + 0.5), DTypeError), (lambda: chow_liu(x - 1), SupportError),
        (lambda: chow_liu(x, classes=1), ArgumentError), (lambda: chow_liu(x, pseudocount=0), ArgumentError),
        (lambda: chow_liu(x + 1, classes=2), ArgumentError), (lambda: chow_liu(x[:1]), ArgumentError),
        (lambda: chow_liu(x).log_prob(x + 1), SupportError),
    ):  # fmt: skip
        with pytest.raises(error):
            call()
