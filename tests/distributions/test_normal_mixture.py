"""NormalMixture: torch's mixture, and gradients by quadrature."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from unigen.distributions.normal_mixture import NormalMixture
from unigen.errors import ShapeError

F64 = torch.float64


def parameters(*batch: int, k: int = 3, size: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    logits, loc = torch.randn(*batch, k, dtype=F64), torch.randn(*batch, k, size, dtype=F64)
    return logits, loc, 0.4 + torch.rand(*batch, k, size, dtype=F64)


def test_density_and_moments_are_those_of_torch():
    logits, loc, scale = parameters(4)
    q = NormalMixture(logits, loc, scale)
    other = MixtureSameFamily(Categorical(logits=logits), Independent(Normal(loc, scale), 1))
    z = torch.randn(7, 4, 2, dtype=F64)
    torch.testing.assert_close(q.log_prob(z), other.log_prob(z))
    torch.testing.assert_close(q.mean, other.mean)
    torch.testing.assert_close(q.variance, other.variance)
    torch.testing.assert_close(q.expand((3, 4)).log_prob(z[:3]), other.log_prob(z[:3]))


@pytest.mark.parametrize("draw", ["sample", "rsample"])
def test_draws_have_the_moments_and_the_shape(draw: str):
    q = NormalMixture(*parameters(4))
    z = getattr(q.expand((3, 4)), draw)((5000,))
    assert z.shape == (5000, 3, 4, 2)
    assert ((z.mean((0, 1)) - q.mean) / (q.variance / 15_000).sqrt()).abs().max() < 5
    square = (z - q.mean).square()
    assert ((square.mean((0, 1)) - q.variance) / (square.std((0, 1)) / 15_000**0.5)).abs().max() < 5


def f(z: torch.Tensor) -> torch.Tensor:
    return torch.sin(2 * z[..., 0]) * z[..., 1].square() + z[..., 0] * z[..., 1]


def test_gradients_are_unbiased():
    """∇ E f(z) in all parameters, batch means of pathwise gradients beside quadrature on a grid."""
    given = [p.requires_grad_() for p in parameters()]
    grid = torch.linspace(-9, 9, 361, dtype=F64)
    z = torch.cartesian_prod(grid, grid)
    expected = (NormalMixture(*given).log_prob(z).exp() * f(z)).sum() * (18 / 360) ** 2
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(expected, given)])
    batches = []
    for _ in range(50):
        value = f(NormalMixture(*given).rsample((4000,))).mean()
        batches.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, given)]))
    found = torch.stack(batches)
    assert ((found.mean(0) - exact) / (found.std(0) / 50**0.5)).abs().max() < 5


def test_one_component_is_the_plain_reparameterisation():
    loc, scale = (
        torch.zeros(1, 3, dtype=F64, requires_grad=True),
        torch.ones(1, 3, dtype=F64, requires_grad=True),
    )
    z = NormalMixture(torch.zeros(1, dtype=F64), loc, scale).rsample((6,))
    w = torch.randn(6, 3, dtype=F64)
    by_loc, by_scale = torch.autograd.grad((w * z).sum(), (loc, scale))
    torch.testing.assert_close(by_loc[0], w.sum(0))
    torch.testing.assert_close(by_scale[0], (w * z.detach()).sum(0))


def test_gradients_are_finite_where_components_lie_far_apart():
    loc = torch.tensor([[-40.0, 0.0], [40.0, 1.0]], requires_grad=True)
    z = NormalMixture(torch.zeros(2), loc, torch.full((2, 2), 1e-2)).rsample((2000,))
    gradient = torch.autograd.grad(z.square().sum(), loc)[0]
    assert gradient.isfinite().all()


def test_shapes_that_do_not_agree_are_refused():
    with pytest.raises(ShapeError, match=r"logits \(2,\)"):
        NormalMixture(torch.zeros(2), torch.zeros(3, 2), torch.ones(3, 2))
