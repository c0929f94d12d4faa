"""The guide with its parameters held: values, gradients, refusals; and every option in a compiled step."""

from __future__ import annotations

import copy

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import nn

from tests.gradients import Chain, Line, draws_of, gradient_of
from tests.programs import SharedMean, Switch
from unigen.errors import ArgumentError, SiteError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.step import EagerStep
from unigen.models.bayesian import bayesian
from unigen.models.flow import IAF
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.objectives.annealing import Cyclical
from unigen.objectives.baselines import LearnedBaseline
from unigen.objectives.elbo import ELBO
from unigen.objectives.free_bits import FreeBits
from unigen.objectives.iwae import IWAE
from unigen.program import Program

X = torch.tensor([[1.5], [-0.3], [0.4]], dtype=torch.float64)


def loss_and_gradient(program, objective, names, seed: int = 0):
    torch.manual_seed(seed)
    value = objective.players(program)[0].loss(X)
    return value, -gradient_of(value, program, names)


def by_hand(program: Line | Chain, k: int, doubly: bool) -> torch.Tensor:
    """The doubly reparameterised gradient of the guide for the same draws, by torch alone, one draw at a time."""
    torch.manual_seed(0)
    sites = 1 if isinstance(program, Line) else 2
    shape = (k, 3, 1) if k > 1 else (3, 1)
    eps = torch.stack([torch.randn(shape, dtype=torch.float64) for _ in range(sites)], -1)
    eps = eps.reshape(k, 3, sites)
    values = {n: program.get_parameter(n).detach() for n in program.guide_parameters}
    fixed = copy.deepcopy(program)
    total = torch.zeros(len(values), dtype=torch.float64)
    normal = torch.distributions.Normal
    for i, x in enumerate(X[:, 0]):

        def draws(theta, row, x=x):
            v = dict(zip(values, theta, strict=True))
            if sites == 1:
                return torch.stack([v["b"] * x + v["c"] + v["rho"].exp() * row[0]])
            y = v["b"] * x + v["rho"].exp() * row[0]
            return torch.stack([y, v["c"] * x + v["d"] * y + v["tau"].exp() * row[1]])

        def log_w(z, x=x):
            if sites == 1:
                q = normal(fixed.b * x + fixed.c, fixed.rho.exp()).log_prob(z[0])
                return (normal(fixed.mu, 1.0).log_prob(z[0]) + normal(fixed.a * z[0], 0.5).log_prob(x) - q)[0]
            q = normal(fixed.b * x, fixed.rho.exp()).log_prob(z[0])
            q = q + normal(fixed.c * x + fixed.d * z[0], fixed.tau.exp()).log_prob(z[1])
            p = normal(fixed.mu, 1.0).log_prob(z[0]) + normal(fixed.a * z[0], 1.0).log_prob(z[1])
            return (p + normal(z[1], 1.0).log_prob(x) - q)[0]

        theta = torch.stack([v[0] for v in values.values()])
        zs = [draws(theta, eps[j, i]).detach().requires_grad_() for j in range(k)]
        share = torch.stack([log_w(z).detach() for z in zs]).softmax(0)
        for j, z in enumerate(zs):
            slope = torch.autograd.grad(log_w(z), z)[0]
            jacobian = torch.autograd.functional.jacobian(lambda t, j=j, i=i: draws(t, eps[j, i]), theta)
            total += (share[j] ** 2 if doubly else share[j]) * (slope @ jacobian) / 3
    return total


@pytest.mark.parametrize("make", [Line, Chain])
@pytest.mark.parametrize("k", [1, 3])
def test_gradients_of_single_draws(make, k):
    """Draw by draw, not on average: Jacobians of the draws times partial derivatives of log w at fixed φ."""
    program = make()
    for name, doubly in (("dreg", True), ("stl", False)):
        _, found = loss_and_gradient(program, IWAE(k, gradient=name), program.guide_parameters)
        assert torch.allclose(found, by_hand(program, k, doubly), atol=1e-12), name
    if k == 1:
        _, found = loss_and_gradient(program, ELBO(gradient="stl"), program.guide_parameters)
        assert torch.allclose(found, by_hand(program, 1, False), atol=1e-12)


@pytest.mark.parametrize("make", [Line, Chain])
def test_value_and_model_gradient_are_those_of_the_bound(make):
    program = make()
    pairs = [
        (IWAE(4, gradient="dreg"), IWAE(4)), (IWAE(4, gradient="stl"), IWAE(4)),
        (ELBO(3, gradient="stl", beta=0.7), ELBO(3, analytic=False, beta=0.7)),
    ]  # fmt: skip
    for special, plain in pairs:
        a, b = (loss_and_gradient(program, o, program.model_parameters) for o in (special, plain))
        assert torch.allclose(a[0], b[0], atol=1e-12) and torch.allclose(a[1], b[1], atol=1e-12)


def test_parameters_shared_by_model_and_guide():
    """PPCA's guide is its exact posterior, made of the model's parameters: the mean gradient is that of log p."""
    program = PPCA(2, 1).double()
    with torch.no_grad():
        for p in program.parameters():
            p.copy_(torch.randn_like(p))
    x, names = torch.cat([X, X.square()], 1), [name for name, _ in program.named_parameters()]
    truth = gradient_of(program.density_of(x).value.mean(), program, names)
    for objective in (ELBO(gradient="stl"), IWAE(5, gradient="dreg")):
        draws = draws_of(program, objective, x, names, batches=100, copies=100)
        z = (draws.mean(0) - truth) / (draws.std(0) / 10)
        assert z.abs().max() < 5.3, objective  # Student's t of 99 degrees of freedom, α = 1e-6


