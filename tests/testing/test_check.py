"""check_program: every family obeys every law, and a program broken on purpose is caught by the law it breaks."""

from __future__ import annotations

import copy
import math
import random

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import nn
from torch.distributions import constraints

from tests.programs import Conditional, Nested, SharedMean, Switch, Toy
from unigen.densities.density import Density
from unigen.distributions.likelihoods import Bernoulli, Categorical
from unigen.errors import NonFiniteError, ShapeError
from unigen.logprob import Kind, LogProb
from unigen.models.ddpm import DDPM
from unigen.models.diffusion import Diffusion
from unigen.models.energy import EnergyModel
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.flow import MAF, NSF, RealNVP
from unigen.models.gan import GAN, WGAN
from unigen.models.made import MADE
from unigen.models.mixture import GaussianMixture
from unigen.models.pca import PCA
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE, linear_vae
from unigen.program import Program
from unigen.samplers.sampler import Sampler
from unigen.testing.check import LAWS, check_program

SMALL = {"hidden": (8,)}
FAMILIES = {
    "PCA": lambda: PCA(3, 2),
    "PPCA": lambda: PPCA(2, 1),
    "PPCA 20": lambda: PPCA(20, 4).double(),
    "FactorAnalysis": lambda: FactorAnalysis(4, 2),
    "GaussianMixture": lambda: GaussianMixture(2, 3),
    "GaussianMixture diagonal": lambda: GaussianMixture(5, 3, covariance="diagonal"),
    "GaussianMixture tied": lambda: GaussianMixture(1, 3, covariance="tied"),
    "VAE": lambda: VAE(3, 2, **SMALL),
    "VAE double": lambda: VAE(3, 2, **SMALL).double(),
    "VAE Bernoulli": lambda: VAE(3, 2, likelihood=Bernoulli(), **SMALL),
    "VAE conditional": lambda: VAE(3, 2, context=2, **SMALL),
    "VAE flow prior": lambda: VAE(3, 2, prior=NSF(2, transforms=2, **SMALL), **SMALL),
    "VAE mixture prior": lambda: VAE(3, 2, prior=GaussianMixture(2, 2), **SMALL),
    "linear VAE": lambda: linear_vae(3, 1),
    "RealNVP": lambda: RealNVP(2, transforms=2, **SMALL),
    "NSF": lambda: NSF(2, transforms=2, **SMALL),
    "NSF unit": lambda: NSF(2, transforms=2, support="unit", **SMALL),
    "MAF conditional": lambda: MAF(3, context=2, transforms=2, **SMALL),
    "MADE": lambda: MADE(2, **SMALL),
    "MADE Bernoulli": lambda: MADE(3, likelihood=Bernoulli(), **SMALL),
    "MADE Categorical": lambda: MADE(2, likelihood=Categorical(4), **SMALL),
    "GAN": lambda: GAN(2, **SMALL),
    "WGAN": lambda: WGAN(2, **SMALL),
    "EnergyModel": lambda: EnergyModel(2, **SMALL),
    "Diffusion": lambda: Diffusion(1, hidden=16, blocks=1),
    "DDPM": lambda: DDPM(2, steps=10),
    "a toy": Toy,
    "without a latent": Conditional,
    "an inner plate": Nested,
    "a shared latent": SharedMean,
    "a discrete latent": Switch,
}


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_families(make):
    program = make()
    before = {name: value.clone() for name, value in program.state_dict().items()}
    report = check_program(program, budget=40_000)
    assert [outcome.law for outcome in report.outcomes] == list(LAWS)
    assert all(torch.equal(before[name], value) for name, value in program.state_dict().items())
    if not isinstance(program, (PCA, GAN)) and program.kind is Kind.EXACT:
        assert report["kind"].held
        assert report["normalised"].held or report["density and draws"].held


# -- broken programs -----------------------------------------------------------------------------------------


class Direct(Program):
    """x ~ N(μ, LLᵀ), with parameters; subclasses break one thing each."""

    def __init__(self, features: int = 1) -> None:
        super().__init__((features,))
        self.mean = nn.Parameter(torch.linspace(-0.5, 1, features))
        self.log_scale = nn.Parameter(torch.linspace(-0.2, 0.3, features))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(self.mean, self.log_scale.exp()).to_event(1), obs=x)


class Wide(Direct):
    """log p has a variance 2 % too large."""

    def marginal(self, context=None):
        return dist.Normal(self.mean, self.log_scale.exp() * 1.02**0.5).to_event(1)


class Shifted(Direct):
    """log p has its mean off by 1/50 of a standard deviation."""

    def marginal(self, context=None):
        return dist.Normal(self.mean + 0.02 * self.log_scale.exp(), self.log_scale.exp()).to_event(1)


