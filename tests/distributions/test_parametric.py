"""Any Pyro distribution as likelihood: against the distribution itself, SciPy, and refusals."""

from __future__ import annotations

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats
import torch

import unigen as ug
from unigen.distributions.parametric import Parametric, likelihood
from unigen.errors import ArgumentError, UnigenError, UnknownNameError

F64 = torch.float64
FAMILIES = [
    likelihood(dist.Gamma),
    likelihood(dist.Beta),
    likelihood(dist.LogNormal),
    likelihood(dist.StudentT, df=4.0),
    likelihood(dist.NegativeBinomial),
    likelihood(dist.Binomial, total_count=5.0),
    likelihood(dist.Weibull),
    likelihood(dist.ZeroInflatedPoisson),
    likelihood(dist.Pareto, scale=1.0),
]
each_family = pytest.mark.parametrize("head", FAMILIES, ids=lambda h: h.extra_repr())


@each_family
def test_shapes_support_and_gradients(head):
    raw = torch.randn(5, 7, 4 * head.parameters_per_feature, requires_grad=True)
    p = head(raw, (4,))
    x = p.sample()
    assert x.shape == (5, 7, 4) and p.log_prob(x).shape == (5, 7) and bool(p.support.check(x).all())
    assert head.discrete == p.support.is_discrete and head.reparameterised == p.has_rsample
    inside = x.clamp(1e-3, 1 - 1e-3) if head.name == "Beta" else x
    (grad,) = torch.autograd.grad(p.log_prob(inside).sum(), raw)
    assert grad.isfinite().all() and (grad != 0).any()


def test_densities_against_scipy():
    raw, x = torch.randn(6, 2, dtype=F64), torch.rand(6, 1, dtype=F64)
    a, b = raw.exp().numpy().T
    got = likelihood(dist.Gamma)(raw, (1,)).log_prob(x).numpy()
    np.testing.assert_allclose(got, scipy.stats.gamma.logpdf(x[:, 0], a, scale=1 / b), rtol=1e-10)
    got = likelihood(dist.StudentT, df=4.0)(raw, (1,)).log_prob(x).numpy()
    np.testing.assert_allclose(got, scipy.stats.t.logpdf(x[:, 0], 4, raw[:, 0], b), rtol=1e-10)


def test_marginals_are_the_maximum_of_the_likelihood():
    x = torch.distributions.Gamma(3.0, 2.0).sample((400, 2)).double()
    head = likelihood(dist.Gamma)
    raw = head.marginals(x)
    for j in range(2):
        shape, _, scale = scipy.stats.gamma.fit(x[:, j].numpy(), floc=0)
        assert raw[j].exp().tolist() == pytest.approx([shape, 1 / scale], rel=1e-3)


def test_one_of_each_pair_of_names_is_free():
    assert likelihood(dist.NegativeBinomial).free == ("total_count", "logits")
    assert likelihood(dist.ZeroInflatedPoisson).free == ("rate", "gate_logits")
    assert likelihood(dist.NegativeBinomial, probs=0.5).free == ("total_count",)


def test_codes_of_positive_numbers_are_logarithms():
    x = torch.tensor([[0.5, 3.0]])
    torch.testing.assert_close(likelihood(dist.Gamma).encode(x), torch.log1p(x))
    assert torch.equal(likelihood(dist.Beta).encode(x), x) and torch.equal(
        likelihood(dist.Laplace).encode(x), x
    )


def test_a_vae_of_positive_numbers_trains_and_comes_back(tmp_path):
    vae = ug.VAE(3, 1, likelihood=ug.likelihood(dist.Gamma), hidden=(8,))
    x = torch.distributions.Gamma(2.0, 1.0).sample((60, 3))
    curve = [v for _, v in ug.fit(vae, x, steps=80, lr=1e-2, seed=0).history["elbo"]]
    assert sum(curve[-10:]) < sum(curve[:10])
    again = ug.load(ug.save(vae, tmp_path / "vae"))
    assert torch.equal(again.sample(4, seed=0), vae.sample(4, seed=0)) and (vae.sample(4) > 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Parametric("Gamme"),
        lambda: Parametric("constraints"),
        lambda: likelihood(dist.Dirichlet),
        lambda: likelihood(dist.Uniform),
        lambda: likelihood(dist.Pareto),
        lambda: likelihood(dist.Categorical),
        lambda: likelihood(dist.Gamma, shape=2.0),
        lambda: likelihood(dist.Bernoulli, probs=0.5),
    ],
)
def test_what_is_no_univariate_family_is_refused(make):
    with pytest.raises(UnigenError) as caught:
        make()
    assert isinstance(caught.value, ArgumentError | UnknownNameError)
