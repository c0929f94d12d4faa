"""The queries: shapes, kinds, seeds, bounds against closed forms, and typed refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pyro import distributions as dist

from tests import problems
from tests.programs import Conditional, Outside, SharedMean, Switch, Toy
from unigen.densities.density import Density
from unigen.densities.importance import Importance
from unigen.distributions.likelihoods import Bernoulli, Categorical
from unigen.errors import (
    ArgumentError,
    ContextError,
    DTypeError,
    EmptyDataError,
    NonFiniteError,
    ShapeError,
    SupportError,
    UnsupportedQueryError,
)
from unigen.logprob import Kind, LogProb
from unigen.models.mixture import GaussianMixture
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.queries import CHUNK, evaluating, seeded
from unigen.samplers.sampler import Sampler


def tiny_vae(**options) -> VAE:
    return VAE(3, 2, hidden=(8,), **options)


# -- sampling ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [tiny_vae, Toy, SharedMean, Switch, lambda: PPCA(3, 1), lambda: GaussianMixture(3, 2)]
)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_sample_shape_dtype_and_detachment(make, n):
    program = make()
    x = program.sample(n)
    assert x.shape == (n, *program.event_shape)
    assert x.dtype is program.dtype and not x.requires_grad


def test_seed_reproduces_and_leaves_the_global_stream_alone():
    program = tiny_vae()
    state = torch.get_rng_state()
    a, b, c = program.sample(4, seed=1), program.sample(4, seed=1), program.sample(4, seed=2)
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(program.sample(4), program.sample(4))


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None, "3"])
def test_sample_refuses_n(n):
    with pytest.raises(ArgumentError, match="positive integer"):
        Toy().sample(n)


def test_sampler_and_density_can_be_swapped():
    class Zeros(Sampler):
        def draw(self, program, n, context=None):
            return torch.zeros(n, *program.event_shape)

    class Flat(Density):
        kind = Kind.UNNORMALISED

        def log_prob(self, program, x, context=None):
            return LogProb(torch.zeros(x.shape[0]), self.kind)

    vae = tiny_vae()
    assert vae.sample(3, sampler=Zeros()).abs().max() == 0
    assert vae.log_prob(torch.randn(3, 3), density=Flat()).kind is Kind.UNNORMALISED
    vae.sampler, vae.density = Zeros(), Flat()
    assert vae.sample(3).abs().max() == 0 and vae.kind is Kind.UNNORMALISED


def test_names_and_classes_are_no_parts():
    vae, x = tiny_vae(), torch.randn(3, 3)
    name: Any = "importance"
    kind: Any = Importance
    for wrong in (name, kind):
        with pytest.raises(ArgumentError, match=r"density.*Importance"):
            vae.log_prob(x, density=wrong)
        with pytest.raises(ArgumentError, match="density"):
            vae.score(x, density=wrong)
    with pytest.raises(ArgumentError, match=r"sampler.*Ancestral"):
        vae.sample(2, sampler=name)


def test_conditional_sampling():
    program, c = Conditional(), torch.randn(6, 3)
    assert program.sample(6, c).shape == (6, 2)
    assert program.sample(6, c[:1]).shape == (6, 2)
    n = 40_000
    x = program.sample(n, c[:1], seed=0)
    truth = program.mean(c[0]).detach()
    assert ((x.mean(0) - truth) * n**0.5).abs().max() < 5
    for bad in (None, c[:4], c[:, :2], torch.randn(3)):
        with pytest.raises(ContextError):
            program.sample(6, bad)
    with pytest.raises(ContextError, match="expected none"):
        tiny_vae().sample(6, c)


# -- log_prob ------------------------------------------------------------------------------------------------


def test_exact_without_latents():
    program, x, c = Conditional(), torch.randn(5, 2), torch.randn(5, 3)
    log_p = program.log_prob(x, c)
    truth = dist.Normal(program.mean(c), program.log_scale.exp()).log_prob(x).sum(-1)
    assert log_p.kind is Kind.EXACT is program.kind and log_p.stderr is None and log_p.dims == 2
    assert torch.allclose(log_p.value, truth)


def test_bound_lies_below_and_near_the_truth():
    x = torch.ones(400, 1, dtype=torch.float64)
    log_p = Toy().log_prob(x)
    assert log_p.kind is Kind.LOWER_BOUND and log_p.stderr.shape == (400,)
    mean = log_p.mean()
    assert abs(mean.value - problems.toy_bound(64)) < 5 * mean.stderr
    # the stated Monte Carlo error is the spread that is seen, within the error of a standard deviation
    assert log_p.stderr.mean().item() == pytest.approx(log_p.value.std().item(), rel=0.2)
    exact = Toy(exact=True).log_prob(x[:3])
    assert np.allclose(exact.value, problems.toy_evidence(), atol=1e-12)
    assert exact.stderr.max() < 1e-7


def test_a_site_outside_the_plate():
    assert np.allclose(
        Outside(exact=True).log_prob(torch.ones(3, 1)).value, problems.toy_evidence(), atol=1e-12
    )
    with pytest.raises(UnsupportedQueryError, match="couples all examples"):
        SharedMean().log_prob(torch.zeros(3, 1))


def test_chunks_do_not_change_the_answer():
    program = PPCA(3, 1)
    x = torch.randn(CHUNK + 7, 3)
    assert torch.allclose(program.log_prob(x).value, program.marginal().log_prob(x), atol=1e-5)
    conditional, c = Conditional(), torch.randn(CHUNK + 7, 3)
    y = torch.randn(CHUNK + 7, 2)
    assert torch.allclose(conditional.log_prob(y, c).value[-7:], conditional.log_prob(y[-7:], c[-7:]).value)
    assert tiny_vae().log_prob(x).stderr.shape == (CHUNK + 7,)


def test_gradients_flow_to_x_only_when_asked():
    program = PPCA(3, 1)
    x = torch.randn(4, 3)
    assert not program.log_prob(x).value.requires_grad
    assert program.log_prob(x.requires_grad_(True)).value.requires_grad


def test_takes_numpy_lists_and_other_floats():
    program = PPCA(3, 1)
    x = np.random.default_rng(0).normal(size=(4, 3))
    expected = program.log_prob(torch.from_numpy(x).float()).value
    for other in (x, x.tolist(), torch.from_numpy(x)):
        assert torch.allclose(program.log_prob(other).value, expected)


@pytest.mark.parametrize(("x", "error"), [
    (torch.zeros(2, 4), ShapeError), (torch.zeros(3), ShapeError), (torch.zeros(0, 3), EmptyDataError),
    (torch.zeros(2, 3, dtype=torch.long), DTypeError), (torch.full((2, 3), math.nan), NonFiniteError),
    (None, DTypeError),
])  # fmt: skip
@pytest.mark.parametrize("query", ["log_prob", "posterior", "encode", "reconstruct", "score", "energy"])
def test_every_query_refuses_bad_data(query, x, error):
    with pytest.raises(error) as caught:
        getattr(PPCA(3, 1), query)(x)
    assert caught.value.program == "PPCA"


def test_support_of_discrete_likelihoods():
    binary = tiny_vae(likelihood=Bernoulli())
    assert binary.log_prob(torch.ones(2, 3)).value.shape == (2,)
    with pytest.raises(SupportError):
        binary.log_prob(torch.full((2, 3), 2.0))
    with pytest.raises(DTypeError, match="fractional"):
        binary.log_prob(torch.full((2, 3), 0.5))
    levels = tiny_vae(likelihood=Categorical(4))
    assert levels.log_prob(torch.full((2, 3), 3)).value.isfinite().all()
    with pytest.raises(SupportError):
        levels.log_prob(torch.full((2, 3), 4))
    assert levels.decode(torch.zeros(2, 2)).shape == (2, 3)
    with pytest.raises(UnsupportedQueryError, match="discrete x has no score"):
        binary.score(torch.ones(2, 3))


# -- posterior, encode, decode -------------------------------------------------------------------------------


def test_posterior_encode_decode_reconstruct():
    x = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)
    toy = Toy(exact=True)
    q = toy.posterior(x)
    assert (
        q.batch_shape == (2,)
        and torch.allclose(q.mean, x / 2)
        and torch.allclose(q.variance, torch.full_like(x, 0.5))
    )
    assert torch.allclose(toy.encode(x), x / 2) and torch.allclose(toy.decode(x), x)
    assert torch.allclose(toy.reconstruct(x), x / 2)
    for bad, error in ((torch.zeros(2, 3), ShapeError), (torch.full((2, 1), math.nan), NonFiniteError)):
        with pytest.raises(error) as caught:
            toy.decode(bad)
        assert caught.value.site == "z"


def test_labels_are_encoded_by_the_most_likely_one():
    """torch's Categorical has a mean of NaN; the code of a mixture is its most responsible component."""
    mixture = GaussianMixture(2, 3)
    with torch.no_grad():
        mixture.means.copy_(torch.tensor([[0.0, 0], [9, 0], [0, 9]]))
    x = torch.tensor([[0.2, 8.5], [8.8, 0.1]])
    assert mixture.encode(x).tolist() == [2, 1]
    assert torch.equal(mixture.reconstruct(x), mixture.means[[2, 1]])
    assert mixture.decode(torch.tensor([0])).tolist() == [[0.0, 0.0]]
    with pytest.raises(SupportError):
        mixture.decode(torch.tensor([3]))


