"""A traced graph as a plain function: the graph's numbers, for constants, lists, captured tensors and gradients."""

from __future__ import annotations

import operator

import pytest
import torch
from torch.fx import Graph, GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from unigen.inference.plain_graph import plain_function

WEIGHT = torch.randn(3, 3)


def mixed(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists of tensors, dtypes, nested constants, a captured tensor, several outputs of one operator."""
    z = torch.cat([x @ WEIGHT, y], 1).to(torch.float64)
    values, places = z.topk(2, 1)
    return values.reshape(-1, 2).sum(0) + torch.zeros(2, dtype=torch.float64), places


def slope(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.enable_grad():
        at = x.detach().requires_grad_(True)
        energy = torch.nn.functional.silu(at @ WEIGHT).square().sum(1)
        return energy.detach(), torch.autograd.grad(energy.sum(), at)[0]


@pytest.mark.parametrize(("function", "shapes"), [(mixed, [(4, 3), (4, 2)]), (slope, [(5, 3)])])
def test_it_is_the_graph(function, shapes):
    inputs = [torch.randn(shape) for shape in shapes]
    with torch.no_grad():
        graph = make_fx(function)(*inputs)
        run = plain_function(graph)
        for _ in range(2):
            inputs = [torch.randn(shape) for shape in shapes]
            for one, two, three in zip(run(*inputs), graph(*inputs), function(*inputs), strict=True):
                assert one.equal(two)
                torch.testing.assert_close(one, three)


def test_a_part_with_modules_is_refused():
    graph = Graph()
    graph.output(graph.call_module("net", (graph.placeholder("x"),)))
    with pytest.raises(ValueError, match="functions alone"):
        plain_function(GraphModule({"net": torch.nn.Identity()}, graph))


def test_plain_functions_are_called_too():
    graph = Graph()
    x = graph.placeholder("x")
    graph.output((graph.call_function(operator.add, (x, 2)),))
    assert plain_function(GraphModule({}, graph))(3) == (5,)
