"""Paths of a finite chain against enumeration of all K^T of them, and against pyro's DiscreteHMM."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch

from unigen.distributions.discrete_chain import DiscreteChain
from unigen.errors import ArgumentError

K, T = 3, 5


@pytest.fixture(params=["prior", "posterior"])
def chain(request):
    torch.set_default_dtype(torch.float64)
    evidence = 2 * torch.randn(4, T, K) if request.param == "posterior" else None
    yield DiscreteChain(torch.randn(K), torch.randn(K, K), T, evidence)
    torch.set_default_dtype(torch.float32)


def paths():
    return torch.cartesian_prod(*[torch.arange(K)] * T)


def weights(chain):
    """Probabilities of all paths by the definition, a loop: shape (K^T, *batch)."""
    rows = []
    for path in paths().tolist():
        total = chain.initial[path[0]] + sum(
            chain.transition[a, b] for a, b in zip(path, path[1:], strict=False)
        )
        if chain.evidence is not None:
            total = total + sum(chain.evidence[:, t, k] for t, k in enumerate(path))
        rows.append(total)
    return torch.stack(rows)


def test_density_normaliser_marginals_and_mode_equal_enumeration(chain):
    log_w = weights(chain)
    log_z = torch.logsumexp(log_w, 0)
    torch.testing.assert_close(chain.log_normaliser, log_z, atol=1e-12, rtol=0)
    batch = chain.batch_shape
    z = paths().reshape(-1, *[1] * len(batch), T)
    torch.testing.assert_close(chain.log_prob(z), log_w - log_z, atol=1e-12, rtol=0)
    p = (log_w - log_z).exp()
    hot = torch.nn.functional.one_hot(paths(), K).to(p.dtype)
    expected = torch.einsum("p...,ptk->...tk", p, hot)
    torch.testing.assert_close(chain.marginals, expected, atol=1e-12, rtol=0)
    assert torch.equal(chain.mode, paths()[log_w.argmax(0)])


def test_draws_have_the_frequencies_of_the_paths(chain):
    n = 40_000
    draws = chain.sample((n,))
    log_w = weights(chain).reshape(K**T, -1)[:, 0]
    p = log_w.softmax(0)
    flat = draws.reshape(n, -1, T)[:, 0]
    index = (flat * K ** torch.arange(T - 1, -1, -1)).sum(-1)
    counts = torch.bincount(index, minlength=K**T)
    likely = p * n > 5
    chi2 = ((counts - n * p).square() / (n * p))[likely].sum()
    degrees = int(likely.sum())
    assert abs(chi2 - degrees) < 6 * (2 * degrees) ** 0.5


def test_evidence_equals_pyros_forward_algorithm():
    torch.set_default_dtype(torch.float64)
    initial, transition, means = torch.randn(K), torch.randn(K, K), torch.randn(K)
    x = torch.randn(7, T)
    evidence = dist.Normal(means, 0.7).log_prob(x[..., None])
    ours = DiscreteChain(initial, transition, evidence=evidence).log_normaliser
    # pyro moves before the first observation: start it one uniform-free step earlier
    theirs = dist.DiscreteHMM(initial.log_softmax(-1), transition.log_softmax(-1), dist.Normal(means, 0.7))
    first = torch.logsumexp(initial.log_softmax(-1)[:, None] + transition.log_softmax(-1), 0)
    moved = DiscreteChain(first, transition, evidence=evidence).log_normaliser
    torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(moved, theirs.log_prob(x), atol=1e-10, rtol=0)
    assert not torch.allclose(ours, moved)


def test_gradient_of_the_normaliser_is_the_marginal():
    evidence = torch.randn(2, T, K, dtype=torch.float64, requires_grad=True)
    chain = DiscreteChain(torch.randn(K).double(), torch.randn(K, K).double(), evidence=evidence)
    (gradient,) = torch.autograd.grad(chain.log_normaliser.sum(), evidence)
    torch.testing.assert_close(gradient, chain.marginals.detach(), atol=1e-12, rtol=0)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match="K, K"):
        DiscreteChain(torch.zeros(3), torch.zeros(2, 2), 4)
    with pytest.raises(ArgumentError, match="T ≥ 1"):
        DiscreteChain(torch.zeros(3), torch.zeros(3, 3))
    assert DiscreteChain(torch.zeros(3), torch.zeros(3, 3), 4).expand((6,)).sample((2,)).shape == (2, 6, 4)
