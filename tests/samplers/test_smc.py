"""What samplers of p(x | y) share, shown on the simplest of them: importance sampling from the program's own draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.programs import Conditional
from unigen.dynamics.observation import LinearObservation
from unigen.dynamics.particles import Particles
from unigen.errors import ArgumentError, ContextError
from unigen.models.ppca import PPCA
from unigen.program import Program
from unigen.samplers.smc import PosteriorSMC
from unigen.samplers.weighted_draws import WeightedDraws

F64 = torch.float64
A, Y, NOISE = torch.tensor([[1.0, 0.5]], dtype=F64), torch.tensor([0.8], dtype=F64), 0.7
OBSERVATION = LinearObservation(A, Y, NOISE)


class Weighing(PosteriorSMC):
    """One weighing of draws of the prior; remembers how many there were and under which contexts."""

    def __init__(self, observation: Any = OBSERVATION, particles: int = 3000, threshold: float = 0.5) -> None:
        super().__init__(observation, particles, threshold)
        self.seen: list[tuple[int, Tensor | None]] = []

    def walk(self, program: Program, particles: int, context: Tensor | None) -> WeightedDraws:
        self.seen.append((particles, context))
        x = program.draw(particles, context)
        cloud = Particles(particles, x)
        cloud.weigh(self.observation.log_prob(x))
        return WeightedDraws.of(x, cloud)


def truth(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of x | y, x ~ N(mean, covariance), y = A x + noise ξ."""
    gain = covariance @ A.mT / (A @ covariance @ A.mT + NOISE**2)
    return mean + gain @ (Y - A @ mean), covariance - gain @ A @ covariance


def test_weighted_draws_have_the_moments_of_the_posterior():
    program = PPCA(2, 1).double()
    w = program.weight.detach()
    program.requires_grad_(False)
    mean, covariance = truth(program.mean, w @ w.mT + program.variance.detach() * torch.eye(2, dtype=F64))
    runs = [Weighing().posterior(program) for _ in range(20)]
    first = torch.stack([r.expect(r.draws) for r in runs])
    second = torch.stack([r.expect((r.draws - mean) ** 2) for r in runs])
    for found, exact in ((first, mean), (second, covariance.diagonal())):
        assert float(((found.mean(0) - exact) / (found.std(0) / 20**0.5)).abs().max()) < 7  # t, 19 d.o.f.
    marginal = A @ (w @ w.mT + program.variance.detach() * torch.eye(2, dtype=F64)) @ A.mT + NOISE**2
    log_p = torch.distributions.Normal((A @ program.mean)[0], marginal[0, 0].sqrt()).log_prob(Y[0])
    evidence = runs[0].log_evidence
    assert evidence.stderr is not None and abs((evidence.value - log_p).item()) < 6 * float(evidence.stderr)


def test_draws_are_resampled_from_as_many_particles_as_are_asked_for_at_least():
    program, sampler = PPCA(2, 1).double(), Weighing(particles=50)
    assert program.sample(20, sampler=sampler).shape == (20, 2)
    assert program.sample(200, sampler=sampler).shape == (200, 2)
    assert [k for k, _ in sampler.seen] == [50, 200]
    weighted = sampler.posterior(program)
    assert weighted.draws.shape == (50, 2) and sampler.seen[-1][0] == 50


def test_an_observation_may_be_a_function():
    def half_plane(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0, 0.0, -60.0) + 0.0 * x.sum(-1)

    x = PPCA(2, 1).double().sample(300, sampler=Weighing(half_plane))
    assert bool((x[:, 0] > 0).all())


def test_one_context_conditions_all_particles():
    program, context = Conditional(2, 3).double(), torch.randn(1, 3, dtype=F64)
    sampler = Weighing(particles=40)
    program.sample(5, context, sampler=sampler)
    sampler.posterior(program, context)
    for particles, seen in sampler.seen:
        assert seen is not None and torch.equal(seen, context.expand(particles, 3))
    two = torch.randn(5, 3, dtype=F64)
    with pytest.raises(ContextError, match=r"one posterior in common.*one context, \(1, C\)"):
        program.sample(5, two, sampler=sampler)
    with pytest.raises(ContextError):
        sampler.posterior(program)
    with pytest.raises(ContextError):
        sampler.posterior(program, two)
    with pytest.raises(ContextError):
        sampler.posterior(PPCA(2, 1).double(), context)


def test_a_seed_reproduces_and_leaves_the_global_state_and_the_mode():
    program, sampler = PPCA(2, 1).double().train(), Weighing(particles=16)
    before = torch.get_rng_state()
    one, two = (sampler.posterior(program, seed=3) for _ in range(2))
    assert torch.equal(one.draws, two.draws) and torch.equal(before, torch.get_rng_state())
    assert not one.draws.requires_grad and program.training
    assert not torch.equal(one.draws, sampler.posterior(program, seed=4).draws)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"particles": 1}, "particles"),
        ({"particles": True}, "particles"),
        ({"threshold": 1.1}, "threshold"),
        ({"threshold": -0.1}, "threshold"),
        ({"observation": "y"}, "observation"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], match: str):
    with pytest.raises(ArgumentError, match=rf"Weighing.*{match}"):
        Weighing(**options)
