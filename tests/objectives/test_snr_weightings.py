"""Oracles: the formulas of the papers, and gradients of their losses written out."""

from __future__ import annotations

import math

import pytest
import torch

from tests.objectives.test_weighting import COSINE, LINEAR, denoiser_on
from unigen.dynamics.edm import EDMOutput
from unigen.dynamics.prediction import X0, V
from unigen.dynamics.schedule import VPCosine
from unigen.dynamics.time_density import LogNormalNoise
from unigen.dynamics.times import LowDiscrepancyTimes
from unigen.dynamics.variance_exploding import VE
from unigen.errors import ArgumentError
from unigen.models.diffusion import Diffusion
from unigen.objectives.denoising import DenoisingScoreMatching
from unigen.objectives.snr_weightings import (
    EDMWeighting,
    MinSNRWeighting,
    P2Weighting,
    SigmoidWeighting,
    TruncatedSNRWeighting,
)

F64 = torch.float64
NAMED = [MinSNRWeighting(), TruncatedSNRWeighting(), P2Weighting(0.5), SigmoidWeighting(), EDMWeighting()]


def normal(x, mean, std):
    return torch.exp(-0.5 * ((x - mean) / std) ** 2)


@pytest.mark.parametrize(
    ("weighting", "table"),
    [
        (MinSNRWeighting(5.0), lambda snr: (5 * torch.exp(-snr)).clamp(max=1) / torch.cosh(snr / 2)),
        (P2Weighting(0.5), lambda snr: (1 + torch.exp(snr)) ** -0.5 / torch.cosh(snr / 2)),
        (TruncatedSNRWeighting(), lambda snr: torch.exp(-snr).clamp(min=1) / torch.cosh(snr / 2)),
        (SigmoidWeighting(2.0), lambda snr: torch.sigmoid(2 - snr)),
        (EDMWeighting(-1.2, 1.2, 0.5), lambda snr: normal(snr, 2.4, 2.4) * (torch.exp(-snr) + 0.25)),
    ],
    ids=["min-SNR", "P2", "truncated", "sigmoid", "EDM"],
)  # fmt: skip
@torch.no_grad()
def test_implied_weights_are_those_of_the_table_up_to_a_factor(weighting, table):
    """Kingma & Gao 2023, table 1: with the cosine schedule for the first three, any schedule for the others."""
    denoiser, t = denoiser_on(COSINE), torch.linspace(0.02, 0.98, 41, dtype=F64)
    ratio = weighting.implied(denoiser, t) / table(COSINE.log_snr(t))
    torch.testing.assert_close(ratio, ratio[:1].expand(41), rtol=1e-9, atol=0)


@pytest.mark.parametrize("weighting", [SigmoidWeighting(), EDMWeighting()], ids=repr)
@torch.no_grad()
def test_what_is_defined_by_the_snr_does_not_depend_on_the_schedule(weighting):
    values = []
    for schedule, t in ((COSINE, 0.5), (LINEAR, 0.5)):  # log SNR 0 in both
        values.append(float(weighting.implied(denoiser_on(schedule), torch.tensor([t], dtype=F64))))
    assert values[0] == pytest.approx(values[1], rel=1e-9)


@pytest.mark.parametrize(
    ("weighting", "cosine", "linear"),
    [
        (MinSNRWeighting(), False, True), (P2Weighting(), False, True), (TruncatedSNRWeighting(), True, True),
        (SigmoidWeighting(), True, True), (EDMWeighting(), False, False),
    ],
    ids=repr,
)  # fmt: skip
def test_monotone_weightings_are_found(weighting, cosine, linear):
    assert weighting.monotone(denoiser_on(COSINE)) is cosine
    assert weighting.monotone(denoiser_on(LINEAR)) is linear


def trained(prediction, schedule=None) -> Diffusion:
    schedule = VPCosine(1e3, 1e-3) if schedule is None else schedule
    program = Diffusion(2, schedule=schedule, prediction=prediction, hidden=8, blocks=1).double()
    with torch.no_grad():
        program.denoiser.network.output.weight.normal_(0, 0.3)
    return program


def gradient(loss, program):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(program.parameters()))])


def noisy(program, x):
    """The random numbers of the loss, in its order."""
    t, eps = LowDiscrepancyTimes().draw(x), torch.randn_like(x)
    return t, eps, program.denoiser.perturb(x, t, eps)


def hang_on_x0(program, x):
    """Hang et al., equation for x0: min(SNR, 5) ‖x0 − x0_hat‖²."""
    t, _, z = noisy(program, x)
    snr = torch.exp(program.denoiser.schedule.log_snr(t))
    return (snr.clamp(max=5.0) * (x - program.denoiser.network(z, t)).square().sum(1)).mean()


