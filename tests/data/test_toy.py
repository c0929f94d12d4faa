from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special
from scipy.stats import multivariate_normal
from sklearn.datasets import make_moons

from unigen.data.toy import Toy, circle, grid, pinwheel, ring, two_gaussians, two_moons
from unigen.errors import ArgumentError, ShapeError

TOYS = [
    two_gaussians(),
    two_gaussians(1.0, math.sqrt(0.1), features=2),
    ring(),
    circle(sd=0.2),
    grid(),
    two_moons(),
    pinwheel(),
]


@pytest.fixture(params=TOYS, ids=lambda toy: f"{toy.name} {toy.event_shape[0]}-D")
def toy(request) -> Toy:
    return request.param


def square(toy: Toy, points: int = 500) -> tuple[torch.Tensor, float]:
    """A grid over the support in data coordinates, and the volume of a cell."""
    reach = float(toy.means.norm(dim=-1).max()) + 7 * float(torch.linalg.svdvals(toy.scale_tril).max())
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    dims = toy.event_shape[0]
    return torch.cartesian_prod(*[axis] * dims).reshape(-1, dims), (2 * reach / (points - 1)) ** dims


def test_density_integrates_to_one_and_entropy_is_its_integral(toy) -> None:
    x, cell = square(toy)
    log_p = torch.cat([toy.log_prob(part) for part in x.split(20_000)])
    assert float(log_p.exp().sum() * cell) == pytest.approx(1.0, abs=1e-6)
    assert float(-(log_p.exp() * log_p).sum() * cell) == pytest.approx(float(toy.entropy()), abs=2e-6)


def test_draws_follow_the_density(toy) -> None:
    """Means of log p and of 40 waves cos(ω·x + b) over draws meet their integrals, which the grid gives exactly."""
    torch.manual_seed(0)
    n = 100_000
    x = toy.sample((n,)).double()
    log_p = toy.log_prob(x)
    assert abs(float((log_p.mean() + toy.entropy()) / (log_p.std() / math.sqrt(n)))) < 5
    points, cell = square(toy, 400)
    mass = torch.cat([toy.log_prob(part) for part in points.split(20_000)]).exp() * cell
    omega = torch.randn(toy.event_shape[0], 40).double() * torch.logspace(-0.5, 0.7, 40).double()
    phase = 2 * math.pi * torch.rand(40).double()
    waves = torch.cos(x @ omega + phase)
    expected = mass @ torch.cos(points @ omega + phase)
    z = (waves.mean(0) - expected) / (waves.std(0) / math.sqrt(n))
    assert float(z.abs().max()) < 5.5


def test_known_entropies() -> None:
    assert float(grid().entropy()) == pytest.approx(5.684893, abs=5e-7)
    assert float(circle().entropy()) == pytest.approx(1.423833, abs=5e-7)
    gaussian = math.log(2 * math.pi * math.e)
    assert float(two_gaussians(10.0, 0.5).entropy()) == pytest.approx(
        math.log(2) + gaussian / 2 + math.log(0.5)
    )
    assert float(ring(sd=0.05).entropy()) == pytest.approx(math.log(8) + gaussian + 2 * math.log(0.05))
    blobs = pinwheel(arms=1, sd=(0.3, 0.1))
    assert float(blobs.entropy()) == pytest.approx(gaussian + math.log(0.3 * 0.1))


def test_circle_equals_its_bessel_density() -> None:
    radius, s = 2.0, 0.08
    x = torch.randn(200, 2).double() * 1.5
    r = x.norm(dim=-1).numpy()
    expected = -((r - radius) ** 2) / (2 * s**2) + np.log(
        special.ive(0, r * radius / s**2) / (2 * math.pi * s**2)
    )
    np.testing.assert_allclose(circle(radius, s).log_prob(x).numpy(), expected, rtol=1e-9)


