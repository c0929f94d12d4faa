"""Enumerated bounds against sums written out, Pyro's TraceEnum_ELBO, and the score-function estimate."""

from __future__ import annotations

import itertools

import pyro
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import Tensor, nn

from tests.programs import Nested, Switch, traces_with_symbolic_batch
from unigen.errors import SiteError
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.objectives.elbo import ELBO, elbo
from unigen.objectives.enumeration import discrete_sites, values_of
from unigen.program import Program

dist = pyro.distributions


def loss_and_gradient(program: Program, objective: ELBO, x: Tensor) -> tuple[Tensor, Tensor]:
    loss = objective.players(program)[0].loss(x)
    grads = torch.autograd.grad(loss, list(program.parameters()))
    return loss.detach(), torch.cat([g.reshape(-1) for g in grads])


class Pair(Program):
    """Two dependent discrete latents: z (3 values), then two bits w given z; x given both."""

    def __init__(self) -> None:
        super().__init__((1,))
        self.prior = nn.Parameter(torch.randn(3, dtype=torch.float64))
        self.bits = nn.Parameter(torch.randn(3, 2, dtype=torch.float64))
        self.means = nn.Parameter(torch.randn(3, 1, dtype=torch.float64))
        self.slope = nn.Parameter(torch.randn(2, dtype=torch.float64))
        self.q = nn.Parameter(torch.randn(3, 3, dtype=torch.float64))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Categorical(logits=self.prior))
            w = pyro.sample("w", dist.Bernoulli(logits=self.bits[z]).to_event(1))
            loc = self.means[z] + (w * self.slope).sum(-1, keepdim=True)
            return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            z = pyro.sample("z", dist.Categorical(logits=self.q[0] + x * self.q[1]))
            pyro.sample(
                "w", dist.Bernoulli(logits=self.q[2][:2] * x + 0.3 * z[..., None].double()).to_event(1)
            )

    def exact_elbo(self, x: Tensor) -> Tensor:
        """Σ over the twelve joint values, (N,)."""
        total = torch.zeros(x.shape[0], dtype=torch.float64)
        for z, *bits in itertools.product(range(3), (0.0, 1.0), (0.0, 1.0)):
            w = torch.tensor(bits, dtype=torch.float64)
            log_q = (self.q[0] + x * self.q[1]).log_softmax(-1)[:, z]
            log_q = log_q + dist.Bernoulli(logits=self.q[2][:2] * x + 0.3 * z).log_prob(w).sum(-1)
            log_p = self.prior.log_softmax(-1)[z] + dist.Bernoulli(logits=self.bits[z]).log_prob(w).sum()
            log_p = log_p + dist.Normal(self.means[z] + w @ self.slope, 1.0).log_prob(x).sum(-1)
            total = total + log_q.exp() * (log_p - log_q)
        return total