def hang_on_v(program, x):
    """Hang et al., for v: min(SNR, 5) / (SNR + 1) ‖v − v_hat‖²."""
    t, eps, z = noisy(program, x)
    alpha, sigma = program.denoiser.schedule.alpha(t)[:, None], program.denoiser.schedule.sigma(t)[:, None]
    snr = torch.exp(program.denoiser.schedule.log_snr(t))
    error = (alpha * eps - sigma * x - program.denoiser.network(z, t)).square().sum(1)
    return (snr.clamp(max=5.0) / (snr + 1) * error).mean()


def choi(program, x):
    """Choi et al.: ‖eps − eps_hat‖² / (1 + SNR)."""
    t, eps, z = noisy(program, x)
    snr = torch.exp(program.denoiser.schedule.log_snr(t))
    return ((eps - program.denoiser(z, t)[1]).square().sum(1) / (1 + snr)).mean()


def salimans(program, x):
    """Salimans & Ho: max(‖x − x_hat‖², ‖eps − eps_hat‖²) for each example, which is one of the two by the SNR."""
    t, eps, z = noisy(program, x)
    x0_hat, eps_hat = program.denoiser(z, t)
    errors = torch.stack([(x - x0_hat).square().sum(1), (eps - eps_hat).square().sum(1)])
    return errors.max(0).values.mean()


@pytest.mark.parametrize(
    ("weighting", "prediction", "paper"),
    [
        (MinSNRWeighting(5.0), X0(), hang_on_x0), (MinSNRWeighting(5.0), V(), hang_on_v), (P2Weighting(1.0), V(), choi),
        (TruncatedSNRWeighting(), V(), salimans),
    ],
    ids=["min-SNR on x0", "min-SNR on v", "P2", "truncated SNR"],
)  # fmt: skip
def test_gradients_are_those_of_the_paper(weighting, prediction, paper):
    program, x = trained(prediction), torch.randn(40, 2, dtype=F64)
    loss = DenoisingScoreMatching(weighting).players(program)[0].loss
    torch.manual_seed(3)
    mine = gradient(loss(x), program)
    torch.manual_seed(3)
    torch.testing.assert_close(mine, gradient(paper(program, x), program), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("sigma_data", [1.0, 0.5])
def test_edm_trains_by_the_loss_of_its_paper(sigma_data):
    """Karras et al., equation 2: λ(ς) ‖D(y + ς n; ς) − y‖², λ = (ς² + s²) / (ς s)², log ς normal within the schedule.

    With the preconditioning the weight on the network's own error is one.
    """
    program, mean = trained(EDMOutput(sigma_data), VE(0.05, 20.0)), -1.2
    x, density = sigma_data * torch.randn(40, 2, dtype=F64), LogNormalNoise(mean, 1.2)
    weighting = EDMWeighting(mean, 1.2, sigma_data)
    loss = DenoisingScoreMatching(weighting, density=density).players(program)[0].loss
    torch.manual_seed(3)
    mine = loss(x)
    torch.manual_seed(3)
    ends = (torch.log(torch.tensor([0.05, 20.0], dtype=F64)) - mean) / 1.2
    low, high = torch.special.ndtr(ends)
    u, eps = LowDiscrepancyTimes().draw(x), torch.randn_like(x)
    level = torch.exp(mean + 1.2 * torch.special.ndtri(low + u * (high - low)))
    t = torch.log(level / 0.05) / math.log(20.0 / 0.05)
    denoised = program.denoiser((x + level[:, None] * eps) / 20.0, t)[0]
    s2 = sigma_data**2
    paper = (level**2 + s2) / (level**2 * s2) * (denoised - x).square().sum(1)
    torch.testing.assert_close(mine, (high - low) * paper.mean(), rtol=1e-5, atol=0)
    torch.manual_seed(3)
    torch.testing.assert_close(
        gradient(loss(x), program), (high - low) * gradient(paper.mean(), program), rtol=1e-4, atol=1e-6
    )
    target = (x - s2 / (level**2 + s2)[:, None] * (x + level[:, None] * eps)) * (
        torch.sqrt(level**2 + s2) / (level * sigma_data)
    )[:, None]
    own = (program.denoiser.network((x + level[:, None] * eps) / 20.0, t) - target).square().sum(1)
    torch.testing.assert_close(paper, own, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    "build",
    [
        lambda: MinSNRWeighting(0.0), lambda: MinSNRWeighting(math.nan), lambda: P2Weighting(-1.0),
        lambda: P2Weighting(k=0.0), lambda: SigmoidWeighting(math.inf), lambda: EDMWeighting(std=0.0),
        lambda: EDMWeighting(sigma_data=-1.0), lambda: EDMWeighting(mean=math.nan),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(build):
    with pytest.raises(ArgumentError, match="expected"):
        build()


@pytest.mark.parametrize("weighting", NAMED, ids=repr)
def test_a_program_remembers_its_weighting(weighting, tmp_path):
    import unigen as ug

    program = Diffusion(
        2, hidden=8, blocks=1, objective=DenoisingScoreMatching(weighting, density=LogNormalNoise())
    )
    again = ug.load(ug.save(program, tmp_path / "diffusion.safetensors"))
    assert repr(again.objective) == repr(program.objective)
