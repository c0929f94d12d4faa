"""What all samplers that walk down a grid have in common."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import unigen as ug
from tests.diffusion_problems import ZeroTerminal, gaussian_ddpm, gaussian_diffusion
from unigen.dynamics.prediction import X0
from unigen.dynamics.schedule import LogLinearSNR, VPLinear
from unigen.errors import ArgumentError, NonFiniteError
from unigen.models.ddpm import DDPM
from unigen.models.diffusion import Diffusion
from unigen.models.ppca import PPCA
from unigen.samplers.ddim import DDIM
from unigen.samplers.ddpm import DDPMAncestral
from unigen.samplers.dpm_solver import DPMSolver
from unigen.samplers.edm import EDM
from unigen.samplers.grid_sampler import GridSampler
from unigen.samplers.grids import EqualTimes, GivenTimes, KarrasTimes
from unigen.samplers.predictor_corrector import PredictorCorrector

KINDS = [DDIM, DDPMAncestral, EDM, DPMSolver]
SAMPLERS = [
    DDIM(6, eta=0.5), DDPMAncestral(6, times=KarrasTimes(3.0)), EDM(6, churn=2.0),
    DPMSolver(6, sde=True, denoise=True), PredictorCorrector(DDIM(6)),
]  # fmt: skip


@pytest.fixture(params=SAMPLERS, ids=lambda s: type(s).__name__)
def sampler(request: pytest.FixtureRequest) -> GridSampler:
    return request.param


class Point(nn.Module):
    """E[u | z] where all data are at one point."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((1,), value))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return self.value.expand_as(z)


def test_a_seed_reproduces_and_trajectories_are_the_same_walk(sampler):
    program = gaussian_diffusion(LogLinearSNR(), std=0.5, dims=2)
    x = program.sample(5, sampler=sampler, seed=1)
    path = sampler.trajectory(program, 5, seed=1)
    assert torch.equal(x, program.sample(5, sampler=sampler, seed=1))
    assert torch.equal(x, path.draws)
    assert path.states.shape == (7, 5, 2)
    assert path.times[0] == 1.0
    assert path.times[-1] == 0.0
    assert bool((torch.diff(path.times) < 0).all())
    assert not torch.equal(x, program.sample(5, sampler=sampler, seed=2))


@pytest.mark.parametrize("kind", KINDS)
def test_progress_is_told(kind):
    seen = []
    Diffusion(3, hidden=8, blocks=1).sample(2, sampler=kind(3, progress=lambda k, n: seen.append((k, n))))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("deterministic", [DDIM(6), EDM(6), DPMSolver(6)], ids=lambda s: type(s).__name__)
def test_single_precision_follows_double(deterministic):
    program, z = gaussian_diffusion(VPLinear(), std=0.5, dims=2), torch.randn(20, 2, dtype=torch.float64)
    double = deterministic.push(program, z)
    single = deterministic.push(program.float(), z.float())
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(single.double(), double, rtol=2e-4, atol=2e-4)


def test_steps_cost_what_the_table_says():
    """Evaluations of the network for K steps."""
    program, calls = Diffusion(3, hidden=8, blocks=1), []
    program.denoiser.network.register_forward_hook(lambda *_: calls.append(1))
    costs = {
        DDIM(7): 7, DDPMAncestral(7): 7, EDM(7): 14, EDM(7, churn=3.0): 14, DPMSolver(7): 7,
        DPMSolver(7, sde=True): 7, PredictorCorrector(DDIM(7)): 14, DDIM(7, denoise=True): 8,
    }  # fmt: skip
    for each, cost in costs.items():
        calls.clear()
        program.sample(2, sampler=each)
        assert len(calls) == cost


def test_ending_with_the_mean_removes_the_noise_that_is_left():
    schedule, n = LogLinearSNR(3.0, 1e-4), 20_000
    program = gaussian_diffusion(schedule)
    noisy, clean = (program.sample(n, sampler=EDM(40, denoise=flag)).var() for flag in (False, True))
    assert float(noisy) == pytest.approx(1 + 1 / 3, rel=5 * math.sqrt(2 / n) + 0.01)  # 1 + 1/SNR
    assert float(clean) == pytest.approx(3 / 4, rel=5 * math.sqrt(2 / n) + 0.01)  # SNR / (1 + SNR)


