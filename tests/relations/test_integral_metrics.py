"""Relation 22: MMD and energy distance in closed form, and the identity broken on purpose."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unigen.errors import UnsupportedQueryError
from unigen.models.gan import GAN, WGAN
from unigen.nn.kernels import Kernel
from unigen.nn.mlp import MLP
from unigen.relations.integral_metrics import IntegralMetrics

RELATION = IntegralMetrics()


def test_worked_example() -> None:
    evidence = RELATION.check()
    assert evidence.holds, evidence
    assert evidence.details["mmd_squared"] == pytest.approx(0.177268, abs=1e-6)
    assert evidence.details["energy_distance"] == pytest.approx(1.944260, abs=1e-6)


@pytest.mark.parametrize(("mean", "bandwidth", "far"), [(0.5, 0.4, 1.0), (2.0, 3.0, 4.0)])
def test_other_parameters(mean: float, bandwidth: float, far: float) -> None:
    evidence = RELATION.check(mean=mean, bandwidth=bandwidth, far=far, seed=4)
    assert evidence.holds, evidence


class Biased(IntegralMetrics):
    """Means over all pairs, those of a draw with itself included."""

    def estimate(self, kernel: Kernel, x: Tensor, y: Tensor) -> Tensor:
        n = x.shape[0]
        within = [kernel.of_distance(torch.cdist(t, t), t.new_ones(())).mean() for t in (x, y)]
        assert n > 1
        return within[0] + within[1] - 2 * kernel.of_distance(torch.cdist(x, y), x.new_ones(())).mean()


class Rooted(IntegralMetrics):
    """Takes MMD for its square."""

    def mmd(self, mean: float, h: float) -> float:
        return super().mmd(mean, h) ** 0.5


@pytest.mark.parametrize("broken", [Biased(), Rooted()])
def test_a_broken_identity_is_seen(broken: IntegralMetrics) -> None:
    assert not broken.check().holds


def test_energy_distances_of_programs_are_measured() -> None:
    net = MLP(2, 2, hidden=())
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.eye(2))
        net.layers[0].bias.zero_()
    gan, wgan, data = GAN(2, 2, generator=net), WGAN(2, 2, hidden=(4,)), torch.randn(800, 2)
    evidence = RELATION.check_programs(gan, wgan, data)
    assert evidence.holds, evidence
    with pytest.raises(UnsupportedQueryError, match="rows"):
        RELATION.check_programs(gan, wgan, data[:20])
    with pytest.raises(UnsupportedQueryError, match="unconditional"):
        RELATION.check_programs(GAN(2, 2, context=1), wgan, data)
