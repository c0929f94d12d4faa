"""The Schrödinger bridge against the closed form between Gaussians, the laws of programs, refusals."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from unigen.dynamics.reference import BrownianMotion, OrnsteinUhlenbeck
from unigen.errors import ArgumentError, NoDensityError, NonFiniteError, ShapeError
from unigen.evaluate.gaussian_transport import gaussian_transport
from unigen.inference.compiled import CompiledStep, interpreted
from unigen.inference.fit import fit
from unigen.inference.persist import load, save
from unigen.inference.step import EagerStep
from unigen.models.ppca import PPCA
from unigen.models.schroedinger_bridge import SchroedingerBridge
from unigen.nn.affine_in_time import AffineInTime
from unigen.objectives.bridge_matching import IndependentBridge, MarkovianFitting
from unigen.objectives.objective import Objective
from unigen.testing.check import check_program

N = 20_000


def solved(
    x: Tensor, z: Tensor, reference: BrownianMotion | OrnsteinUhlenbeck, objective: Objective
) -> SchroedingerBridge:
    """A bridge between two Gaussian sets, by least squares: its network class contains the exact drift."""
    d = x.shape[1]
    bridge = SchroedingerBridge(
        d, prior=z, reference=reference, network_1=AffineInTime(d, 8), network_0=AffineInTime(d, 8), steps=80
    )  # fmt: skip
    fit(bridge, x, objective=objective, progress=False)
    return bridge


def joint(bridge: SchroedingerBridge, x: Tensor, backward: bool = False) -> Tensor:
    """Covariance of (x, z), (2D, 2D), from points carried forward, or of (z, x) from points carried backward."""
    return torch.cov(torch.cat([x, bridge.transport(x, backward=backward)], 1).mT)


def correlation(cov: Tensor) -> float:
    return (cov[0, 1] / (cov[0, 0] * cov[1, 1]).sqrt()).item()


def test_unit_gaussians_reach_the_golden_ratio_and_the_independent_bridge_does_not():
    """Schrödinger: (√5 − 1)/2. Independent: exp(−∫ (1 − t)/(1 − t + t²) dt) = exp(−π / 3√3) = .5463.

    Five standard errors of a correlation are .023 here, those of a variance .05; the discretisation adds .01.
    """
    schroedinger, independent = (math.sqrt(5) - 1) / 2, math.exp(-math.pi / (3 * math.sqrt(3)))
    x, z = torch.randn(2, N, 1)
    for objective, expected in (
        (MarkovianFitting(steps=50, rounds=4), schroedinger),
        (IndependentBridge(), independent),
    ):
        bridge = solved(x, z, BrownianMotion(1.0), objective)
        for start, backward in ((x, False), (z, True)):
            cov = joint(bridge, start, backward)
            assert correlation(cov) == pytest.approx(expected, abs=0.033)
            assert cov[1, 1].item() == pytest.approx(1.0, abs=0.1)
    assert schroedinger - independent > 2 * 0.033


def gaussians(d: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two sets and the factors of their covariances, which do not commute."""
    left = torch.tensor([[1.0, 0.0], [0.8, 0.5]])[:d, :d]
    right = torch.tensor([[0.6, 0.0], [-0.9, 0.9]])[:d, :d]
    return torch.randn(N, d) @ left.mT, torch.randn(N, d) @ right.mT + 1.5, left @ left.mT, right @ right.mT


def test_two_dimensions_reach_the_closed_form_and_the_independent_bridge_does_not():
    x, z, a, b = gaussians(2)
    exact = gaussian_transport([0.0, 0.0], a, [1.5, 1.5], b, eps=0.64).cross.float()
    fitted = joint(solved(x, z, BrownianMotion(0.8), MarkovianFitting(steps=50, rounds=5)), x)
    independent = joint(solved(x, z, BrownianMotion(0.8), IndependentBridge()), x)
    scale = torch.sqrt(a.diagonal()[:, None] * b.diagonal())
    error = ((fitted[:2, 2:] - exact) / scale).abs().max().item()
    other = ((independent[:2, 2:] - exact) / scale).abs().max().item()
    assert error < 0.06 < 0.15 < other
    assert ((fitted[2:, 2:] - b) / b.diagonal().mean()).abs().max() < 0.12


def test_ornstein_uhlenbeck_reference_reaches_its_own_closed_form():
    """Its kernel is N(ax, v): the transport of ax to z with eps = v, whose cross-covariance is a times ours.

    The correlation is .576 (.672 for Brownian motion of the same sigma; .508 for the independent bridge).
    """
    x, z, a, b = gaussians(1)
    process = OrnsteinUhlenbeck(1.5, 0.7)
    one = torch.ones(())
    decay, variance = process.decay(one).item(), process.variance(one).item()
    exact = gaussian_transport([0.0], decay**2 * a, [1.5], b, eps=variance).cross.item() / decay / 0.6
    fitted = correlation(joint(solved(x, z, process, MarkovianFitting(steps=50, rounds=4)), x))
    assert fitted == pytest.approx(exact, abs=0.033)
    assert correlation(joint(solved(x, z, process, IndependentBridge()), x)) < exact - 0.033


def test_coupling_says_what_was_fitted():
    x, z = torch.randn(2, 500, 1)
    assert solved(x, z, BrownianMotion(), IndependentBridge()).coupling.startswith("independent")
    bridge = solved(x, z, BrownianMotion(), MarkovianFitting(steps=5, rounds=1))
    assert bridge.coupling.startswith("Schrödinger")
    fit(bridge, x, objective=IndependentBridge(), progress=False)
    assert bridge.coupling.startswith("independent")