class Correlated(Direct):
    """log p has the right variances, and a correlation of 0.1 that the draws do not have."""

    def marginal(self, context=None):
        scale, d = self.log_scale.exp(), self.event_shape[0]
        rho = 0.1 * torch.ones(d, d) + 0.9 * torch.eye(d)
        return dist.MultivariateNormal(self.mean, scale[:, None] * rho * scale)


class Stretched(dist.Normal):
    """x = μ + sε scored by the density of ε: the Jacobian is left out."""

    def log_prob(self, value):
        return super().log_prob(value) + self.scale.log()


class WithoutJacobian(Direct):
    def marginal(self, context=None):
        return Stretched(self.mean, 1.5 * self.log_scale.exp()).to_event(1)

    def model(self, x=None, n=1):
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(self.mean, 1.5 * self.log_scale.exp()).to_event(1), obs=x)


class Noisy(Direct):
    """An exact density that is another number each time."""

    def marginal(self, context=None):
        return dist.Normal(self.mean + 1e-3 * torch.randn(1), self.log_scale.exp()).to_event(1)


class Mislabelled(Density):
    kind = Kind.EXACT

    def log_prob(self, program, x, context=None):
        return LogProb(torch.zeros(x.shape[0]), Kind.LOWER_BOUND)


class WrongKind(Direct):
    def __init__(self) -> None:
        super().__init__()
        self.density = Mislabelled()


class NotANumber(Direct):
    def marginal(self, context=None):
        return dist.Normal(self.mean, self.log_scale.exp() * math.nan, validate_args=False).to_event(1)


class DoubleDraws(Direct):
    def model(self, x=None, n=1):
        with self.plate(x, n):
            return pyro.sample(
                "x", dist.Normal(self.mean.double(), self.log_scale.exp().double()).to_event(1), obs=x
            )


class TooMany(Sampler):
    def draw(self, program, n, context=None):
        return torch.zeros(n, 2)


class WrongShape(Direct):
    """A sampler draws two features, the program has one."""

    def __init__(self) -> None:
        super().__init__()
        self.sampler = TooMany()


class Coin(Program):
    """Bernoulli draws whose density has another probability."""

    def __init__(self) -> None:
        super().__init__((2,))
        self.logits = nn.Parameter(torch.zeros(2))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            return pyro.sample("x", dist.Bernoulli(logits=self.logits).to_event(1), obs=x)

    def marginal(self, context=None):
        return dist.Bernoulli(logits=self.logits + 0.2).to_event(1)


class Improper(dist.Bernoulli):
    def log_prob(self, value):
        return super().log_prob(value) + 0.01


class ImproperCoin(Coin):
    def marginal(self, context=None):
        return Improper(logits=self.logits).to_event(1)


class Detached(Direct):
    def model(self, x=None, n=1):
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(self.mean.detach(), self.log_scale.exp()).to_event(1), obs=x)


class Unrounded(Direct):
    """A gradient that is zero though the value depends on the parameter."""

    def model(self, x=None, n=1):
        loc = self.mean.detach() * 1.0 + 0.0 * self.mean
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(loc, self.log_scale.exp()).to_event(1), obs=x)


