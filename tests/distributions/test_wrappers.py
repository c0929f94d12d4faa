"""Terms of single entries against sums of univariate densities."""

from __future__ import annotations

import torch
from pyro import distributions as dist
from torch.distributions import kl_divergence

from unigen.distributions.wrappers import base_of, entry_terms, kind_of, log_density
from unigen.logprob import Kind
from unigen.models.flow import NSF


def pair() -> tuple[dist.Normal, dist.Normal]:
    return dist.Normal(torch.randn(5, 2, 3), 0.7), dist.Normal(torch.zeros(2, 3), 1.0)


def test_entries_come_first_and_add_up():
    q, p = pair()
    z = q.sample()
    for analytic in (False, True):
        terms = entry_terms(p.to_event(2), q.to_event(2), z, analytic)
        assert terms is not None and terms.shape == (6, 5)
        each = -kl_divergence(q, p) if analytic else p.log_prob(z) - q.log_prob(z)
        assert torch.allclose(terms, each.flatten(1).T)
    scalar = entry_terms(dist.Normal(0.0, 1.0), dist.Normal(torch.zeros(5), 2.0), torch.ones(5), False)
    assert scalar is not None and scalar.shape == (1, 5)


def test_other_pairs_have_no_entries():
    q, p = pair()
    z = q.sample()
    assert entry_terms(p.to_event(1), q.to_event(2), z, True) is None
    full = dist.MultivariateNormal(torch.zeros(3), torch.eye(3))
    assert entry_terms(full, dist.Normal(torch.zeros(3), 1.0).to_event(1), torch.zeros(3), True) is None
    flow = NSF(3, hidden=(4,)).distribution()
    assert entry_terms(flow, dist.Normal(torch.zeros(3), 1.0).to_event(1), torch.zeros(3), True) is None


def test_a_pair_without_a_divergence_is_sampled():
    q, p = dist.Normal(torch.zeros(3), 1.0).to_event(1), dist.StudentT(3.0, torch.zeros(3)).to_event(1)
    z = torch.randn(3)
    terms = entry_terms(p, q, z, True)
    assert terms is not None and torch.allclose(terms.sum(), p.log_prob(z) - q.log_prob(z))


def test_a_held_density_has_the_gradient_of_its_value_alone():
    loc = torch.tensor([0.3], requires_grad=True)
    z = loc * 2 + 1
    q = dist.Normal(loc, 0.5)
    assert torch.equal(log_density(q, z, held=True), q.log_prob(z))
    (found,) = torch.autograd.grad(log_density(q, z, held=True).sum(), loc)
    assert torch.allclose(found, -(z - loc) / 0.25 * 2)


def test_base_and_kind():
    assert isinstance(base_of(dist.Normal(torch.zeros(2), 1.0).to_event(1)), dist.Normal)
    assert kind_of(dist.Normal(0.0, 1.0)) is Kind.EXACT
