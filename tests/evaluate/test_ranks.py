"""Ranks counted by hand from the same seed; engines of every shape; what an engine must not return."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.programs import Nested, SharedMean, Toy
from unigen.errors import NonFiniteError, ShapeError, SiteError
from unigen.evaluate.ranks import JOINT, guide_engine, rank, rank_examples, rank_shared
from unigen.traces import draw

F64 = torch.float64


def test_the_rank_is_the_number_of_draws_below():
    truth, draws = torch.randn(50), torch.randn(7, 50)
    by_hand = [int((draws.numpy()[:, i] < truth.numpy()[i]).sum()) for i in range(50)]
    assert rank(truth, draws).tolist() == by_hand
    assert rank(torch.tensor([-9.0, 9.0]), draws[:, :2]).tolist() == [0, 7]


def test_ties_are_broken_evenly():
    """One draw below, three equal, one above: ranks 1 … 4 in equal shares."""
    n = 20_000
    draws = torch.tensor([0.0, 1.0, 1.0, 1.0, 2.0])[:, None].expand(5, n)
    counts = torch.bincount(rank(torch.ones(n), draws), minlength=6).numpy()
    assert counts[0] == counts[5] == 0
    assert stats.chisquare(counts[1:5]).pvalue > 1e-6


def test_ranks_of_exchangeable_draws_are_uniform():
    ranks = rank(torch.randn(20_000), torch.randn(9, 20_000))
    assert stats.chisquare(np.bincount(ranks.numpy(), minlength=10)).pvalue > 1e-6


def simulated(program, n: int, seed: int) -> dict[str, Tensor]:
    """What the program draws first from a seed."""
    torch.manual_seed(seed)
    nodes = draw(functools.partial(program.model, None, None, n))
    return {name: node["value"] for name, node in nodes.items()}


def test_examples_are_ranked_among_the_draws_of_their_own_data():
    program, n, s = Toy(), 12, 6
    values, noise = simulated(program, n, 3), torch.randn(2 * s, n, 1, dtype=F64)

    def engine(x: Tensor) -> Tensor:
        assert torch.equal(x, values["x"])
        return x / 2 + noise

    torch.manual_seed(3)
    found = rank_examples(program, engine, n, s, 2, None, {"|z|": lambda v, x: v["z"].abs()[..., 0]})
    draws = (values["x"] / 2 + noise)[1::2]  # every second one
    z = values["z"]
    joint = [-0.5 * (t**2 + (values["x"] - t) ** 2) for t in (z, draws)]
    for name, truth, each in (
        ("z[0]", z, draws),
        (JOINT, *joint),
        ("|z|", z.abs(), draws.abs()),
    ):
        assert torch.equal(found[name], (each < truth).sum(0)[:, 0]), name
    assert set(found) == {"z[0]", JOINT, "|z|"}


def test_every_entry_of_every_site_is_ranked_by_itself():
    program, n, s = Nested(), 5, 4
    values, noise = simulated(program, n, 1), torch.randn(s, 2, n)

    def engine(x: Tensor) -> dict[str, Tensor]:
        return {"z": noise[:, 0], "w": noise}

    torch.manual_seed(1)
    found = rank_examples(program, engine, n, s, 1, None, {})
    assert sorted(found) == [JOINT, "w[0]", "w[1]", "z"]
    for j in range(2):
        assert torch.equal(found[f"w[{j}]"], (noise[:, j] < values["w"][j]).sum(0))
    assert torch.equal(found["z"], (noise[:, 0] < values["z"]).sum(0))


def test_shared_latents_are_ranked_once_a_data_set():
    found = rank_shared(
        SharedMean(),
        lambda x: {"theta": torch.zeros(5, 1) - 99, "z": torch.zeros(5, *x.shape)},
        3,
        2,
        5,
        1,
        None,
    )
    assert {k: v.tolist() for k, v in found.items()} == {"theta[0]": [5, 5, 5]}


@pytest.mark.parametrize("draws", [7, 70_000])
def test_the_engine_of_a_guide_draws_from_its_guide(draws):
    """The exact posterior N(x/2, ½) of the toy; 70,000 draws of two examples come in several parts."""
    x = torch.tensor([[1.0], [-3.0]], dtype=F64)
    z = guide_engine(Toy(exact=True), draws)(x)["z"]
    assert z.shape == (draws, 2, 1)
    unit = (z - x / 2) / 0.5**0.5
    assert float(unit.mean(0).abs().max()) < 5 / draws**0.5
    if draws > 1000:
        assert float((unit.var(0) - 1).abs().max()) < 5 * (2 / draws) ** 0.5
        lag = (unit[1:] * unit[:-1]).mean(0)  # parts do not repeat one another
        assert float(lag.abs().max()) < 5 / draws**0.5


def test_the_engine_of_a_guide_puts_nested_and_shared_sites_where_they_belong():
    z = guide_engine(Nested(), 6)(torch.randn(4, 3))
    assert z["z"].shape == (6, 4) and z["w"].shape == (6, 2, 4)
    shared = guide_engine(SharedMean(), 3)(torch.randn(4, 1))
    assert shared["theta"].shape == (3, 1) and shared["z"].shape == (3, 4, 1)


class Forgetful(Toy):
    """A guide without the site of the model."""

    def guide(self, x):
        with self.plate(x):
            return None


@pytest.mark.parametrize(
    ("returned", "error", "match"),
    [
        (torch.zeros(5, 4, 1), ShapeError, r"thin × draws = 6"),
        (torch.zeros(6, 3, 1), ShapeError, r"\(3, 4, 1\)"),
        ({"w": torch.zeros(6, 4, 1)}, SiteError, "every latent"),
        (torch.full((6, 4, 1), torch.inf), NonFiniteError, "infinite"),
    ],
    ids=["few", "shape", "site", "infinite"],
)
def test_what_an_engine_must_not_return_is_refused(returned: Any, error: type[Exception], match: str):
    with pytest.raises(error, match=match):
        rank_examples(Toy(), lambda x: returned, 4, 3, 2, None, {})


def test_one_tensor_for_several_sites_and_a_guide_without_the_site_are_refused():
    with pytest.raises(SiteError, match="one tensor"):
        rank_examples(Nested(), lambda x: torch.zeros(3, 4), 4, 3, 1, None, {})
    with pytest.raises(SiteError, match="no such site"):
        guide_engine(Forgetful(), 3)(torch.zeros(2, 1, dtype=F64))
