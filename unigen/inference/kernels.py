"""Functions of tensors as graphs: traced once, and compiled where that pays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from unigen.dynamics.hmc import Leap, leap_of
from unigen.dynamics.tree import Kernels, Potential, begin, eager_kernels, leaf_of, merge, turn
from unigen.inference.compiled import Compiler, inductor, interpreted, reason
from unigen.inference.plain_graph import plain_function

LONG = 1000  # transitions from which on compiling pays for itself


def wanted(compile: bool | str, transitions: int) -> bool:
    """Return whether to compile: as asked, or, for "auto", where there are many transitions."""
    return transitions >= LONG if compile == "auto" else bool(compile)


def traced(
    function: Callable[..., Any], example: Sequence[Tensor], compiler: Compiler = interpreted
) -> Callable[..., Any]:
    """Return a function as one graph for tensors of these shapes, or as it is where it cannot be traced.

    Args:
        function: Of tensors alone, to a tuple of tensors; it must not write to them.
        example: Tensors of the shapes to come.
        compiler: ``inductor``, or ``interpreted``: the traced operations one by one, without Pyro's handlers.
    """
    rows = [t.contiguous() for t in example]

    def plain(*tensors: Tensor) -> Any:  # make_fx counts the self of a method among its arguments
        return function(*tensors)

    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            found = make_fx(plain)(*rows)
            graph = plain_function(found) if compiler is interpreted else compiler(found, rows)
            graph(*rows)
    except (
        Exception
    ) as error:  # of torch's tracer or compiler: what the function itself raises, it raises again below
        if compiler is not interpreted:
            warnings.warn(f"not compiled: {reason(error)}", UserWarning, stacklevel=2)
            return traced(function, example)
        return function

    def run(*tensors: Tensor) -> Any:
        with torch.no_grad():
            return graph(*(t if t.is_contiguous() else t.contiguous() for t in tensors))

    return run


def tree_kernels(potential: Potential, like: Tensor, compile: bool) -> Kernels:
    """Return the steps of a no-U-turn tree on a potential, for positions like (C, D)."""
    if not compile:
        return eager_kernels(traced(potential, [like]))
    row, no = torch.zeros_like(like[:, 0]), torch.zeros_like(like[:, 0], dtype=torch.bool)
    matrix, column = torch.zeros_like(like), torch.zeros_like(like[:, :1])
    subtree = [*[matrix] * 4, row, matrix, row, matrix, row, row, no, no, row]
    tree = [*[matrix] * 7, row, matrix, row, matrix, row, row, row, no, no]

    def make(function: Callable[..., Any], example: list[Tensor]) -> Callable[..., Any]:
        return traced(function, [t.clone() for t in example], inductor)

    return Kernels(
        make(leaf_of(potential), [*subtree, column, matrix, row]),
        make(turn, [no, *[matrix] * 5]),
        make(begin, [*tree, row, row, row]),
        make(merge, [*tree, *subtree, no, row, matrix]),
    )


def leap_kernel(potential: Potential, like: Tensor, compile: bool) -> Leap:
    """Return the leapfrog step on a potential, for positions like (C, D)."""
    leap = leap_of(potential)
    example = [*[like.clone() for _ in range(3)], like[:, :1].clone(), like.clone()]
    return traced(leap, example, inductor if compile else interpreted)
