"""Relation 27: path KL and GP evidence, the identity broken on purpose, and the equal state-space model."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import unigen as ug
from tests import problems
from unigen.errors import UnsupportedQueryError
from unigen.models.latent_sde import LatentSDE
from unigen.nn.autonomous import Autonomous
from unigen.relations.latent_sde_gp import TIMES, VALUES, LatentSDEtoGP

RELATION = LatentSDEtoGP()


def ou_evidence(times, values, theta, mu, sigma, noise):
    """Evidence with the dense kernel, by SciPy."""
    t = np.asarray(times)
    kernel = sigma**2 / (2 * theta) * np.exp(-theta * np.abs(t[:, None] - t))
    covariance = kernel + noise**2 * np.eye(t.size)
    return float(problems.gaussian_log_density(np.asarray(values), np.full(t.size, mu), covariance)[0])


def test_worked_example():
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["evidence"] == pytest.approx(
        ou_evidence(TIMES, VALUES, 1.0, 0.1, 0.5, 0.3), abs=1e-6
    )
    assert 0 < evidence.details["gap_of_the_exact_control"] < 0.05


def test_other_parameters():
    law = {"theta": 0.6, "mu": -0.2, "sigma": 0.8, "noise": 0.5}
    times, values = (0.0, 0.5, 0.6, 1.5), (0.1, -0.9, -1.2, 0.7)
    evidence = RELATION.check(times=times, values=values, dt=0.02, draws=1000, **law)
    assert evidence.holds, evidence
    assert evidence.details["evidence"] == pytest.approx(ou_evidence(times, values, **law), abs=1e-6)


class WithoutPathKL(LatentSDEtoGP):
    """Leaves the KL out: above the evidence."""

    def path_elbos(self, program, x, draws):
        q = program.posterior(self._repeated(x, draws))
        with torch.no_grad():
            return program.emit(q.rsample()[:, list(program.grid.stops)]).log_prob(self._repeated(x, draws))


class WholeEnergy(LatentSDEtoGP):
    """Drops the half of ½ ∫ ‖u‖² dt."""

    def shift_kl(self, shift, sigma, end):
        return 2 * super().shift_kl(shift, sigma, end)


class OtherControl(LatentSDEtoGP):
    """Turns the control round."""

    def program(self, control, noise):
        turned = copy.deepcopy(control)
        turned.factor = -control.factor
        return super().program(turned, noise)


@pytest.mark.parametrize("broken", [WithoutPathKL, WholeEnergy, OtherControl])
def test_a_broken_identity_is_seen(broken):
    assert not broken().check(draws=500).holds


def linear(missing=False, **options):
    """A linear latent SDE of two coordinates, steps of .25 between times one apart, in float64."""
    program = LatentSDE(
        3,
        (0.0, 1.0, 2.0, 3.0),
        2,
        dt=0.25,
        drift=Autonomous(2, ()),
        likelihood=ug.Gaussian(0.4),
        missing=missing,
        **options,
    ).double()
    with torch.no_grad():
        program.drift.body.layers[0].weight.copy_(torch.tensor([[-0.5, 0.8], [-0.8, -0.3]]))
        program.drift.body.layers[0].bias.copy_(torch.tensor([0.3, -0.1]))
        program.diffusion.log_scale.copy_(torch.tensor([0.5, 0.8]).log())
        program.start.copy_(torch.tensor([0.4, -0.2]))
        program.start_scale.fill_(-0.5)
    return program


def test_a_linear_latent_sde_is_a_state_space_model():
    program = linear()
    twin = ug.convert(program, to="StateSpace")
    x, draws = twin.sample(20_000, seed=0).flatten(1), program.sample(20_000, seed=1).flatten(1)
    spread = x.std(0)
    assert float(((x.mean(0) - draws.mean(0)) / spread).abs().max()) < 5 * (2 / 20_000) ** 0.5
    assert float((torch.corrcoef(x.mT) - torch.corrcoef(draws.mT)).abs().max()) < 5 * (2 / 20_000) ** 0.5
    rows = program.sample(4, seed=2)
    with torch.no_grad():  # the exact evidence against the average weight of paths from the prior
        z = program.prior().expand([20_000, 4]).sample()[..., list(program.grid.stops), :]
        log_w = program.emit(z).log_prob(rows)
    w = (log_w - log_w.amax(0)).exp()
    estimate = w.mean(0).log() + log_w.amax(0)
    stderr = w.std(0) / w.mean(0) / 20_000**0.5
    truth = twin.log_prob(rows).value
    assert bool(((estimate - truth).abs() < 6 * stderr + 0.05).all()), (estimate, truth, stderr)


def test_on_programs():
    program = linear(missing=True)
    x = program.sample(30, seed=0)
    x[:, 1, 0] = torch.nan
    evidence = RELATION.check_programs(program, ug.convert(program, to="StateSpace"), x)
    assert evidence.holds, evidence
    assert len(ug.relate(program, ug.convert(program, to="StateSpace"), x).evidence) >= 1


def test_a_bound_above_the_evidence_is_seen():
    class Higher(LatentSDEtoGP):
        def convert(self, program, *, to):
            out = super().convert(program, to=to)
            out.log_noise.data.add_(3.0)
            return out

    program = linear()
    assert (
        not Higher()
        .check_programs(program, ug.convert(program, to="StateSpace"), program.sample(30, seed=0))
        .holds
    )


@pytest.mark.parametrize(
    ("program", "what"),
    [
        (LatentSDE(1, (0.0, 1.0, 2.0), 1), "affine drift"),
        (LatentSDE(1, (0.0, 1.0, 2.5), 1, dt=0.5, drift=Autonomous(1, ())), "affine drift"),
        (
            LatentSDE(1, (0.0, 1.0), 1, drift=Autonomous(1, ()), diffusion=ug.DiagonalNoise(1)),
            "constant noise",
        ),
        (LatentSDE(1, (0.0, 1.0), 1, drift=Autonomous(1, ()), likelihood=ug.Gaussian("network")), "Gaussian"),
    ],
    ids=["network", "times", "noise", "likelihood"],
)
def test_others_are_not_converted(program, what):
    with pytest.raises(UnsupportedQueryError, match=what):
        ug.convert(program, to="StateSpace")
