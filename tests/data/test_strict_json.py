"""Strict JSON: what the standard library reads back, with null for what JSON cannot say."""

from __future__ import annotations

import json

import pytest

from unigen.data.strict_json import to_json


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_plain_data_round_trips():
    payload = {"a": [1, 2.5, "x", None, True], "b": {"c": []}}
    assert json.loads(to_json(payload), parse_constant=refuse) == payload


def test_what_is_not_finite_becomes_null():
    payload = {"a": (float("nan"), [float("inf"), -float("inf"), 1.0]), 3: "NaN"}
    assert json.loads(to_json(payload), parse_constant=refuse) == {"a": [None, [None, None, 1.0]], "3": "NaN"}


def test_other_objects_are_refused():
    with pytest.raises(TypeError):
        to_json({"a": object()})
