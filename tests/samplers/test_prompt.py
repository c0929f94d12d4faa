"""Where prompts go, and which do not fit."""

from __future__ import annotations

import math

import pytest
import torch

from tests.sequences import F64, pixelcnn, transformer
from unigen.distributions.likelihoods import Bernoulli, Gaussian
from unigen.errors import (
    ArgumentError,
    DTypeError,
    NonFiniteError,
    ShapeError,
    SupportError,
    UnsupportedQueryError,
)
from unigen.models.ppca import PPCA
from unigen.samplers.prompt import place_prompt, sequential


def test_a_prompt_stands_at_the_beginning():
    program = transformer(5, 4)
    x, known = place_prompt(program, [3, 1], 2)
    assert known == 2 and torch.equal(x, torch.tensor([[3.0, 1, 0, 0, 0]] * 2, dtype=F64))
    x, known = place_prompt(program, torch.tensor([[3], [1]]))
    assert known == 1 and torch.equal(x[:, 0], torch.tensor([3.0, 1], dtype=F64))
    x, known = place_prompt(program, torch.zeros(0), 3)
    assert known == 0 and x.shape == (3, 5)
    assert place_prompt(program, [])[1] == 0


def test_rows_of_an_image_stand_at_the_top_and_are_first_in_order():
    program = pixelcnn((2, 3, 2), Bernoulli())
    x, known = place_prompt(program, torch.ones(2, 1, 2))
    assert known == 4 and torch.equal(x.reshape(2, 3, 2)[:, :1], torch.ones(2, 1, 2, dtype=F64))
    assert all(bool(x[0, i] == (k < known)) for k, i in enumerate(program.net.order))


@pytest.mark.parametrize(
    ("prompt", "error"),
    [([0] * 6, ShapeError), ([[[0]]], ShapeError), ([0.5], DTypeError), ([0, 4], SupportError), ([-1], SupportError),
     ([math.nan], NonFiniteError), ("ab", DTypeError), (torch.zeros(0, 2), ShapeError)],
)  # fmt: skip
def test_prompts_of_tokens_that_do_not_fit(prompt, error):
    with pytest.raises(error) as caught:
        place_prompt(transformer(5, 4), prompt)
    assert caught.value.site == "prompt" and caught.value.program == "Transformer"


def test_numbers_of_rows_that_do_not_fit():
    program = transformer(5, 4)
    for n in (0, -1, 1.0, True):
        with pytest.raises(ArgumentError):
            place_prompt(program, [0], n)
    with pytest.raises(ArgumentError, match="2, one a prompt"):
        place_prompt(program, [[0], [1]], 3)


def test_images_that_do_not_fit():
    program = pixelcnn((2, 3, 2), Gaussian("network"))
    for shape in ((2, 4, 2), (1, 2, 2), (2, 2, 3), (2, 2)):
        with pytest.raises(ShapeError):
            place_prompt(program, torch.zeros(shape))


def test_programs_without_an_order_are_refused():
    with pytest.raises(UnsupportedQueryError):
        sequential(PPCA(3, 1), None)
