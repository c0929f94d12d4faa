"""Path KL against closed forms: a constant shift, a linear control; order; adjoint; memory; methods that do not fit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unigen.dynamics.path_kl import check_noise, integrate_with_kl
from unigen.errors import ArgumentError, DivergedError, ShapeError

F64 = torch.float64
ADDITIVE = ("euler", "milstein", "srk", "heun", "midpoint", "euler_heun", "reversible_heun")


def ou(t, z):
    return -z


@pytest.mark.parametrize("method", ADDITIVE)
@pytest.mark.parametrize("adjoint", [False, True])
def test_the_shift_of_theorem_27(method, adjoint):
    x = torch.zeros(3, 2, dtype=F64)[:, :1]
    _, kl = integrate_with_kl(
        ou, lambda t, z: 0 * z + 0.5 / 0.5, lambda t, z: 0.5, x, torch.linspace(0, 2, 9).tolist(), method=method,
        adjoint=() if adjoint else None,
    )  # fmt: skip
    torch.testing.assert_close(kl, torch.ones(3, dtype=F64), rtol=0, atol=1e-12)


def test_states_are_those_of_eulers_scheme_and_kl_is_its_sum():
    torch.manual_seed(0)
    x, times = torch.randn(5, 2, dtype=F64), [0.0, 0.1, 0.4, 1.0]
    control = lambda t, z: torch.cos(z) + t  # noqa: E731
    path, kl = integrate_with_kl(ou, control, lambda t, z: 0.7 + t, x, times)
    z, total = x, torch.zeros(5, dtype=F64)
    for k in range(
        3
    ):  # the noise is whatever carried one state to the next: scaled back it is standard normal
        h, t = times[k + 1] - times[k], torch.tensor(times[k], dtype=F64)
        u = control(t, z)
        total = total + 0.5 * h * u.square().sum(-1)
        noise = (path[k + 1] - z - h * (ou(t, z) + (0.7 + t) * u)) / ((0.7 + t) * math.sqrt(h))
        assert float(noise.abs().max()) < 6 and float(noise.std()) > 0.2
        z = path[k + 1]
    torch.testing.assert_close(kl, total)


def linear_energy(theta, c, sigma, end):
    """½ ∫ E (c z)² dt for dz = (−θ z + σ c z) dt + σ dW from 0: with r = θ − σ c, Var z = σ² (1 − e^{−2rt}) / 2r."""
    r = theta - sigma * c
    return 0.5 * c * c * sigma**2 / (2 * r) * (end - (1 - math.exp(-2 * r * end)) / (2 * r))


@pytest.mark.parametrize("method", ["euler", "srk", "reversible_heun"])
def test_a_linear_control_has_its_energy_in_closed_form(method):
    n = 20_000
    x = torch.zeros(n, 1)
    _, kl = integrate_with_kl(
        ou, lambda t, z: -0.8 * z, lambda t, z: 0.6, x, torch.linspace(0, 1, 41).tolist(), method=method
    )
    truth = linear_energy(1.0, -0.8, 0.6, 1.0)
    assert abs(float(kl.mean()) - truth) < 5 * float(kl.std()) / math.sqrt(n) + 0.03 * truth


def test_the_path_kl_is_the_kl_of_the_ends_and_more():
    """Data processing: KL of the laws at the end, Gaussians here, is at most the path's."""
    r, sigma, c, end = 1.0, 0.6, -0.8, 1.0
    q, p = ((sigma**2 * (1 - math.exp(-2 * a * end)) / (2 * a)) for a in (r - sigma * c, r))
    ends = 0.5 * (q / p - 1 - math.log(q / p))
    assert ends < linear_energy(r, c, sigma, end)


class Fields(nn.Module):
    def __init__(self):
        super().__init__()
        self.f, self.u = nn.Linear(2, 2).double(), nn.Linear(2, 2).double()
        self.log_g = nn.Parameter(torch.full((2,), -0.7, dtype=F64))


@pytest.mark.parametrize(
    ("method", "tolerance"), [("euler", 0.05), ("reversible_heun", 1e-6), ("milstein", 0.05)]
)
def test_the_adjoint_has_the_gradient_of_the_steps(method, tolerance):
    """The same Brownian path, so that the two differ by the order of a step only."""
    fields, x, gradients = Fields(), torch.randn(40, 2, dtype=F64), []
    for adjoint in (False, True):
        path, kl = integrate_with_kl(
            lambda t, z: torch.tanh(fields.f(z)), lambda t, z: fields.u(z),
            lambda t, z: fields.log_g.exp().expand_as(z), x, torch.linspace(0, 1, 201).tolist(), (0, 100, 200), method,
            adjoint=list(fields.parameters()) if adjoint else None, generator=torch.Generator().manual_seed(3),
        )  # fmt: skip
        assert path.shape == (3, 40, 2)
        loss = kl.mean() + path.square().mean()
        gradients.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(fields.parameters()))])
        )
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < tolerance


def kept(steps, adjoint):
    """Numbers that the backward pass of so many steps keeps."""
    fields, x, count = Fields(), torch.randn(16, 2, dtype=F64), [0]

    def keep(tensor):
        count[0] += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        integrate_with_kl(
            lambda t, z: fields.f(z), lambda t, z: fields.u(z), lambda t, z: fields.log_g.exp().expand_as(z), x,
            torch.linspace(0, 1, steps + 1).tolist(), (0, steps),
            adjoint=list(fields.parameters()) if adjoint else None,
        )  # fmt: skip
    return count[0]


def test_memory_of_the_adjoint_does_not_grow_with_the_number_of_steps():
    assert kept(100, True) == kept(1000, True)
    assert kept(400, False) > 3.9 * kept(100, False)


def test_a_generator_reproduces():
    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        return integrate_with_kl(
            ou, ou, lambda t, z: 1.0, torch.ones(3, 1), [0.0, 0.5, 1.0], generator=generator
        )[0]

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


def test_methods_that_do_not_fit_the_noise_are_refused():
    t, x = torch.zeros(()), torch.randn(3, 2)
    own, mixed = (lambda t, z: 1 + z**2), (lambda t, z: 1 + z.flip(-1) ** 2)
    for method in ("heun", "reversible_heun"):
        with pytest.raises(ArgumentError, match="Stratonovich"):
            check_noise(method, own, t, x, False)
    for method, adjoint in (("srk", False), ("milstein", False), ("euler", True)):
        with pytest.raises(ArgumentError, match="that coordinate alone"):
            check_noise(method, mixed, t, x, adjoint)
        check_noise(method, own, t, x, adjoint)
    check_noise("euler", mixed, t, x, False)
    with pytest.raises(ArgumentError, match="unknown SDE method"):
        check_noise("leapfrog", own, t, x, False)


def test_bad_input_is_refused():
    x = torch.zeros(2, 1)
    for times in ([0.0], [0.0, 1.0, 0.5], [1.0, 0.0], [0.0, math.nan]):
        with pytest.raises(ArgumentError, match="times"):
            integrate_with_kl(ou, ou, lambda t, z: 1.0, x, times)
    with pytest.raises(ShapeError):
        integrate_with_kl(ou, ou, lambda t, z: 1.0, torch.zeros(2), [0.0, 1.0])
    with pytest.raises(ShapeError, match="shape of the state"):
        integrate_with_kl(lambda t, z: z[:, :0], ou, lambda t, z: 1.0, x, [0.0, 1.0])
    with pytest.raises(DivergedError, match="smaller dt"):
        integrate_with_kl(
            lambda t, z: z**3 * 1e3, ou, lambda t, z: 1.0, x + 9, torch.linspace(0, 9, 20).tolist()
        )
