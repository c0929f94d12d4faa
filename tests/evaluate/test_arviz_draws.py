"""Draws of ug.infer as ArviZ groups: groups by hand, the plots of a statistician, leave-one-out by refitting."""

from __future__ import annotations

import arviz
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

import unigen as ug
from benchmarks.conjugate import Coin, Mean, Regression, simulated
from tests.programs import SharedMean
from unigen.errors import ArgumentError
from unigen.evaluate.arviz import to_arviz
from unigen.evaluate.information_criteria import compare_loo, loo, loo_pit, waic
from unigen.inference.infer import infer_each

NEW = int(arviz.__version__.split(".")[0]) >= 1
ENGINE = ug.NUTS(chains=4, draws=100, warmup=100, doublings=4, compile=False)
pytestmark = pytest.mark.filterwarnings(  # ArviZ 0.23 calls Matplotlib 3.11 in a way that 3.13 drops
    "ignore:Passing a dict or None as alias_mapping",
    "ignore:The inplace keyword",
    "ignore:Estimated shape parameter",
    "ignore:For one or more samples",  # small data may well be hard to leave out
)


class Schools(ug.Program):
    """μ ~ N(0, 5), τ ~ HalfNormal(3), x_i ~ N(μ, τ): two parameters, as plots of pairs want."""

    def __init__(self):
        super().__init__((1,))

    def model(self, x=None, n=1):
        mu = pyro.sample("mu", dist.Normal(torch.zeros(()).double(), 5.0))
        tau = pyro.sample("tau", dist.HalfNormal(3 * torch.ones(()).double()))
        with self.plate(x, n):
            return pyro.sample("x", dist.Normal(mu, tau).expand((1,)).to_event(1), obs=x)


@pytest.fixture(scope="module")
def draws():
    x = torch.randn(25, 1, generator=torch.Generator().manual_seed(3)).double() + 1
    return ug.infer(Schools().double(), x, engine=ENGINE, seed=0)


@pytest.fixture(scope="module")
def idata(draws):
    return to_arviz(draws, samples=40, seed=0)


def values(idata, group, name):
    return np.asarray(idata[group][name].values)


def test_groups_and_axes(idata, draws):
    expected = {
        ("posterior", "mu"): {"chain": 4, "draw": 100},
        ("posterior_predictive", "x"): {"chain": 4, "draw": 100, "example": 25, "x_dim_0": 1},
        ("log_likelihood", "x"): {"chain": 4, "draw": 100, "example": 25, "x_dim_0": 1},
        ("prior", "tau"): {"chain": 1, "draw": 40},
        ("prior_predictive", "x"): {"chain": 1, "draw": 40, "example": 25, "x_dim_0": 1},
        ("observed_data", "x"): {"example": 25, "x_dim_0": 1},
    }
    for name in ("lp", "acceptance_rate", "diverging", "n_steps", "tree_depth", "energy", "step_size"):
        expected["sample_stats", name] = {"chain": 4, "draw": 100}
    for (group, name), sizes in expected.items():
        assert dict(zip(idata[group][name].dims, idata[group][name].shape, strict=True)) == sizes, (
            group,
            name,
        )
    assert values(idata, "sample_stats", "diverging").dtype == bool
    np.testing.assert_array_equal(values(idata, "posterior", "mu"), draws["mu"].numpy())


def test_log_likelihood_and_replicates(idata, draws):
    x, mu, tau = draws.data[:, 0].numpy(), draws["mu"].numpy(), draws["tau"].numpy()
    expected = stats.norm.logpdf(x, mu[..., None], tau[..., None])
    np.testing.assert_allclose(values(idata, "log_likelihood", "x")[..., 0], expected, atol=1e-9)
    assert idata["log_likelihood"]["x"].attrs["kind"] == "exact"
    unit = (values(idata, "posterior_predictive", "x")[..., 0] - mu[..., None]) / tau[..., None]
    assert abs(unit.mean()) < 5 / unit.size**0.5 and abs(unit.var() - 1) < 5 * (2 / unit.size) ** 0.5


def test_diagnostics_and_round_trip(idata, tmp_path):
    assert float(arviz.rhat(idata)["mu"]) < 1.1 and float(arviz.ess(idata)["tau"]) > 40
    assert set(arviz.summary(idata).index) == {"mu", "tau"}
    path = tmp_path / "draws.nc"
    idata.to_netcdf(path)
    again = arviz.from_netcdf(path)
    for group, name in (("posterior", "tau"), ("sample_stats", "diverging"), ("log_likelihood", "x")):
        np.testing.assert_array_equal(values(again, group, name), values(idata, group, name))
    assert again["log_likelihood"]["x"].attrs["kind"] == "exact"