def test_no_latent_no_posterior():
    with pytest.raises(UnsupportedQueryError, match="no latent"):
        Conditional().posterior(torch.zeros(1, 2), torch.zeros(1, 3))


# -- score and energy ----------------------------------------------------------------------------------------


def test_score_is_the_gradient_and_energy_the_negative():
    program = PPCA(3, 1).double()
    x = program.sample(5, seed=0)
    w, s2 = program.weight.detach(), program.variance.item()
    truth = -(x - program.mean) @ torch.linalg.inv(w @ w.mT + s2 * torch.eye(3, dtype=torch.float64))
    assert torch.allclose(program.score(x), truth, atol=1e-10)
    assert torch.allclose(program.energy(x), -program.log_prob(x).value)
    assert not program.score(x).requires_grad


def test_fishers_identity():
    """THEOREMS 7: ∇ log p(x) = E_{p(z|x)} ∇ log p(x | z); for the toy −x/2."""
    x = torch.tensor([[0.4], [1.6]], dtype=torch.float64)
    assert torch.allclose(Toy(exact=True).score(x), -x / 2, atol=1e-9)


# -- modes and streams ---------------------------------------------------------------------------------------


def test_dropout_is_off_in_queries_and_restored():
    encoder = torch.nn.Sequential(torch.nn.Dropout(0.9), torch.nn.Linear(3, 4))
    vae = tiny_vae(encoder=encoder)
    encoder[1].eval()
    x = torch.ones(2, 3)
    assert torch.equal(vae.encode(x), vae.encode(x))
    assert vae.training and encoder[0].training and not encoder[1].training
    with pytest.raises(RuntimeError), evaluating(vae):
        assert not encoder[0].training
        raise RuntimeError
    assert encoder[0].training


