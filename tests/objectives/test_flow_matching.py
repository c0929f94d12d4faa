"""Oracles: irreducible losses in closed form, the gradient of a linear regression, the eager step."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.interpolant_problems import MixtureVelocity, mixture_draws, mixture_flow
from unigen.dynamics.coupling import MinibatchOT
from unigen.dynamics.interpolant import Linear, Trigonometric
from unigen.dynamics.times import LowDiscrepancyTimes, UniformTimes
from unigen.errors import ArgumentError
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.fit import fit
from unigen.inference.step import EagerStep
from unigen.models.cnf import CNF
from unigen.models.flow_matching import FlowMatching
from unigen.objectives.flow_matching import ConditionalFlowMatching

F64 = torch.float64


def losses(program: FlowMatching, x, repeats: int = 40):
    player = ConditionalFlowMatching(UniformTimes()).players(program)[0]
    with torch.no_grad():
        return torch.stack([player.loss(x) for _ in range(repeats)])


@pytest.mark.parametrize("path", [Linear(), Trigonometric()], ids=repr)
def test_the_floor_of_gaussian_data_is_the_conditional_variance(path):
    """Var[alpha' u + sigma' eps | z] = s² (alpha sigma' − sigma alpha')² / (alpha² s² + sigma²); linear: sπ/2."""
    std, n = 0.5, 2000
    program = mixture_flow(torch.tensor([[2.0]]), std, path)
    values = torch.stack([losses(program, 2 + std * torch.randn(n, 1, dtype=F64), 1)[0] for _ in range(40)])
    t = (torch.arange(20_000, dtype=F64) + 0.5) / 20_000
    wronskian = path.alpha(t) * path.sigma_rate(t) - path.sigma(t) * path.alpha_rate(t)
    floor = float((std**2 * wronskian**2 / (path.alpha(t) ** 2 * std**2 + path.sigma(t) ** 2)).mean())
    if isinstance(path, Linear):
        assert floor == pytest.approx(std * math.pi / 2, abs=1e-6)
    assert abs(float(values.mean()) - floor) < 5 * float(values.std()) / math.sqrt(40)


def test_no_other_velocity_is_below_the_floor():
    """The same times and noise for both, so that the difference is that of the velocities alone."""
    centres = torch.tensor([[-1.5, 0.0], [1.5, 0.0]])
    x = mixture_draws(4000, centres, 0.4)
    state = torch.get_rng_state()
    floor = losses(mixture_flow(centres, 0.4), x)
    for std in (0.25, 0.65):
        torch.set_rng_state(state)
        excess = losses(mixture_flow(centres, std), x) - floor
        assert float(excess.mean()) > 5 * float(excess.std()) / math.sqrt(40)


def test_training_reaches_the_floor():
    """500 steps: within 8 % of the floor on fresh data, which a velocity of one Gaussian exceeds by half."""
    centres = torch.tensor([[-1.5, 0.0], [1.5, 0.0]])
    program = FlowMatching(2, hidden=48, blocks=2)
    program.fitted = True  # so that the coordinates stay those of the oracle
    fit(program, mixture_draws(5000, centres, 0.4).float(), steps=500, lr=4e-3, ema=None, progress=False)
    fresh = mixture_draws(4000, centres, 0.4)
    got, floor = losses(program, fresh.float()).mean(), losses(mixture_flow(centres, 0.4), fresh).mean()
    assert float(got) < 1.08 * float(floor)


class Affine(nn.Module):
    """v(z, t) = a z + b."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, z, t):
        return self.a * z + self.b


@pytest.mark.parametrize("times", [UniformTimes(), LowDiscrepancyTimes()], ids=repr)
def test_gradients_are_unbiased(times):
    """For v = a z + b, a = 1, b = 0, one datum x and the linear path: dL/da and dL/db are polynomials in x."""
    x = 0.7
    program = FlowMatching(1, network=Affine()).double()
    player = ConditionalFlowMatching(times).players(program)[0]
    rows, grads = torch.full((64, 1), x, dtype=F64), []
    for _ in range(400):
        grads.append(torch.stack(torch.autograd.grad(player.loss(rows), [*player.parameters.values()])))
    got = torch.stack(grads)[..., 0]
    # z − (eps − x) = (2 − t) x + (t − 1) eps,  z = (1 − t) x + t eps,  eps of mean 0 and variance 1
    expected_a = 2 * (x**2 * (2 - 1.5 + 1 / 3) + (1 / 3 - 1 / 2))
    expected = torch.tensor([expected_a, 2 * 1.5 * x], dtype=F64)
    z = (got.mean(0) - expected) / (got.std(0) / math.sqrt(400)).clamp_min(1e-9)
    assert float(z.abs().max()) < 5


def test_transport_lowers_the_variance_of_the_target():
    """With assigned pairs the floor falls: the same network explains more of the target."""
    x = mixture_draws(256, torch.tensor([[-1.5, 0.0], [1.5, 0.0]]), 0.4)
    still = MixtureVelocity(Linear(), torch.zeros(1, 2), 1.0)  # v = (2t − 1) z / ((1 − t)² + t²)
    free = FlowMatching(2, network=still).double()
    paired = FlowMatching(2, network=still, coupling=MinibatchOT()).double()
    assert float(losses(paired, x, 20).mean()) < 0.7 * float(losses(free, x, 20).mean())


@pytest.mark.parametrize(
    "options", [{}, {"coupling": MinibatchOT()}, {"coupling": MinibatchOT(0.1)}], ids=str
)
def test_the_compiled_step_is_the_eager_step_at_any_batch_size(options):
    x, results = torch.randn(12, 2), []
    torch.manual_seed(0)
    start = FlowMatching(2, hidden=8, blocks=1, **options)
    state, seed = start.state_dict(), 5
    for compiled in (True, False):
        program = FlowMatching(2, hidden=8, blocks=1, **options)
        program.load_state_dict(state)
        player = program.objective.players(program)[0]
        optimizer = torch.optim.AdamW(player.parameters.values())
        parts, said = (player.loss, player.parameters, optimizer), []
        step = (
            CompiledStep(*parts, example=(x, None), compiler=interpreted, say=said.append)
            if compiled
            else EagerStep(*parts)
        )
        torch.manual_seed(seed)
        values = [float(step(rows, None).loss) for rows in (x, x[:7], x, x[:5])]
        assert not said
        results.append((values, [p.detach().clone() for p in program.parameters()]))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_another_program_is_refused():
    with pytest.raises(ArgumentError, match="interpolant"):
        ConditionalFlowMatching().players(CNF(2, hidden=(8,)))
