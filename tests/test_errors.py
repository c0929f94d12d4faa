"""Typed errors: what they say, and what catches them."""

from __future__ import annotations

import inspect

import pytest

from unigen import errors
from unigen.errors import ShapeError, UnigenError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, Exception)]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_one_of_ours_and_documented(cls):
    assert issubclass(cls, UnigenError)
    assert cls.__doc__
    if cls is not UnigenError:
        assert len(cls.__mro__) > 4, "derives from a built-in exception too"


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ShapeError", ValueError), ("DTypeError", TypeError), ("SupportError", ValueError),
        ("NonFiniteError", ValueError), ("EmptyDataError", ValueError), ("ContextError", ValueError),
        ("ArgumentError", ValueError), ("UnknownNameError", LookupError), ("SiteError", ValueError),
        ("NoDensityError", NotImplementedError), ("UnsupportedQueryError", NotImplementedError),
        ("KindError", TypeError), ("NotFittedError", RuntimeError), ("DivergedError", ArithmeticError),
        ("CheckpointError", RuntimeError), ("MissingExtraError", ImportError),
    ],
)  # fmt: skip
def test_builtin_base(name, builtin):
    assert issubclass(getattr(errors, name), builtin)


@pytest.mark.parametrize(("parts", "text"), [
    ({"program": "VAE", "site": "x", "got": 1, "expected": 2, "hint": "three"},
     "VAE, site 'x': got 1, expected 2. Try: three."),
    ({"message": "no good."}, "no good."),
    ({"message": "no good", "got": 0}, "no good; got 0."),
    ({"expected": "rain"}, "expected rain."),
    ({"site": "z", "hint": "wait."}, "site 'z': Try: wait."),
    ({"program": "GAN", "message": "no density", "hint": "samples"}, "GAN: no density. Try: samples."),
    ({}, ""),
])  # fmt: skip
def test_message(parts, text):
    error = ShapeError(**parts)
    assert str(error) == text
    assert (error.got, error.expected, error.hint) == tuple(parts.get(k) for k in ("got", "expected", "hint"))


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (errors.ArgumentError(site="latents"), "argument 'latents'"),
        (errors.UnknownNameError(site="family"), "argument 'family'"),
        (errors.ContextError(site="context"), "argument 'context'"),
        (errors.NonFiniteError(site="context"), "argument 'context'"),
        (errors.ShapeError(argument="components"), "argument 'components'"),
        (errors.ArgumentError(site="--set"), "option '--set'"),
        (errors.DTypeError(site="x.csv"), "file 'x.csv'"),
        (errors.ShapeError(site="theta"), "site 'theta'"),
        (errors.SiteError(site="z"), "site 'z'"),
        (errors.NoDensityError(site="x"), "site 'x'"),
    ],
)
def test_sites_arguments_options_and_files_are_told_apart(error, place):
    assert str(error).startswith(f"{place}:")
    assert f"'{error.site}'" in place
