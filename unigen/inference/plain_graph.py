"""A traced graph as one plain Python function, which calls the operators' own entry points.

The code that torch.fx writes looks every operator up by four attributes and calls it through a Python method; where the
tensors are small, as in a leapfrog step, that costs as much as the arithmetic saves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Node


def plain_function(graph: GraphModule) -> Callable[..., Any]:
    """Return a function of the graph's inputs, equal to it; tensors are let go after their last use.

    Args:
        graph: Of function calls alone, as ``make_fx`` gives it.

    Raises:
        ValueError: It holds a node of another kind.
    """
    space: dict[str, Any] = {}
    inputs: list[str] = []
    lines: list[str] = []
    last = {user: node for node in graph.graph.nodes for user in node.all_input_nodes}

    def constant(value: object) -> str:
        name = f"_unigen_{len(space)}"
        space[name] = value
        return name

    def write(value: object) -> str:
        if isinstance(value, Node):
            return value.name
        if isinstance(value, list | tuple):
            inside = "".join(f"{write(each)}, " for each in value)
            return f"[{inside}]" if isinstance(value, list) else f"({inside})"
        return constant(value)

    for node in graph.graph.nodes:
        if node.op == "placeholder":
            inputs.append(node.name)
        elif node.op == "get_attr":
            lines.append(f"{node.name} = {constant(_attribute(graph, str(node.target)))}")
        elif node.op == "call_function":
            target = node.target._op if isinstance(node.target, OpOverload) else node.target
            given = [write(each) for each in node.args] + [f"{k}={write(v)}" for k, v in node.kwargs.items()]
            lines.append(f"{node.name} = {constant(target)}({', '.join(given)})")
        elif node.op == "output":
            lines.append(f"return {write(node.args[0])}")
        else:
            raise ValueError(f"a traced graph calls functions alone, got {node.op}")
        gone = [each.name for each, user in last.items() if user is node and node.op != "output"]
        if gone:
            lines.append(f"del {', '.join(gone)}")
    source = f"def run({', '.join(inputs)}):\n    " + "\n    ".join(lines)
    exec(source, space)  # names and constants alone: no text comes from outside
    return space["run"]


def _attribute(graph: GraphModule, path: str) -> Tensor:
    value: Any = graph
    for name in path.split("."):
        value = getattr(value, name)
    return value
