"""Mixtures of programs against their components, quadrature, and data from a known mixture of subspaces."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, config_enumerate

from tests import problems
from tests.programs import Conditional, traces_with_symbolic_batch
from unigen.densities.importance import Importance
from unigen.errors import (
    ArgumentError,
    ContextError,
    EmptyDataError,
    NoDensityError,
    ShapeError,
    SupportError,
)
from unigen.inference.fit import fit
from unigen.inference.persist import load, save
from unigen.logprob import Kind
from unigen.models.energy import EnergyModel
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.flow import MAF
from unigen.models.gan import GAN
from unigen.models.made import MADE
from unigen.models.mixture import GaussianMixture
from unigen.models.mixture_of_programs import Mixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.objectives.elbo import ELBO, elbo
from unigen.objectives.likelihood import EM, MaximumLikelihood
from unigen.objectives.weighted import takes_weights
from unigen.program import Program
from unigen.testing.check import check_program


def exact_mixture(d: int = 3) -> Mixture:
    """Four kinds of exact component, float64, with unequal weights and moved apart."""
    parts = [PPCA(d, 1), MAF(d, hidden=(8,), transforms=2), GaussianMixture(d, 2), MADE(d, hidden=(8,))]
    mixture = Mixture(parts).double()
    with torch.no_grad():
        mixture.logits.copy_(torch.tensor([0.5, -0.3, 0.2, 0.0]))
        mixture.get_parameter("components.0.mean").add_(2.0)
    return mixture


def by_hand(mixture: Mixture, x: torch.Tensor) -> torch.Tensor:
    """log π_k p_k(x), shape (N, K), one query a component."""
    columns = [part.log_prob(x).value for part in mixture.parts]
    return torch.stack(columns, -1) + mixture.logits.detach().log_softmax(-1)


def subspaces(n: int = 600, d: int = 6) -> tuple[Mixture, torch.Tensor]:
    """A mixture of three PPCAs with planes of their own, and draws from it."""
    truth = Mixture([PPCA(d, 2) for _ in range(3)]).double()
    with torch.no_grad():
        for k, part in enumerate(truth.parts):
            axes = torch.zeros(d, 2, dtype=torch.float64)
            axes[2 * k, 0], axes[2 * k + 1, 1] = 3.0, 2.0
            centre = torch.zeros(d, dtype=torch.float64)
            centre[(2 * k + 2) % d] = 4.0
            part.write(axes, centre, torch.tensor([0.1], dtype=torch.float64))
    return truth, truth.sample(n, seed=5)


def test_density_responsibilities_and_bound():
    mixture = exact_mixture()
    x = mixture.sample(40, seed=0)
    joint = by_hand(mixture, x)
    log_p = mixture.log_prob(x)
    assert log_p.kind is mixture.kind is Kind.EXACT
    assert torch.allclose(log_p.value, joint.logsumexp(1), rtol=0, atol=1e-12)
    assert torch.allclose(mixture.posterior(x).probs, joint.softmax(1), rtol=0, atol=1e-12)
    assert torch.equal(mixture.encode(x).long(), joint.argmax(1))
    assert (elbo(mixture, x, enumerate=True) - log_p.value).abs().max() <= 1e-9
    assert torch.allclose(mixture.distribution().log_prob(x), log_p.value, rtol=0, atol=1e-12)


def test_pyros_enumeration_agrees():
    mixture = exact_mixture()
    x = mixture.sample(12, seed=1)
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(config_enumerate(mixture.model), lambda x: None, x)
    assert loss == pytest.approx(-mixture.log_prob(x).value.sum().item(), abs=1e-8)


@pytest.mark.parametrize(
    "make", [lambda: PPCA(3, 1), lambda: FactorAnalysis(3, 1), lambda: GaussianMixture(3, 2)]
)
def test_one_component_is_the_component(make):
    x = torch.randn(80, 3).double() * torch.tensor([2.0, 1.0, 0.5])
    alone = make().double()
    step = getattr(alone, takes_weights(alone) or "")
    alone.em_step(x)
    mixture = Mixture([copy.deepcopy(alone)]).double()
    mixture.seeded.fill_(True)
    for _ in range(5):
        assert (mixture.log_prob(x).value - alone.log_prob(x).value).abs().max() <= 1e-12
        step(x)
        mixture.em_step(x)
    assert (mixture.log_prob(x).value - alone.log_prob(x).value).abs().max() <= 1e-10


def test_one_dimensional_components_integrate_to_one():
    mixture = Mixture(
        [MAF(1, hidden=(4,), transforms=2), GaussianMixture(1, 3), MADE(1, hidden=(4,))]
    ).double()
    total = problems.integral_1d(
        lambda g: mixture.log_prob(torch.from_numpy(g)[:, None]).value.exp().detach().numpy(),
        -60,
        60,
        200_001,
    )
    assert total == pytest.approx(1.0, abs=1e-6)


def test_draws_come_from_every_component_in_proportion():
    truth, _ = subspaces()
    with torch.no_grad():
        truth.logits.copy_(torch.tensor([0.5, 0.3, 0.2]).log())
    n = 6000
    label = truth.encode(truth.sample(n, seed=3)).long()
    share = label.bincount(minlength=3).double() / n
    expected = torch.tensor([0.5, 0.3, 0.2])
    r = truth.posterior(truth.sample(2000, seed=4)).probs.max(1).values.mean()  # how often a label is right
    stderr = (expected * (1 - expected) / n).sqrt()
    assert ((share - expected).abs() < 5 * stderr + (1 - r)).all()


def test_em_never_falls_and_beats_one_subspace():
    truth, x = subspaces()
    single = PPCA(6, 2).double()
    single.solve(x)
    mixture = Mixture([PPCA(6, 2) for _ in range(3)]).double()
    values = []
    for _ in range(40):
        mixture.em_step(x)
        values.append(mixture.log_prob(x).mean().value)
    assert all(b >= a - 1e-9 for a, b in pairwise(values))
    gain = (
        truth.log_prob(x).mean().value - single.log_prob(x).mean().value
    )  # what the truth is worth on these data
    assert gain > 1.0
    assert values[-1] - single.log_prob(x).mean().value > 0.5 * gain


def test_em_from_the_truth_ends_above_it():
    truth, x = subspaces()
    mixture = copy.deepcopy(truth)
    mixture.seeded.fill_(True)
    with torch.no_grad():
        mixture.logits.copy_(torch.tensor([1.0, 0.0, -1.0]))
    r = mixture.posterior(x).probs
    mixture.em_step(x)
    assert torch.allclose(mixture.logits.softmax(0), r.mean(0), rtol=0, atol=1e-12)
    for _ in range(20):
        mixture.em_step(x)
    # 2 Δ log-likelihood of 3 · 18 + 2 free parameters is about χ²₅₆ / N a example: mean 56/1200, sd √112/1200
    rise = mixture.log_prob(x).mean().value - truth.log_prob(x).mean().value
    assert 0 < rise < (56 + 6 * 112**0.5) / (2 * x.shape[0])


def test_generalised_em_of_a_flow_never_falls():
    x = torch.cat([torch.randn(40, 2) + 3, torch.randn(40, 2) * 0.5 - 3]).double()
    mixture = Mixture([MAF(2, hidden=(8,), transforms=2), PPCA(2, 1)]).double()
    values = []
    for _ in range(6):
        mixture.em_step(x)
        values.append(mixture.log_prob(x).mean().value)
    assert all(b >= a - 1e-9 for a, b in pairwise(values))
    assert values[-1] > values[0] + 0.01


def test_weights_count_examples():
    _, x = subspaces(100)
    counts = torch.randint(0, 4, (100,)).double()
    mixture = Mixture([PPCA(6, 1), FactorAnalysis(6, 1), GaussianMixture(6, 2)]).double()
    mixture.initialise(x)
    twin = copy.deepcopy(mixture)
    mixture.em_step(x, weights=counts)
    twin.em_step(x.repeat_interleave(counts.long(), 0))
    assert (mixture.log_prob(x).value - twin.log_prob(x).value).abs().max() < 1e-9


def test_shrinkage_pulls_components_to_the_whole():
    _, x = subspaces(100)
    strong = Mixture([PPCA(6, 2), PPCA(6, 2)], shrinkage=1e9).double()
    for _ in range(200):
        strong.em_step(x)
    single = PPCA(6, 2).double()
    single.solve(x)
    for part in strong.parts:
        assert part.log_prob(x).mean().value == pytest.approx(single.log_prob(x).mean().value, abs=1e-6)


@pytest.mark.parametrize("objective", [None, MaximumLikelihood(), ELBO(enumerate=True)])
def test_a_flow_and_ppca_train_by_gradient(objective):
    x = torch.cat([torch.randn(200, 2) + 3, torch.randn(200, 2) * 0.5 - 3])
    mixture = Mixture([MAF(2, hidden=(8,), transforms=2), PPCA(2, 1)], objective=objective)
    before = mixture.log_prob(x).mean().value
    fit(mixture, x, steps=150, lr=1e-2, seed=0)
    assert mixture.log_prob(x).mean().value > before + 0.3


def test_the_gradient_of_the_enumerated_bound_is_that_of_the_likelihood():
    mixture = exact_mixture()
    x = mixture.sample(20, seed=2)
    gradients = []
    for objective in (MaximumLikelihood(), ELBO(enumerate=True)):
        player = objective.players(mixture)[0]
        gradients.append(torch.autograd.grad(player.loss(x), list(mixture.parameters())))
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("objective", [MaximumLikelihood(), ELBO(), ELBO(enumerate=True)])
def test_losses_trace_with_a_symbolic_batch(objective):
    assert traces_with_symbolic_batch(Mixture([PPCA(5, 2), PPCA(5, 3)]), objective, torch.randn(8, 5))


def test_a_bound_among_the_components_makes_a_bound():
    vae, ppca = VAE(3, 1, hidden=(8,)).double(), PPCA(3, 1).double()
    mixture = Mixture([vae, ppca]).double()
    x = torch.randn(30, 3).double()
    assert mixture.kind is Kind.LOWER_BOUND
    found = mixture.log_prob(x)
    tight = torch.stack([vae.log_prob(x, density=Importance(20_000)).value, ppca.log_prob(x).value], -1)
    truth = (tight + mixture.logits.detach().log_softmax(-1)).logsumexp(-1)
    assert found.kind is Kind.LOWER_BOUND and found.stderr is not None
    mean, noise = (found.value - truth).mean().item(), found.mean().monte_carlo
    assert noise is not None and -0.2 < mean < 5 * noise
    before = mixture.log_prob(x).mean().value
    fit(mixture, x, steps=100, lr=1e-2, seed=0, dtype=torch.float64)
    assert mixture.log_prob(x).mean().value > before


def test_an_energy_makes_it_unnormalised():
    mixture = Mixture([EnergyModel(2), PPCA(2, 1)])
    assert mixture.kind is mixture.log_prob(torch.randn(4, 2)).kind is Kind.UNNORMALISED
    with pytest.raises(NoDensityError, match=r"component 0, EnergyModel: unnormalised"):
        mixture.em_step(torch.randn(9, 2))
    with pytest.raises(NoDensityError, match="EM needs an exact density"):
        fit(mixture, torch.randn(9, 2), objective=EM())


class Box(Program):
    """x ~ U(0, 1)², on another set than the reals."""

    def model(self, x=None, n=1):
        with self.plate(x, n):
            return pyro.sample("x", pyro.distributions.Uniform(torch.zeros(2), 1.0).to_event(1), obs=x)


def test_refuses_components_that_do_not_fit():
    for bad in ([], [PPCA(3, 1), torch.nn.Linear(3, 3)]):
        with pytest.raises(ArgumentError, match="a list of programs"):
            Mixture(bad)
    part = PPCA(3, 1)
    with pytest.raises(ArgumentError, match="twice"):
        Mixture([part, part])
    with pytest.raises(ShapeError, match=r"component 0, PPCA, and component 1, MAF.*\(4,\).*\(3,\)"):
        Mixture([PPCA(3, 1), MAF(4)])
    with pytest.raises(SupportError, match="component 0, PPCA, and component 1, Box"):
        Mixture([PPCA(2, 1), Box()])
    with pytest.raises(NoDensityError, match="component 1, GAN, has draws only"):
        Mixture([PPCA(2, 1), GAN(2)])
    with pytest.raises(ContextError, match="component 0, MAF"):
        Mixture([MAF(2, context=1), MAF(2, context=3)])
    with pytest.raises(ArgumentError, match="≥ 0"):
        Mixture([PPCA(3, 1)], shrinkage=-1.0)


def test_conditional_components():
    mixture = Mixture([MAF(2, context=3, hidden=(8,)), Conditional(), PPCA(2, 1)])
    c = torch.randn(6, 3)
    x = mixture.sample(6, c, seed=0)
    joint = [mixture.parts[0].log_prob(x, c), mixture.parts[1].log_prob(x, c), mixture.parts[2].log_prob(x)]
    expected = torch.stack([p.value for p in joint], -1) - math.log(3)
    assert torch.allclose(mixture.log_prob(x, c).value, expected.logsumexp(-1), atol=1e-5)
    assert mixture.context_features == 3
    fit(mixture, (x, c), steps=3, batch_size=4)
    with pytest.raises(ContextError):
        mixture.log_prob(x)


@pytest.mark.parametrize(
    "x",
    [
        torch.cat([torch.randn(30, 3), torch.zeros(30, 3)]),  # duplicates
        torch.cat([torch.randn(60, 2), torch.ones(60, 1)], 1),  # a constant column
        torch.cat([torch.randn(58, 3), torch.full((2, 3), 1e4)]),  # two outliers
    ],
)
def test_awkward_data_give_numbers_or_a_typed_error(x):
    for parts in (
        [PPCA(3, 1) for _ in range(4)],
        [FactorAnalysis(3, 1) for _ in range(4)],
        [GaussianMixture(3, 2)],
    ):
        mixture = Mixture(parts)
        for _ in range(15):
            mixture.em_step(x)
        assert mixture.log_prob(x).value.isfinite().all()
        assert mixture.posterior(x).probs.isfinite().all()
        assert mixture.sample(5, seed=0).isfinite().all()


def test_an_empty_component_keeps_its_parameters():
    mixture = Mixture([PPCA(2, 1), PPCA(2, 1)]).double()
    with torch.no_grad():
        mixture.get_parameter("components.1.mean").add_(1e4)
    mixture.seeded.fill_(True)
    before = copy.deepcopy(mixture.parts[1].state_dict())
    x = torch.randn(50, 2).double()
    mixture.em_step(x)
    assert all(torch.equal(before[k], v) for k, v in mixture.parts[1].state_dict().items())
    assert mixture.log_prob(x).value.isfinite().all() and mixture.logits.isfinite().all()


def test_refuses_too_few_or_degenerate_data():
    mixture = Mixture([PPCA(3, 1) for _ in range(4)])
    with pytest.raises(ShapeError, match="at least K = 4"):
        mixture.em_step(torch.randn(3, 3))
    with pytest.raises(ArgumentError, match="no maximum"):
        mixture.em_step(torch.ones(9, 3))
    with pytest.raises(ShapeError, match="weights"):
        mixture.em_step(torch.randn(9, 3), weights=torch.ones(8))
    with pytest.raises(EmptyDataError):
        fit(mixture, torch.zeros(0, 3))


def test_saved_and_loaded(tmp_path):
    mixture = Mixture(
        [PPCA(3, 1), MAF(3, hidden=(4,)), GaussianMixture(3, 2)], objective=ELBO(enumerate=True)
    )
    mixture.em_step(torch.randn(40, 3))
    other = load(save(mixture, tmp_path / "mixture.safetensors"))
    x = torch.randn(5, 3)
    assert torch.equal(other.log_prob(x).value, mixture.log_prob(x).value)
    assert repr(other.objective) == repr(mixture.objective)
    assert bool(other.seeded)


def test_runs_under_pyros_svi():
    mixture = Mixture([PPCA(3, 1), PPCA(3, 1)])
    svi = SVI(mixture.model, mixture.guide, pyro.optim.Adam({"lr": 0.02}), Trace_ELBO())
    x = torch.randn(50, 3) * 3
    losses = [svi.step(x) for _ in range(40)]
    assert losses[-1] < losses[0]


def test_a_mixture_is_a_prior_and_a_component():
    prior = Mixture([PPCA(2, 1), MAF(2, hidden=(4,))])
    vae = VAE(5, 2, prior=prior, hidden=(8,))
    fit(vae, torch.randn(20, 5), steps=3)
    assert vae.log_prob(torch.randn(3, 5)).value.isfinite().all()
    nested = Mixture([Mixture([PPCA(3, 1), PPCA(3, 1)]), PPCA(3, 1)]).double()
    x = torch.randn(50, 3).double()
    for _ in range(3):
        nested.em_step(x)
    assert torch.allclose(nested.log_prob(x).value, by_hand(nested, x).logsumexp(1), rtol=0, atol=1e-12)


def test_decoding_gives_the_means_of_the_components():
    truth, _ = subspaces()
    found = truth.decode(torch.tensor([2, 0, 1]))
    expected = torch.stack([truth.get_parameter(f"components.{k}.mean") for k in (2, 0, 1)])
    assert torch.allclose(found, expected.detach())
    assert exact_mixture().decode(torch.tensor([1, 3])).shape == (2, 3)  # by draws


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mixture([PPCA(2, 1), FactorAnalysis(2, 1)]),
        lambda: Mixture([MAF(2, hidden=(8,), transforms=2), GaussianMixture(2, 2)]),
        lambda: Mixture([VAE(3, 1, hidden=(8,)), PPCA(3, 1)]),
        lambda: Mixture([MAF(2, context=2, hidden=(8,), transforms=2), Conditional(2, 2)]),
    ],
)
def test_laws(make):
    check_program(make())
