"""Joint distribution tests of the Markov kernels: draws that start in p(θ, x) must stay there.

    θ_0, x_0 ~ p(θ, x),   θ_k ~ K(· | θ_{k−1}, x_{k−1}),   x_k ~ p(x | θ_k)

leaves p(θ, x) invariant if K leaves p(θ | x) invariant, whatever K's step size and mass (Geweke 2004; Gandy & Scott,
Unit testing for MCMC, 2020). Chains are independent, so the tests are exact, and sequential: a clear result ends one, a
doubtful one asks for four times as many draws; a right kernel fails in less than one of 10⁵ runs.
"""

from __future__ import annotations

import functools

import pytest
import torch
from scipy import stats

from benchmarks.conjugate import Coin, Mean, Rate
from unigen.dynamics import tree
from unigen.dynamics.hmc import StaticNoise, hmc_transition, leap_of
from unigen.dynamics.nuts import Noise, Point, nuts_transition
from unigen.dynamics.tree import Kernels, eager_kernels
from unigen.inference.unconstrained import Unconstrained
from unigen.traces import draw

ALPHA, TIMES, GROWTH, FIRST = 1e-5, 4, 4, 500
SIZE, SWEEPS, DOUBLINGS, STEP = 3, 4, 3, 0.7
PRIORS = {
    Mean: ("mu", stats.norm(0, 2)),
    Coin: ("theta", stats.beta(2, 3)),
    Rate: ("rate", stats.gamma(2, scale=1)),
}


def nuts(kernels_of=eager_kernels):
    def kernel(space, at):
        chains, d = at.q.shape
        u = torch.rand(3, chains, DOUBLINGS).double()
        noise = Noise(torch.randn(chains, d).double(), *u)
        mass = torch.full_like(at.q, 1.3)
        return nuts_transition(
            kernels_of(space.potential), at, torch.full((chains,), STEP).double(), mass, noise
        ).point

    return kernel


def hmc(correct=True, h=0.9):
    def kernel(space, at):
        chains, d = at.q.shape
        accept = torch.rand(chains).double() if correct else -torch.ones(chains).double()
        noise = StaticNoise(torch.randn(chains, d).double(), accept, torch.rand(chains).double())
        step, mass = torch.full((chains,), h).double(), torch.full_like(at.q, 1.3)
        return hmc_transition(leap_of(space.potential), at, step, mass, noise, 3, 0.3).point

    return kernel


def simulate(program, n, theta=None):
    """n data sets, with their θ drawn from the prior or given, as draws of one program under vmap."""

    def one(given):
        nodes = draw(functools.partial(program.model, None, None, SIZE), given or {})
        return nodes[PRIORS[type(program)][0]]["value"], nodes["x"]["value"]

    given = [None] * n if theta is None else [{PRIORS[type(program)][0]: t} for t in theta]
    pairs = [one(g) for g in given]
    return torch.stack([t for t, _ in pairs]), torch.stack([x for _, x in pairs])


def run(program, kernel, n):
    """Return θ and x after some sweeps, and p-values of their marginals."""
    name, prior = PRIORS[type(program)]
    theta, x = simulate(program, n)
    space = Unconstrained(program, x, None, each=True)
    transform = space.layout[name][0]
    for _ in range(SWEEPS):
        space.x = x
        q = transform.inv(theta).reshape(n, -1)
        at = kernel(space, Point(q, *space.potential(q)))
        theta = space.values(at.q)[name]
        _, x = simulate(program, n, theta)
    _, fresh = simulate(program, n)
    p = [stats.kstest(theta.reshape(-1).numpy(), prior.cdf).pvalue]
    spread = [d.sum((1, 2)) + 1e-3 * torch.rand(n) for d in (x, fresh)]  # ties of counts broken at random
    return [*p, stats.ks_2samp(*(s.numpy() for s in spread)).pvalue]


def sequential(program, kernel) -> bool:
    """Whether the kernel passes (Gandy & Scott 2020, algorithm 2)."""
    beta, n = ALPHA / TIMES, FIRST
    gamma = beta ** (1 / TIMES)
    for i in range(TIMES):
        p = run(program, kernel, n)
        least = min(p) * len(p)
        if least <= beta:
            return False
        if least > gamma + beta:
            return True
        beta, n = beta / gamma, n * GROWTH if i == 0 else n
    return True


@pytest.mark.parametrize("family", PRIORS, ids=lambda family: family.__name__)
@pytest.mark.parametrize("kernel", [nuts(), hmc()], ids=["NUTS", "HMC"])
def test_kernels_leave_the_joint_distribution(family, kernel):
    assert sequential(family().double(), kernel)


def greedy(potential) -> Kernels:
    """A trajectory that always moves on to its younger half."""
    right = eager_kernels(potential)

    def merge(*state):
        *before, u, mass = state
        return tree.merge(*before, torch.full_like(u, -1.0), mass)

    return Kernels(right.leaf, right.turn, right.begin, merge)


class Shifted(Unconstrained):
    """A density without the Jacobian of its change of variables."""

    def potential(self, u):
        value, gradient = super().potential(u)
        return value + u.sum(1), gradient + 1.0


def test_a_biased_tree_is_found():
    assert not sequential(Rate().double(), nuts(greedy))


def test_a_missing_metropolis_decision_is_found():
    assert not sequential(Coin().double(), hmc(correct=False, h=1.2))


def test_a_missing_jacobian_is_found():
    def kernel(space, at):
        wrong = Shifted(space.program, space.x, None, each=True)
        return nuts()(wrong, Point(at.q, *wrong.potential(at.q)))

    assert not sequential(Rate().double(), kernel)
