"""A distribution given by functions on rows, here those of a Gaussian: every shape against torch's own Gaussian."""

from __future__ import annotations

import pytest
import torch
from pyro.distributions import Independent, Normal
from torch import Tensor

from tests.programs import Conditional, Toy
from unigen.distributions.diffusion import DiffusionDistribution
from unigen.errors import ShapeError
from unigen.logprob import Kind
from unigen.queries import default_log_prob

F64 = torch.float64
MEAN, SCALE = torch.tensor([1.0, -2.0, 0.5], dtype=F64), torch.tensor([0.3, 1.0, 2.0], dtype=F64)
MIX = torch.tensor([[1.0, 0.0], [0.5, -1.0], [0.0, 2.0]], dtype=F64)  # how a context of two moves the mean


def loc(context: Tensor | None) -> Tensor:
    return MEAN if context is None else MEAN + context @ MIX.mT


def draw(n: int, context: Tensor | None) -> Tensor:
    assert context is None or context.shape == (n, 2)
    assert not torch.is_grad_enabled()
    return loc(context) + SCALE * torch.randn(n, 3, dtype=F64)


def density(x: Tensor, context: Tensor | None) -> Tensor:
    assert x.dim() == 2 and (context is None or context.shape == (x.shape[0], 2))
    return Normal(loc(context), SCALE).log_prob(x).sum(-1)


def made(context: Tensor | None = None, batch: tuple[int, ...] | None = None) -> DiffusionDistribution:
    return DiffusionDistribution(
        (3,), draw, density, lambda x, c: 10 + density(x, c), Kind.ESTIMATE, context, batch, "Mine"
    )


CASES = {
    "one": (None, None),
    "batch": (None, (4,)),
    "batches": (None, (2, 4)),
    "a context": (torch.randn(2, dtype=F64), None),
    "contexts": (torch.randn(4, 2, dtype=F64), None),
    "grid of contexts": (torch.randn(2, 4, 2, dtype=F64), None),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lead", [(), (4,), (2, 1), (6, 2, 4)])
def test_the_density_is_that_of_every_row(case, lead):
    p = made(*CASES[case])
    truth = Independent(Normal(loc(p.context).expand(*p.batch_shape, 3), SCALE), 1)
    x = torch.randn(*lead, 3, dtype=F64)
    torch.testing.assert_close(p.log_prob(x), truth.log_prob(x))
    torch.testing.assert_close(p.surrogate(x), 10 + truth.log_prob(x))
    assert p.batch_shape == truth.batch_shape and p.event_shape == (3,) and p.kind is Kind.ESTIMATE


@pytest.mark.parametrize("case", CASES)
def test_draws_have_the_moments_of_their_row(case):
    n, p = 4000, made(*CASES[case])
    x = p.sample(torch.Size((n,)))
    mean = loc(p.context).expand((*p.batch_shape, 3))
    assert x.shape == (n, *p.batch_shape, 3) and not p.has_rsample
    assert float(((x.mean(0) - mean) / SCALE).abs().max()) < 5 / n**0.5
    assert float((x.var(0) / SCALE**2 - 1).abs().max()) < 5 * (2 / n) ** 0.5
    assert bool(p.support.check(x).all()) and p.support.event_dim == 1
    assert p.sample().shape == (*p.batch_shape, 3)


def test_a_wider_batch_is_the_same_distribution():
    contexts = torch.randn(4, 2, dtype=F64)
    p, x = made(contexts), torch.randn(4, 3, dtype=F64)
    wide = p.expand((5, 4))
    assert wide.batch_shape == (5, 4) and wide.label == "Mine" and wide.kind is Kind.ESTIMATE
    torch.testing.assert_close(wide.log_prob(x), p.log_prob(x).expand(5, 4))
    assert wide.sample((2,)).shape == (2, 5, 4, 3)


def test_gradients_pass_to_values_and_contexts():
    c = torch.randn(4, 2, dtype=F64, requires_grad=True)
    x = torch.randn(4, 3, dtype=F64, requires_grad=True)
    ours = torch.autograd.grad(made(c).log_prob(x).sum(), [c, x])
    truth = torch.autograd.grad(Normal(loc(c), SCALE).log_prob(x).sum(), [c, x])
    torch.testing.assert_close(ours, truth)


def test_a_programs_distribution_answers_as_the_program_does():
    program, c = Conditional(2, 3).double(), torch.randn(5, 3, dtype=F64)
    p, x = DiffusionDistribution.of(program, c), torch.randn(5, 2, dtype=F64)
    torch.testing.assert_close(p.log_prob(x), default_log_prob(program, x, c).value)
    torch.testing.assert_close(p.surrogate(x), program.surrogate(x, c))
    assert p.kind is program.kind is Kind.EXACT and p.label == "Conditional"
    torch.manual_seed(3)
    ours = p.sample()
    torch.manual_seed(3)
    assert torch.equal(ours, program.draw(5, c))
    assert DiffusionDistribution.of(Toy()).kind is Kind.LOWER_BOUND


@pytest.mark.parametrize("shape", [(), (4, 2), (4, 1)])
def test_a_value_of_another_shape_is_refused(shape):
    """(4, 1) broadcasts with (3,): it would be scored as if its number stood in every place."""
    for score in (made().log_prob, made().surrogate):
        with pytest.raises(ShapeError, match=r"Mine.*\(3,\)"):
            score(torch.zeros(shape, dtype=F64))
