"""Every program with a density is an energy: score by central differences, kinds, chains and log Z = 0."""

from __future__ import annotations

import pytest
import torch

import unigen as ug
from unigen.distributions.likelihoods import Bernoulli
from unigen.errors import NoDensityError, UnsupportedQueryError
from unigen.logprob import Kind
from unigen.models.vae import VAE
from unigen.program import Program

STEP = 1e-5
EXACT = {
    "PPCA": lambda: ug.PPCA(2, 1),
    "FactorAnalysis": lambda: ug.FactorAnalysis(2, 1),
    "GaussianMixture": lambda: ug.GaussianMixture(2, 3),
    "RealNVP": lambda: ug.RealNVP(2, transforms=2, hidden=(8,)),
    "MAF": lambda: ug.MAF(2, transforms=2, hidden=(8,)),
    "MADE": lambda: ug.MADE(2, hidden=(8,)),
    "ProductOfExperts": lambda: ug.ProductOfExperts([ug.PPCA(2, 1), ug.GaussianMixture(2, 2)]),
    "EnergyModel": lambda: ug.EnergyModel(2, hidden=(8,)),
}


def differences(program: Program, x: torch.Tensor, **options) -> torch.Tensor:
    """∇log p by central differences of ``energy``."""
    eye = STEP * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.stack(
        [(program.energy(x - e, **options) - program.energy(x + e, **options)) / (2 * STEP) for e in eye], 1
    )


@pytest.mark.parametrize("name", EXACT)
def test_the_score_is_the_slope_of_the_energy(name):
    program, x = EXACT[name]().double(), torch.randn(6, 2).double()
    unnormalised = name in ("EnergyModel", "ProductOfExperts")
    assert program.log_prob(x).kind is (Kind.UNNORMALISED if unnormalised else Kind.EXACT)
    assert torch.equal(program.energy(x), -program.log_prob(x).value)
    torch.testing.assert_close(program.score(x), differences(program, x), atol=1e-7, rtol=1e-6)


def test_a_bound_gives_the_score_of_the_bound_and_says_so():
    vae, x = VAE(2, 1, hidden=(8,)).double(), torch.randn(4, 2).double()
    assert vae.log_prob(x).kind is Kind.LOWER_BOUND
    torch.testing.assert_close(vae.score(x, seed=3), differences(vae, x, seed=3), atol=1e-5, rtol=1e-4)


def test_a_tight_bound_gives_the_score_itself():
    """Fisher's identity: with the exact posterior every weight is p(x), and so is the gradient."""
    ppca, x = ug.PPCA(2, 1).double(), torch.randn(5, 2).double()
    ug.fit(ppca, torch.randn(50, 2).double() @ torch.randn(2, 2).double(), progress=False)
    vae = ug.convert(ppca, to="VAE")
    torch.testing.assert_close(vae.double().score(x, seed=0), ppca.score(x), atol=1e-5, rtol=1e-4)


def test_a_diffusion_by_its_flow():
    diffusion = ug.Diffusion(2, hidden=8).double()
    density = ug.ProbabilityFlow(method="midpoint", options={"step_size": 0.25})
    x = torch.randn(2, 2).double()
    found = diffusion.score(x, density=density)
    torch.testing.assert_close(found, differences(diffusion, x, density=density), atol=1e-5, rtol=1e-4)


def test_programs_without_a_score_say_why():
    with pytest.raises(NoDensityError):
        ug.GAN(2, 2).score(torch.randn(2, 2))
    with pytest.raises(UnsupportedQueryError, match="discrete"):
        ug.VAE(4, 1, likelihood=Bernoulli()).score(torch.ones(2, 4))


def test_an_energy_without_an_estimator_refuses_to_be_normalised():
    with pytest.raises(UnsupportedQueryError, match="AnnealedNormaliser"):
        ug.EnergyModel(2).log_prob(torch.zeros(1, 2), density=ug.Normalised())


def test_chains_run_in_any_of_them():
    draws = ug.mcmc(EXACT["RealNVP"](), engine=ug.MALA(chains=3, draws=4, warmup=4), seed=0)
    assert draws["x"].shape == (3, 4, 2)
