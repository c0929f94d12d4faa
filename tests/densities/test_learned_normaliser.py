"""A learned log Z: what it makes of an energy's value, against quadrature and a closed form, and how it is trained."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from tests.energies import LOG_Z_WELL, gaussian, well
from unigen.densities.learned_normaliser import LearnedNormaliser
from unigen.densities.normaliser import Normalised
from unigen.errors import ArgumentError
from unigen.logprob import Kind

F64 = torch.float64


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_the_density_has_mass_one_at_the_true_constant_alone(shift):
    """∫ exp(−E − c) dx = exp(log Z − c) of the double well, by the trapezoid rule."""
    program, _ = well()
    x = torch.linspace(-4, 4, 4001, dtype=F64)[:, None]
    constant = LearnedNormaliser(LOG_Z_WELL + shift).double()
    found = program.double().log_prob(x, density=Normalised(constant))
    mass = float(torch.trapezoid(found.value.exp(), x[:, 0]))
    assert mass == pytest.approx(math.exp(-shift), abs=1e-6)
    assert found.kind is Kind.ESTIMATE and found.stderr is None


def test_a_gaussian_gets_its_own_density():
    program, log_z = gaussian(3)
    x = torch.randn(6, 3, dtype=F64)
    found = program.log_prob(x, density=Normalised(LearnedNormaliser(log_z).double()))
    precision = program.f.precision.detach()
    truth = torch.distributions.MultivariateNormal(
        torch.full((3,), 0.5, dtype=F64), precision_matrix=0.5 * (precision + precision.mT)
    )
    torch.testing.assert_close(found.value, truth.log_prob(x), atol=1e-6, rtol=0)  # a constant in float32


def test_it_is_one_trainable_number_and_every_density_falls_with_it():
    constant, (program, _) = LearnedNormaliser(0.7), well()
    ((name, parameter),) = constant.named_parameters()
    assert name == "constant" and parameter.shape == (1,)  # never 0-d
    found = constant.log_z(program)
    assert found.value.shape == () and found.value.item() == pytest.approx(0.7)
    assert found.kind is Kind.ESTIMATE is constant.kind
    x = torch.randn(5, 1)
    values = Normalised(constant).log_prob(program, x).value
    (gradient,) = torch.autograd.grad(values.sum(), parameter)
    assert float(gradient) == -5.0


@pytest.mark.parametrize("shift", [-0.2, 0.0, 0.2])
def test_noise_contrastive_estimation_drives_it_to_log_z(shift):
    """The expected loss of telling x ~ p from noise of known density, by quadrature, has its minimum at log Z."""
    program, _ = well()
    x = torch.linspace(-4, 4, 801, dtype=F64)[:, None]
    log_q = torch.distributions.Normal(0.0 * x[0], 1.5 + 0 * x[0]).log_prob(x)[:, 0]
    p, q = (-program.potential(x)).softmax(0), log_q.exp() * float(x[1, 0] - x[0, 0])
    constant = LearnedNormaliser(LOG_Z_WELL + shift).double()
    ratio = Normalised(constant).log_prob(program, x).value - log_q
    loss = -(p * logsigmoid(ratio) + q * logsigmoid(-ratio)).sum()
    (gradient,) = torch.autograd.grad(loss, constant.constant)
    assert abs(float(gradient)) < 1e-6 if shift == 0 else float(gradient) * shift > 0.002


def test_its_state_is_its_number():
    one, two = LearnedNormaliser(2.0), LearnedNormaliser()
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.constant, two.constant)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_start_that_is_no_number_is_refused(value):
    with pytest.raises(ArgumentError, match="finite"):
        LearnedNormaliser(value)
