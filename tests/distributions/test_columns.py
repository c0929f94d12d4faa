"""Mixed-type tables: densities column by column, supports, codes, standardisation, a VAE of a table, refusals."""

from __future__ import annotations

import math

import pytest
import torch

import unigen as ug
from unigen.distributions.columns import Columns
from unigen.distributions.count_likelihoods import Poisson
from unigen.distributions.likelihoods import Bernoulli, Categorical, Gaussian
from unigen.distributions.missing import WithMissing
from unigen.errors import ArgumentError, ShapeError, SupportError

F64 = torch.float64


def table() -> Columns:
    return Columns(
        {"age": Gaussian("network"), "ill": Bernoulli(), "kind": Categorical(3), "visits": Poisson()}
    )


def rows(n: int) -> torch.Tensor:
    """A latent class that moves every column."""
    k = torch.randint(0, 3, (n,))
    age = 40 + 15 * k + 5 * torch.randn(n)
    ill = torch.bernoulli(torch.tensor([0.1, 0.5, 0.9])[k])
    return torch.stack((age, ill, k.float(), torch.poisson(1.0 + 4 * k)), -1)


def test_density_is_the_sum_of_the_columns_in_the_units_of_the_data():
    head, x = table().double(), rows(200).double()
    head.initialise(x)
    raw = torch.randn(200, 7, dtype=F64)
    m, s = x[:, 0].mean(), x[:, 0].std(correction=0)
    p = Gaussian("network")(raw[:, :2], (1,))
    age = torch.distributions.Normal(m + s * p.mean[:, 0], s * p.stddev[:, 0]).log_prob(x[:, 0])
    ill = torch.distributions.Bernoulli(logits=raw[:, 2]).log_prob(x[:, 1])
    kind = torch.distributions.Categorical(logits=raw[:, 3:6]).log_prob(x[:, 2])
    visits = torch.distributions.Poisson(raw[:, 6].exp()).log_prob(x[:, 3])
    got = head(raw, (4,))
    torch.testing.assert_close(got.log_prob(x), age + ill + kind + visits, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(got.base_dist.log_prob(x)[:, 3], visits, rtol=1e-12, atol=1e-10)


def test_draws_have_the_stated_mean_and_variance_and_lie_inside():
    head = table()
    head.initialise(rows(300))
    p = head(torch.randn(2, 7), (4,))
    x = p.sample((20_000,))
    assert x.shape == (20_000, 2, 4) and p.event_shape == (4,) and bool(p.support.check(x).all())
    z = (x.double().mean(0) - p.mean) / (p.variance / 20_000).sqrt()
    assert z.abs().max() < 5
    assert ((x.double().var(0) - p.variance) / p.variance).abs().max() < 0.2
    assert p.expand((3, 2)).sample().shape == (3, 2, 4) and not p.has_rsample


def test_codes_are_standardised_reals_one_hot_classes_and_logarithms():
    head, x = table(), rows(50)
    head.initialise(x)
    code = head.encode(x)
    assert code.shape == (50, head.input_width(4)) == (50, 6)
    assert abs(float(code[:, 0].mean())) < 1e-5 and abs(float(code[:, 0].std(correction=0)) - 1) < 1e-5
    assert torch.equal(code[:, 1], x[:, 1]) and torch.equal(code[:, 2:5].argmax(1).float(), x[:, 2])
    torch.testing.assert_close(code[:, 5], torch.log1p(x[:, 3]))


def test_a_vae_of_a_table_learns_what_the_columns_share_and_comes_back(tmp_path):
    x = rows(600)
    vae = ug.VAE(4, 2, likelihood=table(), hidden=(32,))
    ug.fit(vae, x, steps=250, lr=5e-3, seed=0)
    independent = ug.VAE(4, 2, likelihood=table(), hidden=(32,), encoder=Blind(4), decoder=Blind(7))
    ug.fit(independent, x, steps=250, lr=5e-3, seed=0)
    test = rows(600)
    gain = vae.log_prob(test).mean().value - independent.log_prob(test).mean().value
    assert gain > 0.5  # one of three classes, seen in four columns: up to log 3 a column
    draws = vae.sample(2000)
    assert abs(float(torch.corrcoef(draws[:, [0, 3]].T)[0, 1] - torch.corrcoef(x[:, [0, 3]].T)[0, 1])) < 0.25
    again = ug.load(ug.save(vae, tmp_path / "table"))
    assert torch.equal(again.log_prob(x[:5], seed=1).value, vae.log_prob(x[:5], seed=1).value)


def test_missing_cells_are_left_out_and_filled_in():
    x, whole = rows(600), rows(100)
    holes = whole.clone()
    holes[:50, 3], holes[50:, 2] = torch.nan, torch.nan
    head = table()
    head.initialise(x)
    raw = torch.randn(100, 7)
    each = head(raw, (4,)).base_dist.log_prob(whole)
    each[:50, 3], each[50:, 2] = 0.0, 0.0
    torch.testing.assert_close(WithMissing(head(raw, (4,))).log_prob(holes), each.sum(1))
    program = ug.with_missing(ug.VAE(4, 2, likelihood=head, hidden=(32,)), fill="mean")
    x[torch.rand(600, 4) < 0.1] = torch.nan
    ug.fit(program, x, steps=150, lr=5e-3, seed=0)
    filled = program.impute(holes)
    assert not filled.isnan().any() and torch.equal(filled[:50, :3], whole[:50, :3])
    error = (filled[:50, 3] - whole[:50, 3]).square().mean()
    assert error < 0.7 * (whole[:50, 3] - x[:, 3].nanmean()).square().mean()


class Blind(torch.nn.Module):
    """Gives the same numbers whatever it reads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.free = torch.nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.free.expand(*x.shape[:-1], -1)


@pytest.mark.parametrize(
    "bad", [(40, 0.5, 1, 2), (40, 1, 3, 2), (40, 1, 1.5, 2), (40, 1, 1, -1), (40, 2, 1, 1)], ids=str
)
def test_a_cell_outside_its_column_is_refused(bad):
    vae = ug.VAE(4, 2, likelihood=table(), hidden=(8,))
    with pytest.raises(SupportError):
        vae.log_prob(torch.tensor([bad]).float())


def test_columns_without_spread_or_values_stay_as_they_are():
    head = Columns({"a": Gaussian(), "b": Gaussian()})
    head.initialise(torch.tensor([[3.0, math.nan], [3.0, math.nan]]))
    assert head.centre.tolist() == [3.0, 0.0] and head.spread.tolist() == [1.0, 1.0]


def test_bad_tables_are_refused():
    same = Gaussian()
    for columns in ({}, {"a": same, "b": same}, {"a": table()}, {"a": 3}):
        with pytest.raises(ArgumentError):
            Columns(columns)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ShapeError, match="expected 3 columns"):
        ug.VAE(3, 2, likelihood=table())
    with pytest.raises(ShapeError):
        table()(torch.zeros(2, 8), (4,))
    with pytest.raises(ArgumentError, match="different numbers of parameters"):
        ug.MADE(4, likelihood=table())
