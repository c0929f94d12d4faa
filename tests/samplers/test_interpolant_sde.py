"""Oracles: moments of a mixture under its optimal velocity, for every level of noise."""

from __future__ import annotations

import pytest
import torch

from tests.interpolant_problems import mixture_draws, mixture_flow
from unigen.dynamics.coupling import MinibatchOT, Rectified
from unigen.dynamics.interpolant import Trigonometric
from unigen.errors import ArgumentError, NonFiniteError, UnsupportedQueryError
from unigen.models.diffusion import Diffusion
from unigen.models.flow_matching import FlowMatching
from unigen.models.ppca import PPCA
from unigen.samplers.interpolant_sde import InterpolantSDE

CENTRES = torch.tensor([[-1.0, 0.5], [1.5, 0.0], [0.0, -1.0]])
STD = 0.4


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.5])
def test_the_sde_has_the_marginal_of_the_flow_for_every_noise(noise):
    """Moments of 4000 draws in 200 steps; what is left of the bias is below .02."""
    program, n = mixture_flow(CENTRES, STD), 4000
    draws = program.sample(n, sampler=InterpolantSDE(200, noise, "heun" if noise == 0 else "euler"))
    truth = mixture_draws(100_000, CENTRES, STD)
    for moment in (lambda x: x, torch.square, lambda x: x.prod(1, keepdim=True)):
        a, b = moment(draws), moment(truth)
        error = (a.var(0) / n + b.var(0) / 100_000).sqrt()
        assert bool(((a.mean(0) - b.mean(0)).abs() < 5 * error + 0.02).all())


def test_without_noise_it_is_the_flow():
    program = mixture_flow(CENTRES, STD, Trigonometric())
    torch.manual_seed(7)
    drawn = program.sample(6, sampler=InterpolantSDE(200, 0.0, "heun"))
    torch.manual_seed(7)
    z = torch.randn(6, 2, dtype=torch.float64)
    torch.testing.assert_close(drawn, program.from_noise(z), rtol=0, atol=1e-2)


def test_a_seed_reproduces_and_progress_is_told():
    seen = []
    program = FlowMatching(2, hidden=8, blocks=1, context=1)
    sampler = InterpolantSDE(4, progress=lambda done, steps: seen.append((done, steps)))
    c = torch.zeros(3, 1)
    assert torch.equal(
        program.sample(3, c, sampler=sampler, seed=1), program.sample(3, c, sampler=sampler, seed=1)
    )
    assert seen[-1][1] == 4


def test_bad_input_is_refused():
    with pytest.raises(ArgumentError, match="interpolant"):
        Diffusion(2, hidden=8, blocks=1).sample(2, sampler=InterpolantSDE(5))
    for options in ({"steps": 0}, {"noise": -1.0}, {"noise": float("nan")}):
        with pytest.raises(ArgumentError):
            InterpolantSDE(**options)
    for options in ({"coupling": MinibatchOT()}, {"base": PPCA(2, latents=1)}, {"coupling": Rectified()}):
        with pytest.raises(UnsupportedQueryError, match="score"):
            FlowMatching(2, hidden=8, blocks=1, **options).sample(2, sampler=InterpolantSDE(5))
    program = FlowMatching(2, hidden=8, blocks=1)
    with torch.no_grad():
        program.flow.network.output.bias.fill_(torch.inf)
    with pytest.raises(NonFiniteError, match="diverged"):
        program.sample(2, sampler=InterpolantSDE(5))