class Mixed(Program):
    """A discrete z and a continuous y given z: the enumeration is exact in z alone."""

    def __init__(self) -> None:
        super().__init__((1,))
        self.prior = nn.Parameter(torch.tensor([0.3, -0.2]))
        self.shift = nn.Parameter(torch.tensor([-1.0, 2.0]))
        self.q = nn.Parameter(torch.tensor([0.4, -0.6]))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Categorical(logits=self.prior))
            y = pyro.sample("y", dist.Normal(self.shift[z][..., None], 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(y, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            z = pyro.sample("z", dist.Categorical(logits=self.q * x))
            pyro.sample("y", dist.Normal((x + self.shift[z][..., None]) / 2, 0.9).to_event(1))


@pytest.mark.parametrize("analytic", [True, False])
@pytest.mark.parametrize("make", [lambda: Switch().double(), Pair])
def test_value_and_gradient_are_the_sum(make, analytic):
    program, x = make(), torch.randn(7, 1).double()
    loss, gradient = loss_and_gradient(program, ELBO(analytic=analytic, enumerate=True), x)
    exact = -program.exact_elbo(x).mean()
    expected = torch.cat([g.reshape(-1) for g in torch.autograd.grad(exact, list(program.parameters()))])
    assert loss.item() == pytest.approx(exact.item(), abs=1e-12)
    assert torch.allclose(gradient, expected, rtol=0, atol=1e-12)
    assert torch.allclose(elbo(program, x, enumerate=True), program.exact_elbo(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("program", [Switch(), GaussianMixture(1, 3)])
def test_it_has_no_variance(program):
    x = torch.randn(6, 1)
    draws = [loss_and_gradient(program, ELBO(enumerate=True), x) for _ in range(3)]
    assert all(torch.equal(a, draws[0][0]) and torch.equal(b, draws[0][1]) for a, b in draws)


def test_pyros_enumeration_agrees():
    program, x = Switch().double(), torch.randn(5, 1).double()
    theirs = TraceEnum_ELBO(max_plate_nesting=1).loss(
        program.model, config_enumerate(program.guide, "parallel"), x
    )
    assert ELBO(enumerate=True).players(program)[0].loss(x).item() == pytest.approx(theirs / 5, abs=1e-12)


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal"])
def test_exact_responsibilities_give_the_evidence(covariance):
    mixture = GaussianMixture(3, 4, covariance=covariance).double()
    x = torch.randn(20, 3).double()
    assert (elbo(mixture, x, enumerate=True) - mixture.log_prob(x).value).abs().max() <= 1e-9


def test_sampling_estimates_it():
    """The estimate with drawn latents has the enumerated bound as its mean, value and gradient."""
    program, x = Switch().double(), torch.randn(4, 1).double()
    loss, gradient = loss_and_gradient(program, ELBO(enumerate=True), x)
    draws = [loss_and_gradient(program, ELBO(samples=20), x) for _ in range(300)]
    values, grads = torch.stack([a for a, _ in draws]), torch.stack([b for _, b in draws])
    assert abs(values.mean() - loss) < 5 * values.std() / 300**0.5
    assert ((grads.mean(0) - gradient).abs() < 5 * grads.std(0) / 300**0.5 + 1e-12).all()


@pytest.mark.parametrize("samples", [1, 3])
def test_continuous_latents_are_drawn_for_every_value(samples):
    program, x = Mixed().double(), torch.randn(4, 1).double()
    with torch.no_grad():
        many = elbo(program, x, samples=100_000)
        few = torch.stack([elbo(program, x, samples=samples, enumerate=True) for _ in range(400)])
    spread = (few.var(0) / 400 + 4.0 / 100_000).sqrt()
    assert ((few.mean(0) - many).abs() < 5 * spread).all()


def test_beta_and_inner_plates():
    program, x = Switch().double(), torch.randn(4, 1).double()
    loss = {b: ELBO(beta=b, enumerate=True).players(program)[0].loss(x).item() for b in (0.0, 1.0, 4.0)}
    assert loss[4.0] == pytest.approx(loss[0.0] + 4 * (loss[1.0] - loss[0.0]), abs=1e-12)
    assert loss[1.0] == pytest.approx(-program.exact_elbo(x).mean().item(), abs=1e-12)


@pytest.mark.parametrize("make", [lambda: VAE(3, 2, hidden=(8,)), Nested, lambda: PPCA(3, 1)])
def test_without_discrete_latents_it_is_the_elbo(make):
    program, x = make(), torch.randn(5, 3)
    losses = []
    for enumerate in (False, True):
        torch.manual_seed(1)
        losses.append(ELBO(enumerate=enumerate).players(program)[0].loss(x).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


class Words(Program):
    """A discrete latent in a plate within the data plate."""

    def model(self, x=None, n=1):
        with self.plate(x, n):
            with pyro.plate("words", 2, dim=-2):
                w = pyro.sample("w", dist.Bernoulli(0.4))
            loc = w.sum(-2)
            return pyro.sample("x", dist.Normal(loc[..., None], 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x), pyro.plate("words", 2, dim=-2):
            pyro.sample("w", dist.Bernoulli(0.5))


class Counts(Program):
    """A latent with infinitely many values."""

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Poisson(2.0))
            return pyro.sample("x", dist.Normal(z[..., None], 1.0).to_event(1), obs=x)

    guide = lambda self, x: self._guide(x)  # noqa: E731

    def _guide(self, x):
        with self.plate(x):
            pyro.sample("z", dist.Poisson(3.0))


@pytest.mark.parametrize("program", [Words(), Counts()])
def test_refuses_what_cannot_be_enumerated(program):
    with pytest.raises(SiteError, match=r"cannot be enumerated.*ELBO\(enumerate=False\)"):
        ELBO(enumerate=True).players(program)


def test_values():
    assert values_of(dist.Categorical(torch.ones(4, 3))).tolist() == [0, 1, 2]
    bits = values_of(dist.Bernoulli(torch.full((5, 3), 0.2)).to_event(1))
    assert bits.shape == (8, 3) and len({tuple(row) for row in bits.tolist()}) == 8
    assert torch.equal(values_of(dist.OneHotCategorical(torch.ones(4, 3))), torch.eye(3))
    with pytest.raises(NotImplementedError):
        values_of(dist.Bernoulli(torch.full((13,), 0.2)).to_event(1))
    assert discrete_sites(Pair()) == {"z": 3, "w": 4}


@pytest.mark.parametrize("make", [Switch, Mixed, lambda: GaussianMixture(1, 3)])
def test_losses_trace_with_a_symbolic_batch(make):
    assert traces_with_symbolic_batch(make(), ELBO(enumerate=True), torch.randn(8, 1))
