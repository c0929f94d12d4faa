"""What a program says as ArviZ groups: the program's own draws, hand-computed joints, exact marginals."""

from __future__ import annotations

import arviz
import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from scipy import stats

from tests.problems import gaussian_log_density
from tests.programs import Conditional, Nested, SharedMean, Toy
from unigen.errors import ArgumentError, ShapeError
from unigen.evaluate.arviz import to_arviz
from unigen.models.energy import EnergyModel
from unigen.models.gan import GAN
from unigen.models.mixture import GaussianMixture
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.program import Program

NEW = int(arviz.__version__.split(".")[0]) >= 1
N, S = 6, 40


class Theta(Program):
    """θ ~ N(0, 1), x_i | θ ~ N(θ, 1), with the exact posterior as its guide."""

    def model(self, x=None, n=1):
        theta = pyro.sample("theta", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(theta, 1.0).to_event(1), obs=x)

    def guide(self, x):
        n = x.shape[0]
        pyro.sample("theta", dist.Normal(x.sum(0) / (n + 1), (n + 1) ** -0.5).to_event(1))


def ppca() -> tuple[PPCA, torch.Tensor]:
    program = PPCA(3, 2).double()
    x = torch.randn(60, 3).double() * torch.tensor([3.0, 2.0, 1.0]).double() + 1
    program.solve(x)
    return program, x[:N]


def values(result, group: str, name: str) -> np.ndarray:
    return np.asarray(result[group][name].values)


def test_groups_dims_and_coordinates():
    program, x = ppca()
    result = to_arviz(
        program,
        x,
        samples=S,
        seed=0,
        coords={"pixel": ["a", "b", "c"]},
        dims={"x": ["pixel"], "z": ["factor"]},
    )
    expected = {
        ("posterior", "z"): {"chain": 1, "draw": S, "example": N, "factor": 2},
        ("posterior_predictive", "x"): {"chain": 1, "draw": S, "example": N, "pixel": 3},
        ("prior", "z"): {"chain": 1, "draw": S, "factor": 2},
        ("prior_predictive", "x"): {"chain": 1, "draw": S, "pixel": 3},
        ("observed_data", "x"): {"example": N, "pixel": 3},
        ("log_likelihood", "x"): {"chain": 1, "draw": S, "example": N},
        ("sample_stats", "lp"): {"chain": 1, "draw": S},
        ("sample_stats", "log_q"): {"chain": 1, "draw": S},
    }
    assert {group for group, _ in expected} == set(result.children if NEW else result.groups())
    for (group, name), sizes in expected.items():
        assert dict(zip(result[group][name].dims, result[group][name].shape, strict=True)) == sizes
    assert list(result["observed_data"]["pixel"].values) == ["a", "b", "c"]