def test_seeded_without_a_seed_is_transparent():
    torch.manual_seed(0)
    with seeded(None, torch.device("cpu")):
        a = torch.randn(2)
    torch.manual_seed(0)
    assert torch.equal(a, torch.randn(2))


def test_distribution_of_a_program():
    ppca = PPCA(3, 1)
    p = ppca.distribution()
    assert torch.allclose(p.log_prob(torch.zeros(2, 3)), ppca.log_prob(torch.zeros(2, 3)).value)
    q = tiny_vae().distribution()
    assert q.kind is Kind.LOWER_BOUND and q.event_shape == (3,) and q.sample((4, 2)).shape == (4, 2, 3)
    assert q.expand((5,)).log_prob(torch.zeros(5, 3)).shape == (5,)
    assert PCA(3, 1).distribution().sample((4,)).shape == (4, 3)
    c = torch.randn(6, 3)
    r = Conditional().distribution(c)
    assert (
        r.batch_shape == (6,) and r.sample().shape == (6, 2) and r.log_prob(torch.zeros(6, 2)).shape == (6,)
    )


@pytest.mark.parametrize("query", ["log_prob", "score", "energy"])
def test_a_seed_reproduces_a_monte_carlo_value(query):
    vae, x = tiny_vae(), torch.randn(5, 3)
    ask = getattr(vae, query)
    state = torch.get_rng_state()

    def value(seed: int) -> torch.Tensor:
        found = ask(x, seed=seed)
        return found.value if isinstance(found, LogProb) else found

    assert torch.equal(value(1), value(1))
    assert not torch.equal(value(1), value(2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    with evaluating(vae):
        unseeded = getattr(vae, query)(x)
    assert torch.equal(unseeded.value if isinstance(unseeded, LogProb) else unseeded, value(1))