class Idle(Direct):
    """A parameter that no player trains, since the objective's loss does not hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten = nn.Parameter(torch.zeros(3))


class TooThin(dist.Normal):
    """A guide whose density is stated too small: the weights, and the bound, come out too large."""

    support = constraints.real

    def log_prob(self, value):
        return super().log_prob(value) - 0.5


class Overstated(Program):
    """A bound above the evidence, which is known."""

    def __init__(self) -> None:
        super().__init__((1,))

    def model(self, x=None, n=1):
        with self.plate(x, n):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with self.plate(x):
            return pyro.sample("z", TooThin(x / 2, 0.5**0.5).to_event(1))

    def marginal(self, context=None):
        return dist.Normal(torch.zeros(1), 2**0.5).to_event(1)


class OwnDice(Sampler):
    def draw(self, program, n, context=None):
        return torch.tensor([[random.random()] for _ in range(n)])


class Unseeded(Direct):
    def __init__(self) -> None:
        super().__init__()
        self.sampler = OwnDice()


class Deaf(Sampler):
    def draw(self, program, n, context=None):
        return torch.zeros(n, 1)


class Constant(Direct):
    def __init__(self) -> None:
        super().__init__()
        self.sampler = Deaf()


class Itself(Direct):
    def __deepcopy__(self, memo):
        return self


class Caching(Direct):
    """Remembers its scale at the first draw, so that loaded parameters are not used."""

    def model(self, x=None, n=1):
        if "scale" not in self.__dict__:
            self.__dict__["scale"] = self.log_scale.detach().exp()
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(self.mean, self.__dict__["scale"]).to_event(1), obs=x)

    def __setstate__(self, state):
        state.pop("scale", None)
        super().__setstate__(state)


class NoSuchSite(Toy):
    def guide(self, x):
        with self.plate(x):
            return pyro.sample("w", dist.Normal(x / 2, 1.0).to_event(1))


class MissingSite(Toy):
    def guide(self, x):
        pass


class Trusting(Direct):
    """Takes whatever it is given."""

    def check_batch(self, x, context=None):
        return torch.as_tensor(x), None


BROKEN = {
    "variance 2 % off": (lambda: Wide(1), "density and draws", "Stein"),
    "variance 2 % off in 6": (lambda: Wide(6), "density and draws", "Stein"),
    "mean off": (lambda: Shifted(1), "density and draws", "mean of the score"),
    "correlation": (lambda: Correlated(3), "density and draws", "Stein, by direction"),
    "no Jacobian": (lambda: WithoutJacobian(1), "normalised", r"∫ p\(x\) dx"),
    "no Jacobian in 2": (lambda: WithoutJacobian(2), "normalised", r"∫ p\(x\) dx"),
    "no Jacobian in 5": (lambda: WithoutJacobian(5), "density and draws", "q/p"),
    "another coin": (Coin, "density and draws", r"P\(\["),
    "improper coin": (ImproperCoin, "normalised", "Σ p"),
    "noise in log p": (Noisy, "kind", "differ"),
    "wrong kind": (WrongKind, "kind", "lower bound, the program says exact"),
    "NaN": (NotANumber, "shapes", "NaN"),
    "dtype": (DoubleDraws, "shapes", "float64, not torch.float32"),
    "shape": (WrongShape, "draws", "ShapeError"),
    "detached": (Detached, "gradients", "mean"),
    "zero gradient": (Unrounded, "gradients", "zero, though the loss depends"),
    "idle parameter": (Idle, "gradients", "no gradient reaches program.forgotten"),
    "bound above": (Overstated, "bounds", "L_50 ≤ log p"),
    "own dice": (Unseeded, "seeds", "same seed"),
    "constant": (Constant, "seeds", "different seeds"),
    "copy is itself": (Itself, "copies", "same name"),
    "cache": (Caching, "copies", "state dictionary"),
    "wrong site": (NoSuchSite, "model and guide", "misses the latent site 'z'"),
    "missing site": (MissingSite, "model and guide", "misses the latent site 'z'"),
    "trusting": (Trusting, "refusals", "ShapeError"),
}


@pytest.mark.parametrize(("make", "law", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_program_is_caught(make, law, words):
    program = make()
    with pytest.raises(AssertionError, match=rf"FAILED  {law}: .*{words}"):
        check_program(program)


@pytest.mark.parametrize("features", [1, 2, 6])
def test_the_program_that_they_break_is_sound(features):
    check_program(Direct(features))


def test_false_alarms_are_rare():
    """20 seeds, no false alarm: at the stated rate one is expected in some thousand such tests."""
    for seed in range(20):
        check_program(Direct(2), seed=seed, budget=20_000)


def test_no_false_alarm_in_many_dimensions():
    """A q fitted to the draws that it is tested on would be too large there, by D²/4N."""
    ppca = PPCA(64, 8)
    ppca.solve(0.2 * torch.randn(1000, 64) * torch.linspace(0.5, 3, 64))
    text = check_program(ppca)["density and draws"].text
    assert "146 claims" in text  # the normalising constant among them


def test_data_and_context_of_ones_own():
    report = check_program(PPCA(3, 1), torch.randn(7, 3), budget=20_000)
    assert report["shapes"].held
    check_program(Conditional(), torch.randn(7, 2), torch.randn(7, 3), budget=20_000)
    with pytest.raises(ShapeError):
        check_program(PPCA(3, 1), torch.randn(7, 2))
    with pytest.raises(NonFiniteError):
        check_program(PPCA(3, 1), torch.full((7, 3), math.nan))


def test_report_reads_well():
    text = str(check_program(PCA(3, 2)))
    assert text.startswith("PCA\n  held    shapes")
    assert "does not apply: PCA, site 'x': all mass lies on a plane" in text


def test_the_program_is_left_as_it_was():
    program = VAE(3, 2, **SMALL)
    twin = copy.deepcopy(program)
    program.eval()
    state = torch.get_rng_state()
    check_program(program, torch.randn(5, 3))
    assert not program.training
    assert all(p.grad is None for p in program.parameters())
    assert all(torch.equal(a, b) for a, b in zip(program.parameters(), twin.parameters(), strict=True))
    assert state.shape == torch.get_rng_state().shape