def test_two_moons_equals_quadrature_and_has_scikit_learns_moments() -> None:
    torch.manual_seed(0)
    toy, s = two_moons(0.1), 0.1
    for x in toy.sample((5,)).double():

        def integrand(theta: float, x: torch.Tensor = x) -> float:
            arc = np.array([math.cos(theta), math.sin(theta)])
            return (
                0.5
                / math.pi
                * sum(
                    multivariate_normal(mean, s**2).pdf(x.numpy()) for mean in (arc, np.array([1, 0.5]) - arc)
                )
            )

        value = integrate.quad(integrand, 0, math.pi, limit=400, epsabs=1e-9)[0]
        assert float(toy.log_prob(x).exp()) == pytest.approx(value, rel=1e-6)
    reference, labels = make_moons(20_000, noise=s, random_state=0)
    x, y = toy.sample_labelled(20_000)
    for label in (0, 1):
        ours, theirs = x[y == label].numpy(), reference[labels == label]
        error = np.sqrt(ours.var(0) / len(ours) + theirs.var(0) / len(theirs))
        assert (np.abs(ours.mean(0) - theirs.mean(0)) < 5 * error).all()
        np.testing.assert_allclose(np.cov(ours.T), np.cov(theirs.T), atol=0.02)


def test_mixture_equals_scipy() -> None:
    x = torch.randn(50, 2).double()
    expected = sum(multivariate_normal(m.numpy(), 0.6**2).pdf(x.numpy()) for m in ring(5, 1.5, 0.6).means) / 5
    np.testing.assert_allclose(ring(5, 1.5, 0.6).log_prob(x).exp().numpy(), expected, rtol=1e-12)


def test_unequal_weights_are_drawn_and_scored() -> None:
    torch.manual_seed(0)
    toy = Toy("unequal", torch.tensor([[-5.0], [5.0]]), 1.0, weights=torch.tensor([3.0, 1.0]))
    x, labels = toy.sample_labelled(40_000)
    assert abs(float((labels == 0).double().mean()) - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 40_000)
    assert torch.equal(labels, (x[:, 0] > 0).long())
    assert float(toy.log_prob(torch.tensor([-5.0]))) == pytest.approx(
        math.log(0.75) - math.log(2 * math.pi) / 2
    )


def test_twist_preserves_volume() -> None:
    toy = pinwheel()
    for x in torch.randn(5, 2).double():
        jacobian = torch.func.jacrev(lambda v: toy._rotate(v, 1.0))(x)
        assert float(torch.linalg.det(jacobian)) == pytest.approx(1.0, abs=1e-12)
        torch.testing.assert_close(toy._rotate(toy._rotate(x, 1.0), -1.0), x)


def test_is_a_torch_distribution(toy) -> None:
    assert toy.sample().shape == toy.event_shape
    assert toy.sample((2, 3)).shape == (2, 3, *toy.event_shape)
    assert toy.log_prob(toy.sample((2, 3))).shape == (2, 3)
    assert toy.expand((4,)).batch_shape == (4,)


def test_dataset_is_labelled_and_repeats() -> None:
    toy = ring()
    data, again, other = toy.dataset(50, 20, 10), toy.dataset(50, 20, 10), toy.dataset(50, 20, 10, seed=1)
    assert [x.shape[0] for x in (data.train, data.validation, data.test)] == [50, 20, 10]
    assert torch.equal(data.train, again.train)
    assert not torch.equal(data.train, other.train)
    nearest = torch.cdist(data.test.double(), toy.means).argmin(-1)
    assert torch.equal(nearest, data.test_labels)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ShapeError):
        two_gaussians().log_prob(torch.zeros(3, 2))
    with pytest.raises(ShapeError):
        Toy("cube", torch.zeros(2, 3), 1.0)
    with pytest.raises(ShapeError):
        Toy("line", torch.zeros(2, 1), 1.0, twist=1.0)
    with pytest.raises(ArgumentError):
        ring(sd=0.0)
