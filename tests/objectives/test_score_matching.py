"""Score matching of energies: Gaussians in closed form, a mixture's Fisher information, compiled steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import unigen as ug
from tests.compiled_family import compiled_equals_eager
from tests.energies import Scaled
from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import NoDensityError, UnsupportedQueryError
from unigen.models.energy import EnergyModel
from unigen.models.potential import Potential
from unigen.nn.tilt import Tilt
from unigen.objectives.noisy_score_matching import NoisyScoreMatching
from unigen.objectives.score_matching import ScoreMatching
from unigen.objectives.sliced_score_matching import SlicedScoreMatching

FISHER = 9.879434  # ½ of it: two Gaussians at (±1, 0), covariance .1 I, by quadrature


def gaussian_at(x: torch.Tensor, extra: float = 0.0) -> Potential:
    """The Gaussian of the moments of x, its covariance widened."""
    covariance = x.mT.cov(correction=0) + extra * torch.eye(x.shape[1], dtype=x.dtype)
    return Potential(Scaled(torch.linalg.inv(covariance), x.mean(0)), x.shape[1])


def data(n: int) -> torch.Tensor:
    root = torch.tensor([[1.0, 0.0], [0.7, 0.5]], dtype=torch.float64)
    return torch.randn(n, 2, dtype=torch.float64) @ root.mT + torch.tensor([1.0, -2.0], dtype=torch.float64)


def gradients(loss: nn.Module, *args: torch.Tensor) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss(*args), list(loss.parameters()))])


def two_gaussians() -> Potential:
    """−log p of ½ N((±1, 0), .1 I), up to a constant."""

    def energy(x: torch.Tensor) -> torch.Tensor:
        ends = torch.stack([((x - x.new_tensor([s, 0.0])).square().sum(-1)) / -0.2 for s in (-1.0, 1.0)])
        return -ends.logsumexp(0)

    return Potential(energy, 2)


def test_the_optimum_of_a_gaussian_is_maximum_likelihood_exactly():
    x = data(50)
    program = gaussian_at(x)
    (player,) = ScoreMatching().players(program)
    assert gradients(player.loss, x).abs().max() < 1e-10
    precision = torch.linalg.inv(x.mT.cov(correction=0))
    torch.testing.assert_close(player.loss(x), -0.5 * precision.trace(), atol=1e-9, rtol=0)
    with torch.no_grad():
        program.f.loc += 0.1
    assert gradients(player.loss, x).abs().max() > 1e-2


@pytest.mark.parametrize("objective", [ScoreMatching(), SlicedScoreMatching(2)], ids=["implicit", "sliced"])
def test_the_value_at_the_truth_is_minus_half_the_fisher_information(objective):
    n = 40_000
    x = math.sqrt(0.1) * torch.randn(n, 2, dtype=torch.float64)
    x[:, 0] += 2.0 * torch.randint(2, (n,)) - 1.0
    (player,) = objective.players(two_gaussians())
    terms = player.loss.terms(x).detach()
    error = terms.std() / n**0.5
    assert error < 0.15 and abs(terms.mean() + FISHER) < 5 * error


@pytest.mark.parametrize(
    "objective",
    [ScoreMatching(), SlicedScoreMatching(), NoisyScoreMatching(0.3)],
    ids=lambda o: type(o).__name__,
)
@pytest.mark.usefixtures("interpreted_steps")
def test_compiled_steps_equal_eager_ones(objective):
    def build():
        torch.manual_seed(3)
        model = EnergyModel(2, energy=Tilt(2, hidden=(8,)), objective=objective)
        return model

    compiled_equals_eager(build)


def test_a_pyro_density_is_trained_too():
    x = data(400).float()
    ppca = ug.FactorAnalysis(2, 1)
    before = float(ScoreMatching().players(ppca)[0].loss(x).detach())
    ug.fit(
        ppca, x, objective=ScoreMatching(), steps=30, batch_size=400, lr=0.05, progress=False, compile=False
    )
    assert float(ScoreMatching().players(ppca)[0].loss(x).detach()) < before


def test_bad_input_is_refused():
    for objective in (ScoreMatching(), SlicedScoreMatching(), NoisyScoreMatching()):
        with pytest.raises(NoDensityError, match="on the reals"):
            objective.players(ug.VAE(4, 2, likelihood=Bernoulli()))
        with pytest.raises(NoDensityError, match="lower bound"):
            objective.players(ug.VAE(2, 1))
    straight = Potential(nn.Linear(2, 1), 2)
    with pytest.raises(UnsupportedQueryError, match="smooth activations"):
        ScoreMatching().players(straight)[0].loss(torch.zeros(3, 2))
