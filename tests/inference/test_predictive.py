"""The posterior predictive of conjugate models against its closed form, through the queries that every program has."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch

import unigen as ug
from benchmarks.conjugate import Coin, Mean, Rate, Regression, simulated
from tests.programs import SharedMean, Toy
from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.inference.draws import Draws
from unigen.inference.infer import infer
from unigen.inference.predictive import PosteriorPredictive, pointwise, replicate
from unigen.inference.variational import Laplace
from unigen.traces import draw

S = 4000


def exact_draws(program, *x) -> Draws:
    """Independent draws from the conjugate posterior, as if an engine had made them."""
    exact = program.exact(*x)
    q = draw(lambda: program.guide(*x))[exact.site]["fn"]
    value = q.sample((S,)).reshape(2, S // 2, *exact.mean.shape)
    return Draws(program, {exact.site: value}, data=x[0], context=x[1] if len(x) > 1 else None)


def test_draws_and_density_of_a_gaussian():
    """x* | x ~ N(m, v + 1.5²)."""
    program = Mean().double()
    (x,) = simulated(program, 6)
    exact, draws = program.exact(x), exact_draws(program, x)
    truth = dist.Normal(exact.mean, (exact.sd**2 + 2.25).sqrt())
    new = draws.sample(S, seed=int(torch.randint(99, ())))
    unit = (new - truth.mean) / truth.stddev
    assert new.shape == (S, 1)
    assert abs(float(unit.mean())) < 5 / S**0.5 and abs(float(unit.square().mean() - 1)) < 5 * (2 / S) ** 0.5
    grid = torch.linspace(-4, 4, 9).double()[:, None] * 2
    found = draws.log_prob(grid)
    z = (found.value - truth.log_prob(grid)[:, 0]) / found.stderr
    assert str(found.kind) == "estimate" and z.abs().max() < 5


def test_counts_and_a_coin():
    """Poisson–Gamma: negative binomial; Bernoulli–Beta: the posterior mean. All by the same two queries."""
    program = Rate().double()
    (x,) = simulated(program, 6)
    draws = exact_draws(program, x)
    a, b = 2 + x.sum(), torch.tensor(7.0).double()
    truth = torch.distributions.NegativeBinomial(a, 1 / (1 + b))
    counts = torch.arange(6).double()[:, None]
    found = draws.log_prob(counts)
    assert ((found.value - truth.log_prob(counts)[:, 0]) / found.stderr).abs().max() < 5
    new = draws.sample(S)
    assert abs(float(new.mean() - truth.mean)) < 5 * float(truth.stddev) / S**0.5
    coin = Coin().double()
    (x,) = simulated(coin, 6)
    mass = exact_draws(coin, x).log_prob(torch.ones(1, 1))
    assert abs(float(mass.value - coin.exact(x).mean.log())) < 5 * float(mass.stderr)


def test_each_row_has_its_own_context():
    program = Regression().double()
    x, context = simulated(program, 8)
    mean, covariance = program.moments(x, context)
    draws = exact_draws(program, x, context)
    rows = torch.tensor([[2.0, 0.0, 0.0], [0.0, -1.0, 3.0]]).double().repeat_interleave(S // 2, 0)
    new = draws.sample(S, rows, seed=int(torch.randint(99, ())))[:, 0]
    for part, c in ((new[: S // 2], rows[0]), (new[S // 2 :], rows[-1])):
        sd = (c @ covariance @ c + 0.25).sqrt()
        assert abs(float((part.mean() - c @ mean) / sd)) < 5 / (S / 2) ** 0.5
        assert abs(float(part.var() / sd**2 - 1)) < 5 * (4 / S) ** 0.5
    found = draws.log_prob(torch.ones(2, 1), rows[[0, -1]])
    truth = dist.Normal(
        rows[[0, -1]] @ mean, ((rows[[0, -1]] @ covariance) * rows[[0, -1]]).sum(1).add(0.25).sqrt()
    )
    assert ((found.value - truth.log_prob(torch.ones(2).double())) / found.stderr).abs().max() < 5


def test_it_is_the_programs_own_query():
    program = Mean().double()
    (x,) = simulated(program, 6)
    draws = exact_draws(program, x)
    assert isinstance(draws.predictive, PosteriorPredictive) and len(draws) == S
    ours, theirs = draws.sample(3, seed=1), program.sample(3, sampler=draws.predictive, seed=1)
    assert torch.equal(ours, theirs)
    new = torch.randn(2, 1)
    assert torch.equal(draws.log_prob(new).value, program.log_prob(new, density=draws.predictive).value)


def test_fewer_draws_than_examples_are_used_in_turn():
    program = Mean().double()
    predictive = PosteriorPredictive({"mu": torch.tensor([[-1e3], [1e3]]).double()})
    new = program.sample(10, sampler=predictive)
    assert int((new > 0).sum()) == 5


def test_all_chains_predict():
    program, mu = Mean().double(), torch.tensor([[[-1e3], [-1e3]], [[1e3], [1e3]]]).double()
    draws = Draws(program, {"mu": mu})
    assert int((draws.sample(8) > 0).sum()) == 4 and draws.predictive.chains == 2
    found = draws.log_prob(torch.tensor([[1e3]]))
    assert float(found.value) == pytest.approx(
        float(dist.Normal(0.0, 1.5).log_prob(torch.zeros(()))) - math.log(2)
    )


def test_standard_errors_hold_for_chains_that_remember():
    """Of 300 chains with autocorrelation 0.9, batch means give the spread of the estimate within a third."""
    program, x = Mean().double(), torch.zeros(1, 1).double()
    theta, step = torch.randn(300, 1).double(), []
    for _ in range(2000):
        theta = 0.9 * theta + (1 - 0.81) ** 0.5 * torch.randn(300, 1).double()
        step.append(theta)
    chains = torch.stack(step, 1)
    found = [program.log_prob(x, density=PosteriorPredictive({"mu": c})) for c in chains]
    spread = torch.cat([f.value for f in found]).std()
    stated = torch.cat([f.stderr for f in found]).square().mean().sqrt()
    assert 2 / 3 < float(stated / spread) < 3 / 2


def test_bayesian_programs_predict():
    """A lifted parameter: μ of PPCA, whose predictive is Gaussian with covariance C + V."""
    ppca = ug.PPCA(features=2, latents=1).double()
    x = torch.randn(10, 2).double()
    model = ug.bayesian(ppca, {"mean": dist.Normal(0.0, 1.0)})
    draws = infer(model, x, engine=Laplace(draws=S), seed=0)
    c = (ppca.weight @ ppca.weight.T + ppca.variance * torch.eye(2)).detach()
    v = torch.linalg.inv(torch.eye(2).double() + 10 * torch.linalg.inv(c))
    truth = dist.MultivariateNormal(v @ torch.linalg.solve(c, x.sum(0)), c + v)
    found = draws.log_prob(x[:3])
    assert ((found.value - truth.log_prob(x[:3])) / found.stderr).abs().max() < 5
    assert draws.sample(4).shape == (4, 2)


def test_replicates_and_pointwise_densities():
    program = Mean().double()
    mu = torch.tensor([[0.0], [100.0], [-100.0]]).double()
    again = replicate(program, {"mu": mu}, 50, None)
    assert again.shape == (3, 50, 1)
    assert ((again.mean((1, 2)) - mu[:, 0]).abs() < 5 * 1.5 / 50**0.5).all()
    x = torch.randn(4, 1).double()
    torch.testing.assert_close(
        pointwise(program, {"mu": mu}, x, None), dist.Normal(mu, 1.5).log_prob(x[:, 0]), atol=1e-9, rtol=1e-12
    )


def test_what_cannot_be_predicted_is_refused():
    toy = Toy().double()
    draws = Draws(toy, {"z": torch.zeros(1, 3, 1, 1)})
    with pytest.raises(UnsupportedQueryError, match="no latent stands outside"):
        draws.sample(1)
    both = Draws(
        SharedMean().double(), {"theta": torch.zeros(1, 3, 1).double(), "z": torch.zeros(1, 3, 2, 1)}
    )
    assert both.sample(4).shape == (4, 1)
    with pytest.raises(UnsupportedQueryError, match="latents of its own"):
        both.log_prob(torch.zeros(2, 1))
    with pytest.raises(ArgumentError, match="positive"):
        both.sample(0)
