"""Relation 21: the dual is W₁ and the penalty's bias is a/2λ; POT as the oracle, and the identity broken on purpose."""

from __future__ import annotations

import ot
import pytest
import torch
from torch import Tensor

from unigen.errors import ArgumentError, UnsupportedQueryError
from unigen.models.gan import WGAN
from unigen.nn.mlp import MLP
from unigen.relations.wgan_transport import WGANtoTransport, transport_cost

RELATION = WGANtoTransport()


def test_worked_example() -> None:
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["W₁ from N(m, 1)"] == 2.0
    assert evidence.details["W₁ from N(0, s²)"] == pytest.approx(0.797885, abs=1e-6)
    assert evidence.details["slope"] == 2.0


@pytest.mark.parametrize(
    ("mean", "sd", "distance", "penalty"), [(-0.7, 1.3, 1.0, 10.0), (5.0, 3.0, 4.0, 0.5)]
)
def test_other_parameters(mean: float, sd: float, distance: float, penalty: float) -> None:
    evidence = RELATION.check(mean=mean, sd=sd, distance=distance, penalty=penalty)
    assert evidence.holds, evidence


class Steep(WGANtoTransport):
    """A potential that is not Lipschitz with constant one."""

    def dual(self, p: Tensor, q: Tensor, f: Tensor) -> float:
        return 1.05 * super().dual(p, q, f)


class Unbiased(WGANtoTransport):
    """The slope that a hard constraint would give."""

    def slope(self, distance: float, penalty: float) -> float:
        return 1.0


@pytest.mark.parametrize("broken", [Steep(), Unbiased()])
def test_a_broken_identity_is_seen(broken: WGANtoTransport) -> None:
    assert not broken.check().holds


def test_the_dual_of_a_fresh_critic_is_the_distance_of_a_generator_whose_law_is_known() -> None:
    net = MLP(2, 2, hidden=())
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.eye(2))
        net.layers[0].bias.copy_(torch.tensor([4.0, 0.0]))
    wgan, data = WGAN(2, 2, generator=net), torch.randn(400, 2)
    evidence = RELATION.check_programs(wgan, wgan, data)
    assert evidence.holds, evidence
    with pytest.raises(UnsupportedQueryError, match="unconditional"):
        RELATION.check_programs(WGAN(2, 2, context=1), wgan, data)


def test_the_assignment_is_the_exact_transport() -> None:
    x, y = torch.randn(40, 2).double(), 1 + torch.randn(40, 2).double()
    exact = ot.emd2([], [], ot.dist(x.numpy(), y.numpy(), metric="euclidean"))
    assert transport_cost(x, y) == pytest.approx(float(exact), abs=1e-9)
    with pytest.raises(ArgumentError, match="≥ 1"):
        RELATION.check(sd=0.5)