def test_no_gradient_is_asked_in_validation():
    with torch.no_grad():
        value = IWAE(3, gradient="dreg").players(Line())[0].loss(X)
    assert not value.requires_grad


def test_latents_outside_the_plate_are_doubled_too():
    program = SharedMean().double()
    for gradient in ("dreg", "stl"):
        loss = IWAE(3, gradient=gradient).players(program)[0].loss
        torch.manual_seed(0)
        plain = IWAE(3).players(program)[0].loss(X)
        torch.manual_seed(0)
        value = loss(X)
        assert torch.allclose(value, plain)
        assert all(g.isfinite().all() for g in torch.autograd.grad(value, list(program.parameters())))


class Dropping(Chain):
    """The chain with dropout in its guide."""

    def guide(self, x):
        with self.plate(x):
            y = pyro.sample("y", dist.Normal(self.b * x, self.rho.exp().expand(x.shape)).to_event(1))
            loc = nn.functional.dropout(self.c * x + self.d * y, 0.5, self.training)
            return pyro.sample("z", dist.Normal(loc, self.tau.exp().expand(loc.shape)).to_event(1))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: ELBO(gradient="dreg"), ArgumentError, "'stl'"),
        (lambda: IWAE(gradient="pathwise"), ArgumentError, "'dreg'"),
        (lambda: ELBO(gradient="stl", enumerate=True), ArgumentError, "exclude"),
        (lambda: IWAE(2, gradient="dreg").players(Switch()), SiteError, "reparameterised"),
        (lambda: ELBO(gradient="stl").players(Switch()), SiteError, "Categorical"),
        (lambda: IWAE(2, gradient="dreg").players(Dropping()), SiteError, "dropout"),
    ],
)
def test_refuses(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_the_check_leaves_no_trace():
    program = VAE(3, 2, encoder=nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))).eval()
    before, state = copy.deepcopy(program.state_dict()), torch.get_rng_state()
    IWAE(2, gradient="dreg").players(program)
    assert all(torch.equal(v, before[k]) for k, v in program.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and not program.training


def test_without_latents_there_is_nothing_to_hold():
    class Flat(Program):
        def __init__(self) -> None:
            super().__init__((1,))
            self.loc = nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def model(self, x=None, n=1):
            with self.plate(x, n):
                return pyro.sample("x", dist.Normal(self.loc, 1.0).to_event(1), obs=x)

    program = Flat()
    truth = -program.log_prob(X).mean().value
    for objective in (ELBO(gradient="stl"), IWAE(3, gradient="dreg")):
        assert float(objective.players(program)[0].loss(X).detach()) == pytest.approx(truth)


def test_under_priors_over_parameters():
    program = bayesian(PPCA(2, 1).double(), {"weight": dist.Normal(0.0, 1.0)})
    loss = ELBO(gradient="stl").players(program)[0].loss
    x = torch.cat([X, X.square()], 1)
    torch.manual_seed(0)
    a = loss(x)
    torch.manual_seed(0)
    assert torch.allclose(a, ELBO(analytic=False).players(program)[0].loss(x))


def test_a_flow_as_the_guide():
    """Its density at held parameters is that of its own draws, found again from them."""
    vae = VAE(3, 2, posterior=IAF(2, context=4, hidden=(8,)), hidden=(8,)).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    values = []
    for objective in (IWAE(3), IWAE(3, gradient="dreg"), IWAE(3, gradient="stl")):
        torch.manual_seed(0)
        loss = objective.players(vae)[0].loss(x)
        values.append(loss.detach())
        grads = torch.autograd.grad(loss, list(vae.parameters()))
        assert all(g.isfinite().all() for g in grads)
    assert torch.allclose(values[0], values[1]) and torch.allclose(values[0], values[2])


OPTIONS = [
    ELBO(gradient="stl"), ELBO(3, gradient="stl", beta=Cyclical(3), free_bits=0.05),
    ELBO(2, free_bits=FreeBits(0.1, groups=1)), IWAE(4, gradient="dreg"), IWAE(4, gradient="stl"),
]  # fmt: skip
DISCRETE = [
    ELBO(baseline=None), ELBO(3), ELBO(2, baseline=LearnedBaseline((4,))), IWAE(4),
    IWAE(3, baseline=LearnedBaseline((4,))), ELBO(enumerate=True, free_bits=0.1, beta=Cyclical(3)),
]  # fmt: skip
CASES = [(Chain, o) for o in OPTIONS] + [(lambda: VAE(1, 2, hidden=(8,)).double(), o) for o in OPTIONS[:4]]
CASES += [(lambda: Switch().double(), o) for o in DISCRETE]


@pytest.mark.parametrize(
    ("make", "objective"), CASES, ids=[f"{i}-{o!r}"[:60] for i, (_, o) in enumerate(CASES)]
)
def test_compiled_step_equals_eager(make, objective):
    first = make()
    steps = []
    for program in (first, copy.deepcopy(first)):
        player = objective.players(program)[0]
        player.loss.double()
        if steps:
            player.loss.load_state_dict(steps[0].loss.state_dict())  # a learned baseline starts at random
        optimizer = torch.optim.Adam(player.parameters.values(), lr=0.01)
        if program is first:
            steps.append(EagerStep(player.loss, player.parameters, optimizer))
        else:
            options = {"example": [X, None], "compiler": interpreted}
            steps.append(CompiledStep(player.loss, player.parameters, optimizer, **options))
    for rows in (X, X, X[:2], X):
        losses = []
        for step in steps:
            torch.manual_seed(5)
            losses.append(step(rows, None).loss)
        assert torch.allclose(*losses, rtol=1e-9)
    assert steps[1].traces == 1
    for a, b in zip(steps[0].loss.state_dict().values(), steps[1].loss.state_dict().values(), strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-12)
