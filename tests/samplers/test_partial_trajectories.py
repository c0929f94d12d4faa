"""What a sampler had computed when it broke off: every kind of sampler on a network that blows up below t = 0.3."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.diffusion_problems import gaussian_diffusion
from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import LogLinearSNR
from unigen.errors import DivergedError, NonFiniteError
from unigen.models.diffusion import Diffusion
from unigen.models.flow_matching import FlowMatching
from unigen.models.function import from_functions
from unigen.samplers.ddim import DDIM
from unigen.samplers.ddpm import DDPMAncestral
from unigen.samplers.dpm_solver import DPMSolver
from unigen.samplers.edm import EDM
from unigen.samplers.grid_sampler import GridSampler
from unigen.samplers.interpolant_sde import InterpolantSDE
from unigen.samplers.langevin import Langevin
from unigen.samplers.predictor_corrector import PredictorCorrector
from unigen.samplers.probability_flow import ProbabilityFlowODE
from unigen.samplers.reverse_sde import ReverseSDE

BREAK, STEPS = 0.3, 20
WALKS = [
    DDIM(STEPS), DDIM(STEPS, eta=1.0), DDPMAncestral(STEPS, denoise=True), EDM(STEPS, churn=2.0),
    DPMSolver(STEPS, sde=True), PredictorCorrector(DDIM(STEPS)), ReverseSDE(STEPS), ReverseSDE(STEPS, method="heun"),
    ReverseSDE(STEPS, method="srk"),
]  # fmt: skip


class Breaks(nn.Module):
    """A network that is another one above t = 0.3, and not a number below."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return torch.where(t.unsqueeze(-1) < BREAK, torch.nan, self.inner(z, t))


@pytest.fixture
def program() -> Diffusion:
    """The optimal network of N(0, ¼) data, broken."""
    good = gaussian_diffusion(LogLinearSNR(), std=0.5, dims=2)
    network = Breaks(good.denoiser.network)
    return Diffusion(2, network=network, schedule=LogLinearSNR(), prediction=Eps()).double()


@pytest.mark.parametrize("sampler", WALKS, ids=repr)
def test_the_states_so_far_are_those_of_the_walk_that_goes_on(sampler: GridSampler, program: Diffusion):
    good = gaussian_diffusion(LogLinearSNR(), std=0.5, dims=2)
    before = torch.get_rng_state()
    with pytest.raises(NonFiniteError, match="diverged") as caught:
        program.sample(4, sampler=sampler, seed=3)
    with pytest.raises(NonFiniteError) as again:
        sampler.trajectory(program, 4, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    times, states = caught.value.partial
    whole = sampler.trajectory(good, 4, seed=3)
    k = times.shape[0]
    assert STEPS // 2 < k < STEPS + 1
    assert (
        whole.times[k] < BREAK + 1 / STEPS
    )  # the first step that asks for what is broken is the last to be made
    assert torch.equal(times, whole.times[:k])
    torch.testing.assert_close(states, whole.states[:k])
    assert torch.equal(states, again.value.partial.states)


@pytest.mark.parametrize("steps", [None, 0.05])
def test_an_ode_keeps_its_states_too(steps: float | None, program: Diffusion):
    fixed = {"method": "heun2", "options": {"step_size": steps}}
    sampler = ProbabilityFlowODE(**({} if steps is None else fixed))
    with pytest.raises(DivergedError) as caught:
        program.sample(4, sampler=sampler, seed=0)
    times, states = caught.value.partial
    assert bool(torch.isfinite(states).all())
    assert states.shape == (times.shape[0], 4, 2)
    assert times[0] == 1.0
    assert bool((torch.diff(times) < 0).all())
    assert BREAK <= float(times[-1]) < 0.5


def test_an_ode_out_of_evaluations_keeps_its_states():
    program = gaussian_diffusion(LogLinearSNR(), std=0.5, dims=2)
    sampler = ProbabilityFlowODE(1e-9, 1e-9, max_evaluations=200)
    with pytest.raises(DivergedError, match="after 200 evaluations") as caught:
        program.sample(4, sampler=sampler, seed=0)
    times, states = caught.value.partial
    z, alpha, sigma = states[0], *(level(times) for level in (LogLinearSNR().alpha, LogLinearSNR().sigma))
    spread = torch.sqrt(
        0.25 * alpha**2 + sigma**2
    )  # of the state: the exact flow of Gaussian data scales by it
    torch.testing.assert_close(states, (spread / spread[0]).reshape(-1, 1, 1) * z, rtol=1e-7, atol=0)
    assert 0.0 < float(times[-1]) < 1.0


def test_an_interpolant_keeps_its_states():
    program = FlowMatching(2, network=Breaks(nn.Identity()))
    program.flow.network.inner.forward = lambda z, t: 0.1 * z
    with pytest.raises(NonFiniteError) as caught:
        program.sample(3, sampler=InterpolantSDE(STEPS), seed=0)
    times, states = caught.value.partial
    assert states.shape == (times.shape[0], 3, 2)
    assert bool(torch.isfinite(states).all())
    assert BREAK - 1 / STEPS <= float(times[-1]) < 0.5


def test_langevin_keeps_its_states():
    """A step far beyond stability: the states grow by the same factor until they overflow."""
    import pyro
    from pyro import distributions as dist

    def model(x: Tensor | None = None, n: int = 1) -> Tensor:
        with pyro.plate("data", n if x is None else x.shape[0]):
            return pyro.sample("x", dist.Normal(torch.zeros(2), 0.1, validate_args=False).to_event(1), obs=x)

    with pytest.raises(NonFiniteError, match="step_size") as caught:
        from_functions(model).sample(3, sampler=Langevin(steps=100, step_size=1.0), seed=0)
    steps, states = caught.value.partial
    assert steps.tolist() == list(range(states.shape[0]))
    assert bool(torch.isfinite(states).all())
    late = states[10:]
    torch.testing.assert_close(late[1:], -99.0 * late[:-1], rtol=1e-4, atol=0)  # x − x / 0.1²