PLOTS = {
    "trace": lambda i: arviz.plot_trace(i),
    "rank": lambda i: arviz.plot_rank(i),
    "forest": lambda i: arviz.plot_forest(i, combined=True),
    "pair": lambda i: arviz.plot_pair(i, divergences=True),
    "ppc": lambda i: arviz.plot_ppc(i, num_pp_samples=20, random_seed=0),
    "prior ppc": lambda i: arviz.plot_ppc(i, group="prior", num_pp_samples=20, random_seed=0),
    "loo_pit": lambda i: arviz.plot_loo_pit(i, y="x"),
    "loo_pit ecdf": lambda i: arviz.plot_loo_pit(i, y="x", ecdf=True),
    "khat": lambda i: arviz.plot_khat(arviz.loo(i, pointwise=True)),
    "energy": lambda i: arviz.plot_energy(i),
    "autocorr": lambda i: arviz.plot_autocorr(i),
    "ess": lambda i: arviz.plot_ess(i),
}


@pytest.mark.parametrize("plot", PLOTS)
def test_plots_run(plot, idata):
    PLOTS[plot](idata)
    assert plt.get_fignums()
    plt.close("all")


def test_leave_one_out_is_that_of_refitted_models():
    """Mean: p(x_i | x_{−i}) in closed form. PSIS errs by far less than examples differ; the PIT likewise."""
    program = Mean().double()
    x = torch.tensor([[-2.0], [0.0], [0.5], [1.0], [4.0]]).double()
    draws = ug.infer(program, x, engine=ug.Laplace(draws=20_000), seed=int(torch.randint(9999, ())))
    idata = to_arviz(draws, samples=0, seed=1)
    elpd, pit = [], []
    for i in range(5):
        rest = program.exact(torch.cat([x[:i], x[i + 1 :]]))
        q = stats.norm(float(rest.mean), float((rest.sd**2 + 2.25).sqrt()))
        elpd.append(q.logpdf(float(x[i])))
        pit.append(q.cdf(float(x[i])))
    found = loo(idata)
    pointwise = np.asarray((found.elpd_i if NEW else found.loo_i).values).reshape(-1)
    np.testing.assert_allclose(pointwise, elpd, atol=0.05)
    np.testing.assert_allclose(
        loo_pit(idata)[:, 0], pit, atol=0.03
    )  # 5 √(¼ / 20,000), and the weights' noise
    assert "prior" not in idata.groups()


def test_compare_prefers_the_family_that_made_the_data(draws):
    """PPCA with random mean against the same with a fixed, wrong variance: across families where the kind allows it."""
    x = torch.randn(40, 2).double()
    engine = ug.Laplace(draws=500)
    good = ug.bayesian(ug.PPCA(features=2, latents=1).double(), {"mean": dist.Normal(0.0, 1.0)})
    wide = ug.PPCA(features=2, latents=1).double()
    with torch.no_grad():
        wide.log_variance.fill_(4.0)
        wide.weight.zero_()
        good.program.weight.mul_(0.1)
        good.program.log_variance.zero_()
    bad = ug.bayesian(wide, {"mean": dist.Normal(0.0, 1.0)})
    groups = {
        n: to_arviz(ug.infer(m, x, engine=engine, seed=0), samples=0) for n, m in (("a", good), ("b", bad))
    }
    assert list(compare_loo(groups).index) == ["a", "b"]
    assert groups["a"]["log_likelihood"]["x"].dims == ("chain", "draw", "example")
    if not NEW:
        assert float(waic(groups["a"]).elpd_waic) == pytest.approx(float(loo(groups["a"]).elpd_loo), abs=0.5)


def test_variational_draws_are_one_chain_with_log_q():
    program = Regression().double()
    x, context = simulated(program, 8)
    draws = ug.infer(program, x, context, engine=ug.Laplace(draws=30), seed=0)
    idata = ug.to_arviz(draws, dims={"w": ["covariate"]}, coords={"covariate": ["a", "b", "c"]}, samples=3)
    assert idata["posterior"]["w"].dims == ("chain", "draw", "covariate")
    weights = values(idata, "sample_stats", "lp") - values(idata, "sample_stats", "log_q")
    np.testing.assert_allclose(weights, program.exact(x, context).evidence, atol=1e-6)
    assert values(idata, "prior", "w").shape == (1, 3, 3)


def test_discrete_data_and_latents_of_examples():
    coin = Coin().double()
    (x,) = simulated(coin, 6)
    idata = to_arviz(ug.infer(coin, x, engine=ENGINE, seed=0), samples=2)
    assert set(np.unique(values(idata, "posterior_predictive", "x"))) <= {0.0, 1.0}
    both = ug.infer(SharedMean().double(), torch.randn(3, 1), engine=ug.Laplace(draws=5))
    idata = to_arviz(both, samples=2)
    assert idata["posterior"]["z"].shape == (1, 5, 3, 1) and "log_likelihood" not in idata.groups()


def test_bad_arguments_are_refused(draws):
    with pytest.raises(ArgumentError, match="carry their own"):
        to_arviz(draws, torch.zeros(3, 1))
    with pytest.raises(ArgumentError, match="samples"):
        to_arviz(draws, samples=-1)
    many = infer_each(Mean(), torch.zeros(2, 3, 1), engine=ug.Laplace(draws=2))
    with pytest.raises(ArgumentError, match="no data"):
        to_arviz(many)
