"""Relation 17: three maps of one noise, and the identity broken on purpose."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unigen.errors import UnsupportedQueryError
from unigen.models.flow import MAF
from unigen.models.gan import GAN
from unigen.nn.mlp import MLP
from unigen.relations.three_maps import Map, ThreeMaps, assignment_cost

RELATION = ThreeMaps()


def test_worked_example() -> None:
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["cost of the MAF"] == pytest.approx(0.509785, abs=1e-6)
    assert evidence.details["cost of the Brenier's map"] == pytest.approx(0.292050, abs=1e-6)


@pytest.mark.parametrize(
    "covariance",
    [((2.0,),), ((1.0, 0.5, 0.2), (0.5, 2.0, -0.3), (0.2, -0.3, 0.5)), ((100.0, 3.0), (3.0, 0.1))],
)
def test_other_covariances(covariance: tuple[tuple[float, ...], ...]) -> None:
    evidence = RELATION.check(covariance=covariance, angle=0.3)
    assert evidence.holds, evidence


class Reflected(ThreeMaps):
    """A square root that is not the positive one: the same law, and no gradient of a convex function."""

    def root(self, c: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(c)
        signs = torch.ones_like(values)
        signs[0] = -1.0
        return vectors * (signs * values.sqrt()) @ vectors.mT


class Scaled(ThreeMaps):
    """A generator of another law."""

    def maps(self, c: Tensor, angle: float) -> dict[str, Map]:
        found = super().maps(c, angle)
        push = found["generator"]
        return found | {"generator": lambda z: 1.01 * push(z)}


@pytest.mark.parametrize("broken", [Reflected(), Scaled()])
def test_a_broken_identity_is_seen(broken: ThreeMaps) -> None:
    assert not broken.check().holds


def test_on_programs_each_pairing_costs_at_least_the_optimal_one() -> None:
    net = MLP(2, 2, hidden=())
    with torch.no_grad():
        net.layers[0].weight.copy_(
            torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        )  # a rotation: the noise itself as a law
        net.layers[0].bias.zero_()
    evidence = RELATION.check_programs(MAF(2), GAN(2, 2, generator=net), torch.randn(10, 2))
    assert evidence.holds, evidence
    assert float(str(evidence.details["GAN"]).split()[1].rstrip(",")) == pytest.approx(
        4.0, abs=0.8
    )  # E‖Rz − z‖²
    with pytest.raises(UnsupportedQueryError, match="as many latents"):
        RELATION.check_programs(MAF(2), GAN(2, 3), torch.randn(10, 2))
    with pytest.raises(UnsupportedQueryError, match="same events"):
        RELATION.check_programs(MAF(2), GAN(3, 3), torch.randn(10, 2))


def test_the_assignment_is_the_best_of_all_permutations() -> None:
    x, y = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[4.0], [0.5], [1.5]])
    assert assignment_cost(x, y) == pytest.approx((0.25 + 0.25 + 1.0) / 3)