def test_a_discrete_diffusion_is_drawn_too(sampler):
    program = gaussian_ddpm(LogLinearSNR(), steps=20, std=0.5)
    assert program.sample(4, sampler=sampler).shape == (4, 1)


def test_ancestral_draws_are_those_of_the_hierarchical_program():
    """Same times, same posterior: the moments of p(z_1 | …) of the Pyro program, plus its last noise."""
    n, steps = 20_000, 6
    program = gaussian_ddpm(LogLinearSNR(200.0, 1e-2), steps, mean=-1.0, std=0.5)
    model = program.sample(n)
    ours = program.sample(n, sampler=DDPMAncestral(steps - 1))
    left = 1 / 200.0  # variance of p(x | z_1)
    stderr = math.sqrt(float(model.var() + ours.var()) / n)
    assert abs(float(model.mean() - ours.mean())) < 5 * stderr
    assert float(ours.var()) + left == pytest.approx(float(model.var()), rel=5 * math.sqrt(4 / n))


def test_context_reaches_the_network(sampler):
    program = Diffusion(3, hidden=8, blocks=1, context=2)
    with torch.no_grad():
        program.denoiser.network.output.weight.normal_()
    one, other = (program.sample(4, torch.full((1, 2), c), sampler=sampler, seed=0) for c in (0.0, 5.0))
    assert one.shape == (4, 3)
    assert not torch.allclose(one, other)


def test_a_program_remembers_its_sampler(sampler, tmp_path):
    program = Diffusion(3, hidden=8, blocks=1, sampler=sampler)
    again = ug.load(ug.save(program, tmp_path / "diffusion.safetensors"))
    assert repr(again.sampler) == repr(program.sampler)
    assert torch.equal(again.sample(3, seed=0), program.sample(3, seed=0))


def test_given_times_are_remembered(tmp_path):
    program = Diffusion(3, hidden=8, blocks=1, sampler=DDIM(2, times=torch.tensor([1.0, 0.5, 0.25])))
    again = ug.load(ug.save(program, tmp_path / "diffusion.safetensors"))
    assert isinstance(again.sampler, DDIM)
    assert repr(again.sampler.times) == repr(GivenTimes((1.0, 0.5, 0.25)))


@pytest.mark.parametrize(
    "chosen", [DDIM(8), DDIM(8, eta=1.0), DDPMAncestral(8), DPMSolver(8, times=EqualTimes())], ids=repr
)
def test_a_start_without_signal_is_no_obstacle(chosen):
    """Data at one point, predicted exactly: every walk ends there, give or take the noise left at the start."""
    program = Diffusion(1, network=Point(0.7), schedule=ZeroTerminal(), prediction=X0()).double()
    x, n = program.sample(4000, sampler=chosen), 4000
    std = math.sqrt(math.expm1(0.01))  # sigma / alpha at t = 0
    assert abs(float(x.mean()) - 0.7) < 5 * std / math.sqrt(n)
    assert float(x.std()) == pytest.approx(std, rel=5 / math.sqrt(2 * n))


@pytest.mark.parametrize("chosen", [EDM(4, times=EqualTimes()), EDM(4), DPMSolver(4)], ids=repr)
def test_a_walk_in_ratios_of_the_signal_needs_some(chosen):
    program = Diffusion(1, network=Point(0.7), schedule=ZeroTerminal(), prediction=X0()).double()
    with pytest.raises(ArgumentError, match=r"t = 1.*EqualTimes"):
        program.sample(2, sampler=chosen)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [0, -1, 2.5, True])
def test_steps_are_counted(kind, steps):
    with pytest.raises(ArgumentError, match="steps"):
        kind(steps)


def test_misuse_is_refused(sampler):
    with pytest.raises(ArgumentError, match="Diffusion"):
        PPCA(3, 1).sample(2, sampler=sampler)
    with pytest.raises(ArgumentError, match="strictly decreasing"):
        DDIM(2, times=[0.0, 0.5, 1.0])
    with pytest.raises(ArgumentError, match=r"steps \+ 1"):
        DDPM(3, 4, hidden=8, blocks=1).sample(2, sampler=DDIM(5, times=[1.0, 0.5, 0.1]))


def test_a_divergent_network_says_so(sampler):
    program = Diffusion(3, hidden=8, blocks=1)
    with torch.no_grad():
        program.denoiser.network.output.bias.fill_(math.inf)
    with pytest.raises(NonFiniteError, match="diverged"):
        program.sample(2, sampler=sampler)
