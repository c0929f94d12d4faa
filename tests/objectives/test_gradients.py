"""Every gradient estimator against exact gradients: unbiased at α = 1e-6, with power for 2 %."""

from __future__ import annotations

import pytest
import torch

from tests.gradients import (
    Chain,
    Line,
    check_unbiased,
    draws_of,
    gradient_of,
    quadrature,
    quantile,
    z_score,
)
from tests.objectives.test_iwae import enumerated_bound
from tests.programs import Switch
from unigen.objectives.baselines import LearnedBaseline
from unigen.objectives.elbo import ELBO
from unigen.objectives.iwae import IWAE
from unigen.objectives.objective import Objective

X = torch.tensor([[1.5]], dtype=torch.float64)


@pytest.fixture(scope="module")
def exact() -> dict[tuple[type, int], tuple[torch.Tensor, torch.Tensor]]:
    """Gradients of L_1 and L_2 with respect to the parameters of model and guide, by quadrature."""
    found = {}
    for make, nodes in ((Line, 40), (Chain, 12)):
        for k in (1, 2):
            program = make()
            value = quadrature(program, X, k, nodes)
            parts = program.model_parameters, program.guide_parameters
            found[make, k] = tuple(gradient_of(value, program, names) for names in parts)
    return found


@pytest.mark.parametrize("make", [Line, Chain])
@pytest.mark.parametrize(
    ("objective", "k"),
    [
        (ELBO(), 1), (ELBO(analytic=False), 1), (ELBO(2, analytic=False), 1), (ELBO(gradient="stl"), 1),
        (IWAE(2), 2), (IWAE(2, gradient="dreg"), 2), (IWAE(1, gradient="dreg"), 1),
    ],
    ids=repr,
)  # fmt: skip
def test_reparameterised(make: type, objective: Objective, k: int, exact):
    program = make()
    names = program.model_parameters + program.guide_parameters
    draws = draws_of(program, objective, X, names, batches=100, copies=6000)
    split = len(program.model_parameters)
    check_unbiased(draws[:, :split], exact[make, k][0])
    check_unbiased(draws[:, split:], exact[make, k][1])


def test_sticking_the_landing_is_biased_for_two_samples(exact):
    """As its documentation says; the test sees a bias, and the model's gradient has none."""
    program = Line()
    names = program.model_parameters + program.guide_parameters
    draws = draws_of(program, IWAE(2, gradient="stl"), X, names, batches=100, copies=6000)
    check_unbiased(draws[:, :2], exact[Line, 2][0])
    assert z_score(draws[:, 2:], exact[Line, 2][1])[0] > quantile(100)


def switch() -> Switch:
    """The switch with a guide far from the posterior."""
    program = Switch()
    with torch.no_grad():
        program.logits.copy_(torch.tensor([[1.0, 0.2, -1.6], [-0.9, 0.3, 0.6]]))
        program.means.copy_(torch.tensor([-2.0, 0.5, 2.5]))
    return program


ROWS = torch.tensor([[-0.5], [1.2], [0.1]])


@pytest.mark.parametrize(
    ("objective", "k", "copies"),
    [
        (ELBO(baseline=None), 1, 20_000), (ELBO(), 1, 4000), (ELBO(3), 1, 4000),
        (ELBO(baseline=LearnedBaseline((8,))), 1, 5000), (IWAE(2), 2, 6000), (IWAE(3), 3, 5000),
        (IWAE(2, baseline=None), 2, 56_000), (IWAE(2, baseline=LearnedBaseline((8,))), 2, 18_000),
    ],
    ids=repr,
)  # fmt: skip
def test_score_function(objective: Objective, k: int, copies: int):
    program = switch()
    value = enumerated_bound(program, ROWS, k).mean()
    names = ["prior", "means", "logits"]
    draws = draws_of(program, objective, ROWS, names, batches=100, copies=copies)
    check_unbiased(draws[:, :6], gradient_of(value, program, names[:2]))
    check_unbiased(draws[:, 6:], gradient_of(value, program, names[2:]))


def test_enumerated():
    program = switch()
    names = ["prior", "means", "logits"]
    truth = gradient_of(program.exact_elbo(ROWS).mean(), program, names)
    assert torch.allclose(draws_of(program, ELBO(enumerate=True), ROWS, names, 1, 1)[0], truth, atol=1e-6)


def test_at_the_posterior_the_landing_has_no_variance():
    """q the exact posterior: every draw of the guide's gradient is 0, where the whole gradient is not."""
    program = Line()
    with torch.no_grad():  # posterior of z: precision 1 + a²/σ², mean (μ + a x/σ²) / precision
        precision = 1 + program.a.square() / 0.25
        program.b.copy_(program.a / 0.25 / precision)
        program.c.copy_(program.mu / precision)
        program.rho.copy_(-0.5 * precision.log())
    names = program.guide_parameters
    for objective in (ELBO(gradient="stl"), IWAE(3, gradient="dreg")):
        assert draws_of(program, objective, X, names, 5, 1).abs().max() < 1e-12
    assert draws_of(program, ELBO(analytic=False), X, names, 5, 1).abs().min() > 1e-6


def test_doubly_reparameterised_gradients_keep_their_signal():
    """Rainforth et al. 2018: the plain signal-to-noise ratio falls as √K, the doubly reparameterised one does not."""

    def signal(objective: Objective) -> float:
        program = Line()
        with torch.no_grad():
            program.rho.fill_(0.0)  # wider than the posterior, so that the weights have moments
        draws = draws_of(program, objective, X, ("b",), batches=200, copies=10)
        return float(draws.mean().abs() / draws.std())

    plain = signal(IWAE(4)), signal(IWAE(256))
    doubly = signal(IWAE(4, gradient="dreg")), signal(IWAE(256, gradient="dreg"))
    assert plain[1] < plain[0] / 2 < doubly[0] < doubly[1] / 4