def test_every_law_holds():
    bridge = SchroedingerBridge(2, prior=torch.randn(50, 2) + 3, hidden=(8,), steps=4)
    bridge.initialise(torch.randn(100, 2))
    report = check_program(bridge, torch.randn(16, 2))
    assert report["shapes"].held and report["seeds"].held and report["copies"].held
    assert bridge.formula == "p(x, z) = p(x | z) p(z);  q(z | x)"


def test_any_program_is_a_prior_and_both_ways_are_programs_queries():
    bridge = SchroedingerBridge(3, prior=PPCA(3, 1), hidden=(8,), steps=4)
    x = torch.randn(6, 3)
    assert bridge.sample(5).shape == bridge.transport(bridge.sample(5), backward=True).shape == (5, 3)
    assert bridge.posterior(x).sample().shape == bridge.encode(x).shape == (6, 3)
    assert torch.equal(bridge.transport(x, seed=3), bridge.transport(x, seed=3))
    assert not torch.equal(bridge.transport(x, seed=3), bridge.transport(x, seed=4))


def test_there_is_no_density():
    bridge = SchroedingerBridge(2, hidden=(8,), steps=4)
    for query in (bridge.log_prob, bridge.score, bridge.energy):
        with pytest.raises(NoDensityError):
            query(torch.randn(3, 2))
    with pytest.raises(NoDensityError):
        _ = bridge.kind


@pytest.mark.parametrize("objective", [IndependentBridge(), MarkovianFitting(steps=2, warmup=1)], ids=repr)
def test_it_trains_traced_as_eagerly(objective: Objective):
    results = []
    for traced in (True, False):
        torch.manual_seed(0)
        bridge = SchroedingerBridge(2, prior=torch.randn(50, 2), hidden=(8,)).double()
        player = objective.players(bridge)[0]
        optimizer = torch.optim.Adam(player.parameters.values(), lr=1e-2)
        parts = (player.loss, player.parameters, optimizer)
        example = (torch.randn(6, 2, dtype=torch.float64),)
        step = CompiledStep(*parts, example=example, compiler=interpreted) if traced else EagerStep(*parts)
        torch.manual_seed(1)
        for n in (6, 9, 4):
            step(torch.randn(n, 2, dtype=torch.float64))
        results.append([p.detach().clone() for p in (*bridge.parameters(), bridge.matching)])
    assert bridge.coupling.startswith("Schr" if isinstance(objective, MarkovianFitting) else "ind")
    for compiled, eager in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-10, rtol=0)


def test_gradients_fit_it_too():
    """A shifted Gaussian: the means are met, and the ends are correlated as in closed form rather than independent."""
    x, z = torch.randn(4000, 1), 0.5 * torch.randn(4000, 1) + 3
    bridge = SchroedingerBridge(1, prior=z, reference=BrownianMotion(0.5), hidden=(16,), steps=30)
    objective = MarkovianFitting(steps=6, warmup=150)
    fit(bridge, x, objective=objective, steps=350, lr=1e-2, compile=False, progress=False, ema=0.98)
    exact = gaussian_transport([0.0], [[1.0]], [3.0], [[0.25]], eps=0.25).cross.item()
    z_hat = bridge.transport(x)
    assert z_hat.mean().item() == pytest.approx(3.0, abs=0.15)
    assert torch.cov(torch.cat([x, z_hat], 1).mT)[0, 1].item() == pytest.approx(exact, abs=0.12)


def test_round_trip_through_a_file(tmp_path: Path):
    x = torch.randn(200, 2)
    bridge = solved(x, x + 1, BrownianMotion(0.5), IndependentBridge())
    path = save(bridge, tmp_path / "bridge.safetensors")
    again = SchroedingerBridge(
        2, prior=torch.zeros(200, 2), reference=BrownianMotion(0.5), network_1=AffineInTime(2, 8),
        network_0=AffineInTime(2, 8), steps=80,
    )  # fmt: skip
    load(path, into=again)
    assert torch.equal(again.sample(5, seed=1), bridge.sample(5, seed=1))
    assert again.coupling == bridge.coupling


def test_without_a_data_set_as_prior_it_is_rebuilt_by_name(tmp_path: Path):
    bridge = SchroedingerBridge(
        2, prior=PPCA(2, 1), reference=OrnsteinUhlenbeck(0.5, 0.6), network_1=AffineInTime(2, 8),
        objective=MarkovianFitting(7, 8, 9), hidden=(8,), steps=3,
    )  # fmt: skip
    again = load(save(bridge, tmp_path / "bridge.safetensors"))
    assert isinstance(again, SchroedingerBridge)
    assert repr(again.objective) == repr(bridge.objective)
    assert torch.equal(again.sample(5, seed=1), bridge.sample(5, seed=1))


def test_bad_input_is_refused():
    with pytest.raises(ShapeError, match="different dimensions"):
        SchroedingerBridge(2, prior=torch.randn(5, 3))
    with pytest.raises(ShapeError, match="None"):
        SchroedingerBridge(1, prior=torch.randn(5))
    with pytest.raises(NonFiniteError):
        SchroedingerBridge(1, prior=torch.full((5, 1), math.nan))
    with pytest.raises(ArgumentError):
        SchroedingerBridge(0)
    with pytest.raises(ArgumentError):
        SchroedingerBridge(1, steps=0)
    bridge = SchroedingerBridge(2, hidden=(8,), steps=2)
    with pytest.raises(ShapeError):
        bridge.transport(torch.randn(4, 3))
    with pytest.raises(ShapeError):
        fit(bridge, torch.randn(8, 3), steps=1)
