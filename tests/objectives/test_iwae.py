"""The importance-weighted bound: per example, whatever stands outside the plate."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.infer import RenyiELBO

from tests import problems
from tests.gradients import Line, quadrature
from tests.programs import Outside, SharedMean, Switch, Toy
from unigen.errors import ArgumentError
from unigen.models.ppca import PPCA
from unigen.objectives.elbo import ELBO
from unigen.objectives.iwae import IWAE


def mean_loss(program, x, k: int, times: int = 300) -> tuple[float, float]:
    loss = IWAE(k).players(program)[0].loss
    with torch.no_grad():
        values = torch.stack([loss(x) for _ in range(times)])
    return values.mean().item(), (values.std() / times**0.5).item()


@pytest.mark.parametrize("k", [1, 5, 50])
def test_toy(k):
    x = torch.ones(50, 1, dtype=torch.float64)
    value, stderr = mean_loss(Toy(), x, k)
    assert abs(-value - problems.toy_bound(k)) < 5 * stderr


def test_a_site_outside_the_plate_changes_nothing_but_its_own_term():
    """Pyro's RenyiELBO weighs the whole plate at once there, and falls from L_5 towards L_1."""
    n = 500
    x, log_y = torch.ones(n, 1, dtype=torch.float64), -0.5 * math.log(2 * math.pi) - 0.5 * 0.7**2
    value, stderr = mean_loss(Outside(), x, 5, times=100)
    assert abs(-value - log_y / n - problems.toy_bound(5)) < 5 * stderr
    renyi = RenyiELBO(alpha=0, num_particles=5, vectorize_particles=True, max_plate_nesting=1)
    with torch.no_grad():
        theirs = torch.tensor([-renyi.loss(Outside().model, Outside().guide, x) for _ in range(100)])
    assert (theirs.mean().item() - log_y) / n < problems.toy_bound(5) - 0.25


def test_renyi_agrees_where_every_site_is_in_the_plate():
    x = torch.ones(20, 1, dtype=torch.float64)
    renyi = RenyiELBO(alpha=0, num_particles=5, vectorize_particles=True, max_plate_nesting=1)
    with torch.no_grad():
        theirs = torch.tensor([renyi.loss(Toy().model, Toy().guide, x) / 20 for _ in range(300)])
    value, stderr = mean_loss(Toy(), x, 5)
    assert abs(value - theirs.mean().item()) < 5 * math.hypot(stderr, theirs.std().item() / 300**0.5)


class Wide(SharedMean):
    """The shared mean with a guide wide enough for importance sampling."""

    def guide(self, x):
        theta = pyro.sample("theta", dist.Normal(x.mean(0) / 2, 1.0).to_event(1))
        with self.plate(x):
            return pyro.sample("z", dist.Normal((x + theta) / 2, 0.9).to_event(1))


def test_shared_latents_bound_the_joint_evidence():
    program, x = Wide(), torch.tensor([[0.3], [-0.2], [1.1]])
    truth = problems.shared_mean_evidence(x.double().numpy()) / 3
    one, many = mean_loss(program, x, 1), mean_loss(program, x, 2000, times=100)
    assert -one[0] < truth + 5 * one[1]
    assert abs(-many[0] - truth) < 5 * many[1] + 0.02
    assert -many[0] > -one[0]


def test_tight_guide():
    ppca = PPCA(4, 2).double()
    x = ppca.sample(10, seed=0)
    loss = IWAE(3).players(ppca)[0].loss
    assert loss(x).item() == pytest.approx(-ppca.log_prob(x).mean().value, abs=1e-9)


def test_one_sample_is_the_elbo():
    program, x = Toy(), torch.ones(5, 1, dtype=torch.float64)
    torch.manual_seed(0)
    a = IWAE(1).players(program)[0].loss(x)
    torch.manual_seed(0)
    b = ELBO(analytic=False).players(program)[0].loss(x)
    assert torch.allclose(a, b)


def enumerated_bound(program: Switch, x: torch.Tensor, k: int) -> torch.Tensor:
    """L_k of the switch by enumerating all 3^k outcomes, differentiable."""
    log_q = (program.logits[0] + x * program.logits[1]).log_softmax(-1)
    log_w = program.prior.log_softmax(-1) + torch.distributions.Normal(program.means, 1.0).log_prob(x) - log_q
    total = torch.zeros(x.shape[0])
    for outcome in torch.cartesian_prod(*[torch.arange(3)] * k).reshape(-1, k):
        total = total + log_q[:, outcome].sum(1).exp() * (torch.logsumexp(log_w[:, outcome], 1) - math.log(k))
    return total


@pytest.mark.parametrize("k", [1, 2])
def test_gradient_through_a_discrete_guide(k):
    program, x = Switch(), torch.tensor([[-0.5], [1.2], [0.1]])
    truth = torch.autograd.grad(-enumerated_bound(program, x, k).mean(), list(program.parameters()))
    loss = IWAE(k).players(program)[0].loss
    draws = [torch.autograd.grad(loss(x.repeat(200, 1)), list(program.parameters())) for _ in range(100)]
    for i, expected in enumerate(truth):
        each = torch.stack([d[i] for d in draws])
        z = (each.mean(0) - expected) / (each.std(0) / 10 + 1e-7)
        assert z.abs().max() < 5, i


@pytest.mark.parametrize("k", [2, 3])
def test_value_is_the_quadrature(k):
    """Gauss–Hermite over all draws together, for a guide that is neither prior nor posterior."""
    program, x = Line(), torch.tensor([[1.5]], dtype=torch.float64)
    truth = quadrature(program, x, k, 40).item()
    loss = IWAE(k).players(program)[0].loss
    with torch.no_grad():
        values = -torch.stack([loss(x.repeat(500, 1)) for _ in range(100)])
    assert abs(values.mean().item() - truth) < 5 * values.std().item() / 10
    assert values.std().item() / 10 < 0.01


def test_value_with_a_shared_latent_is_the_quadrature():
    """θ and z_1, z_2 together: L_1 by closed form, L_2 by quadrature over the joint log weight of a batch of two."""
    program, x = Wide(), torch.tensor([[0.3], [-0.2]])
    points, masses = np.polynomial.hermite_e.hermegauss(12)
    eps = torch.cartesian_prod(*[torch.from_numpy(points)] * 3)
    mass = torch.cartesian_prod(*[torch.from_numpy(masses / math.sqrt(2 * math.pi))] * 3).prod(-1)
    normal, rows = torch.distributions.Normal, x.double()[:, 0]
    theta = rows.mean() / 2 + eps[:, 0]
    log_w = normal(0.0, 1.0).log_prob(theta) - normal(rows.mean() / 2, 1.0).log_prob(theta)
    for i in range(2):
        loc = (rows[i] + theta) / 2
        z = loc + 0.9 * eps[:, 1 + i]
        log_w = log_w + normal(theta, 1.0).log_prob(z) + normal(z, 1.0).log_prob(rows[i])
        log_w = log_w - normal(loc, 0.9).log_prob(z)
    pair = torch.logaddexp(log_w[:, None], log_w[None]) - math.log(2)
    for k, truth in ((1, mass @ log_w), (2, mass @ pair @ mass)):
        value, stderr = mean_loss(program, x, k, times=1000)
        assert abs(-value - truth.item() / 2) < 5 * stderr + 1e-6, k


def test_refuses():
    with pytest.raises(ArgumentError):
        IWAE(0)
    with pytest.raises(ArgumentError, match="LeaveOneOut"):
        IWAE(3, baseline="vimco")
