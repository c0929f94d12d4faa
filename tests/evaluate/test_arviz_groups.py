"""The NumPy seam to ArviZ, on arrays whose axes are known; it runs unchanged under ArviZ 0.x and 1.x."""

from __future__ import annotations

import arviz
import numpy as np
import pytest

from unigen.evaluate.arviz_groups import Variable, axes, build

NEW = int(arviz.__version__.split(".")[0]) >= 1
VARIABLES = {
    "theta": Variable(False, 1),
    "z": Variable(True, 1),
    "w": Variable(True, 0),
    "x": Variable(True, 1),
}
NAMES = {
    "posterior": {"theta": ["theta_dim_0"], "z": ["example", "factor"], "w": ["w_plate_0", "example"]},
    "prior": {"theta": ["theta_dim_0"], "z": ["factor"], "w": ["w_plate_0"]},
    "posterior_predictive": {"x": ["example", "x_dim_0"]},
    "prior_predictive": {"x": ["x_dim_0"]},
    "observed_data": {"x": ["example", "x_dim_0"]},
    "log_likelihood": {"x": ["example"]},
    "sample_stats": {"lp": [], "log_q": []},
}
SIZES = {"theta_dim_0": 2, "factor": 3, "example": 5, "w_plate_0": 4, "x_dim_0": 6}


def groups() -> dict[str, dict[str, np.ndarray]]:
    """Distinct numbers in every cell, so that a transposed axis cannot go unseen."""
    made: dict[str, dict[str, np.ndarray]] = {}
    for group, variables in NAMES.items():
        lead = () if group == "observed_data" else (1, 7)
        made[group] = {}
        for name, names in variables.items():
            shape = lead + tuple(SIZES[axis] for axis in names)
            made[group][name] = np.arange(np.prod(shape), dtype=float).reshape(shape) + len(name)
    return made


def build_all(**options):
    return build(
        groups(), VARIABLES, {"factor": ["a", "b", "c"], "unused": [1]}, {"z": ["factor"]}, **options
    )


@pytest.mark.parametrize("group", sorted(NAMES))
def test_axes_are_named_by_what_they_mean(group):
    for name, names in NAMES[group].items():
        assert axes(group, name, len(names), VARIABLES.get(name), {"z": ["factor"]}) == names


@pytest.mark.parametrize("group", sorted(NAMES))
def test_every_group_keeps_its_numbers_and_names(group):
    result, made = build_all(), groups()
    lead = [] if group == "observed_data" else ["chain", "draw"]
    assert sorted(result[group].data_vars) == sorted(made[group])
    for name, names in NAMES[group].items():
        found = result[group][name]
        assert list(found.dims) == lead + names
        np.testing.assert_array_equal(found.values, made[group][name])


def test_coordinates_are_the_users():
    result = build_all()
    assert list(result["posterior"]["factor"].values) == ["a", "b", "c"]
    assert list(result["prior"]["factor"].values) == ["a", "b", "c"]
    assert list(result["posterior"]["example"].values) == list(range(5))
    assert "unused" not in result["posterior"].coords


def test_attributes_written_afterwards_stay():
    result = build_all()
    result["log_likelihood"]["x"].attrs["kind"] = "exact"
    assert result["log_likelihood"]["x"].attrs["kind"] == "exact"


def test_netcdf_round_trip(tmp_path):
    result, path = build_all(), tmp_path / "groups.nc"
    result["log_likelihood"]["x"].attrs["kind"] = "exact"
    result.to_netcdf(path)
    again = arviz.from_netcdf(path)
    for group, variables in groups().items():
        for name, array in variables.items():
            np.testing.assert_array_equal(again[group][name].values, array)
    assert again["log_likelihood"]["x"].attrs["kind"] == "exact"


def test_arviz_reads_the_groups():
    result = build_all()
    table = arviz.summary(result, var_names=["theta"], kind="stats")
    expected = groups()["posterior"]["theta"].mean((0, 1))
    np.testing.assert_allclose(np.asarray(table["mean"], float), expected, rtol=0.05)
    assert type(result).__name__ == ("DataTree" if NEW else "InferenceData")