def test_a_seed_reproduces_and_leaves_the_stream_alone():
    program, x = ppca()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, three = (to_arviz(program, x, samples=4, seed=s) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(values(one, "posterior", "z"), values(two, "posterior", "z"))
    assert not np.array_equal(values(one, "posterior", "z"), values(three, "posterior", "z"))


def test_posterior_is_the_first_draw_of_the_guide():
    program, x = ppca()
    result = to_arviz(program, x, samples=3, seed=11)
    q = program.posterior(x)
    torch.manual_seed(11)
    with torch.no_grad():
        z = q.sample()
    np.testing.assert_allclose(values(result, "posterior", "z")[0, 0], z.numpy())
    np.testing.assert_array_equal(values(result, "observed_data", "x"), x.numpy())


def test_lp_and_log_q_by_hand():
    """log p(x, z) and log q(z | x) of PPCA at the stored draws, by SciPy from the parameters."""
    program, x = ppca()
    result = to_arviz(program, x, samples=5, seed=0)
    w, mu, s2 = (t.detach().numpy() for t in (program.weight, program.mean, program.variance))
    m_inverse = np.linalg.inv(w.T @ w + s2 * np.eye(2))
    for s in range(5):
        z = values(result, "posterior", "z")[0, s]
        lp = stats.norm.logpdf(z).sum() + stats.norm.logpdf(x.numpy(), z @ w.T + mu, s2**0.5).sum()
        centre = (x.numpy() - mu) @ w @ m_inverse
        log_q = stats.multivariate_normal(cov=s2 * m_inverse).logpdf(z - centre).sum()
        assert values(result, "sample_stats", "lp")[0, s] == pytest.approx(lp, abs=1e-8)
        assert values(result, "sample_stats", "log_q")[0, s] == pytest.approx(log_q, abs=1e-8)
        # the guide is exact, so lp − log_q is log p(x_1 … x_N) whatever z
        marginal = gaussian_log_density(x.numpy(), mu, w @ w.T + s2 * np.eye(3)).sum()
        assert lp - log_q == pytest.approx(marginal, abs=1e-8)


def test_log_likelihood_is_the_exact_marginal_and_says_so():
    program, x = ppca()
    result = to_arviz(program, x, samples=4)
    w, mu, s2 = (t.detach().numpy() for t in (program.weight, program.mean, program.variance))
    expected = gaussian_log_density(x.numpy(), mu, w @ w.T + s2 * np.eye(3))
    for s in range(4):
        np.testing.assert_allclose(values(result, "log_likelihood", "x")[0, s], expected, atol=1e-9)
    assert result["log_likelihood"]["x"].attrs["kind"] == "exact"
    assert result["sample_stats"]["lp"].attrs["kind"] == "exact"


def test_the_likelihood_of_a_vae_is_labelled_a_bound():
    result = to_arviz(VAE(3, 1, hidden=(4,)), torch.randn(N, 3), samples=2)
    assert result["log_likelihood"]["x"].attrs["kind"] == "lower bound"


def test_predictive_draws_follow_the_posterior_predictive():
    """The toy: x' | x ~ N(x/2, 3/2) under the exact guide; prior x ~ N(0, 2). z-tests of mean and variance."""
    draws = 4000
    result = to_arviz(Toy(exact=True), torch.ones(1, 1).double(), samples=draws, seed=0)
    for group, mean, variance in (("posterior_predictive", 0.5, 1.5), ("prior_predictive", 0.0, 2.0)):
        x = values(result, group, "x").reshape(-1)
        assert abs(x.mean() - mean) < 5 * (variance / draws) ** 0.5
        assert abs(x.var() - variance) < 5 * variance * (2 / draws) ** 0.5


def test_a_shared_latent_has_no_example_axis_and_gives_leave_one_out():
    program, x = Theta(), torch.randn(20, 1) + 1
    result = to_arviz(program, x, samples=800, seed=0)
    theta = values(result, "posterior", "theta")
    assert result["posterior"]["theta"].dims == ("chain", "draw", "theta_dim_0")
    expected = stats.norm.logpdf(x.numpy().T, theta[0], 1.0)
    np.testing.assert_allclose(values(result, "log_likelihood", "x")[0], expected, atol=1e-5)
    prior = values(result, "prior", "theta").reshape(-1)
    assert np.unique(prior).size == 800 and abs(prior.mean()) < 5 / 800**0.5
    total = x.sum().item()
    others = [stats.norm.logpdf(v, (total - v) / 20, (1 + 1 / 20) ** 0.5) for v in x[:, 0].tolist()]
    found = arviz.loo(result, pointwise=True)
    elpd = float(found.elpd if NEW else found.elpd_loo)
    assert elpd == pytest.approx(sum(others), abs=0.2)


def test_shared_and_local_latents_stand_apart():
    result = to_arviz(SharedMean(), torch.randn(N, 1), samples=S)
    assert result["posterior"]["theta"].shape == (1, S, 1)
    assert result["posterior"]["z"].shape == (1, S, N, 1)
    assert result["prior"]["theta"].shape == result["prior"]["z"].shape == (1, S, 1)
    gap = values(result, "prior", "z") - values(result, "prior", "theta")
    assert abs(gap.mean()) < 5 / S**0.5 and abs(gap.std() - 1) < 5 / (2 * S) ** 0.5
    assert "log_likelihood" not in (result.children if NEW else result.groups())


def test_inner_plates_keep_their_axis():
    result = to_arviz(Nested(), torch.randn(N, 3), samples=3)
    assert result["posterior"]["w"].dims == ("chain", "draw", "w_plate_0", "example")
    assert result["posterior"]["w"].shape == (1, 3, 2, N)
    assert result["prior"]["w"].shape == (1, 3, 2)


def test_what_has_no_normalised_density_has_no_likelihood():
    for program in (GAN(3), EnergyModel(3, hidden=(4,))):
        result = to_arviz(program, torch.randn(N, 3), samples=2)
        groups = set(result.children if NEW else result.groups())
        assert not groups & {"log_likelihood", "posterior", "sample_stats"}
        assert result["prior_predictive"]["x"].shape == (1, 2, 3)


def test_discrete_latents_and_contexts():
    labels = to_arviz(GaussianMixture(3, components=4), torch.randn(N, 3), samples=5)
    assert set(np.unique(values(labels, "posterior", "z"))) <= set(range(4))
    program, c = Conditional(), torch.randn(N, 3)
    result = to_arviz(program, torch.randn(N, 2), c, samples=2000, seed=0)
    expected = program.mean(c).detach().numpy()
    found = values(result, "posterior_predictive", "x")[0].mean(0)
    assert np.abs(found - expected).max() < 5 / 2000**0.5


def test_arviz_functions_and_a_round_trip(tmp_path):
    program, x = ppca()
    result = to_arviz(program, x, samples=S, seed=0)
    table = arviz.summary(result, var_names=["z"], kind="stats", round_to="none")
    z = values(result, "posterior", "z").reshape(S, -1)
    np.testing.assert_allclose(np.asarray(table["mean"], float), z.mean(0), rtol=1e-6)
    arviz.plot_forest(result, var_names=["z"])
    path = tmp_path / "ppca.nc"
    result.to_netcdf(path)
    again = arviz.from_netcdf(path)
    np.testing.assert_array_equal(values(again, "posterior", "z"), values(result, "posterior", "z"))
    assert again["log_likelihood"]["x"].attrs["kind"] == "exact"


def test_bad_arguments_are_refused():
    program, x = ppca()
    with pytest.raises(ArgumentError, match="samples"):
        to_arviz(program, x, samples=0)
    with pytest.raises(ShapeError):
        to_arviz(program, x[:, :2])
