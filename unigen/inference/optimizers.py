"""Any torch optimiser as a function of tensors: its own ``step`` run on stand-ins for parameters and state.

    (θ, g, s, lr) ↦ (θ', s')

The optimiser object itself is never run or changed here: a twin shares its class and hyperparameters and holds the
stand-ins. Learning rates are tensors, so that a schedule needs no new trace; all other hyperparameters are constants
of the trace (``frozen_options`` lists them).
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from unigen.errors import UnigenError

State = dict[str, Any]


class Untraceable(UnigenError, RuntimeError):
    """The step cannot be traced; the message says why."""


def why_not(optimizer: torch.optim.Optimizer) -> str | None:
    """Return why this optimiser's update cannot be part of a trace, or None."""
    hooks = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    if any(hooks):
        return "it has step hooks"
    options = frozen_options(optimizer)
    if any(_holds_tensor(value) for _, _, value in options):
        return "a hyperparameter other than the learning rate is a tensor"
    return None


def frozen_options(optimizer: torch.optim.Optimizer) -> list[tuple[dict[str, Any], str, Any]]:
    """Return (group, name, value) of every hyperparameter that a trace takes as constant: all but ``lr``."""
    return [
        (group, name, group[name])
        for group in optimizer.param_groups
        for name in optimizer.defaults
        if name != "lr" and name in group
    ]


def rehearse(optimizer: torch.optim.Optimizer, params: Sequence[Tensor]) -> list[State]:
    """Return the state that the optimiser keeps for each parameter after a first step, on copies.

    Args:
        optimizer: Left untouched.
        params: The parameters that get a gradient.
    """
    groups = group_of(optimizer, params)
    copies = [p.detach().clone() for p in params]
    twin = _twin(optimizer, copies, groups, [group["lr"] for group in optimizer.param_groups])
    for copy in copies:
        copy.grad = torch.zeros_like(copy)
    _run(twin)
    return [dict(twin.state.get(copy, {})) for copy in copies]


def group_of(optimizer: torch.optim.Optimizer, params: Sequence[Tensor]) -> list[int]:
    """Return the index of each parameter's group."""
    where = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
    return [where[id(p)] for p in params]


def traced_update(
    optimizer: torch.optim.Optimizer,
    groups: Sequence[int],
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    states: Sequence[State],
    rates: Sequence[Tensor],
) -> list[State]:
    """Run the optimiser's arithmetic on stand-ins, fit for tracing.

    Step counts are lifted to float64 on the way, so that 1 − β^t has the accuracy of the eager update.

    Args:
        optimizer: Gives class and hyperparameters.
        groups: Group of each parameter.
        params: Stand-ins, updated in place.
        grads: Their gradients.
        states: Their state; not changed.
        rates: Learning rate of each group, tensors of shape ().

    Returns:
        The new state of each parameter.

    Raises:
        Untraceable: The optimiser changes Python numbers, which a trace would freeze.
    """
    twin = _twin(optimizer, params, groups, rates)
    for group in twin.param_groups:
        group.update({name: value for name, value in _TRACED.items() if name in group})
    for p, grad, state in zip(params, grads, states, strict=True):
        p.grad = grad
        twin.state[p] = {name: _working_copy(name, value) for name, value in state.items()}
    before = _numbers(twin)
    with patch.object(torch.compiler, "_is_compiling_flag", True), _TensorScalars():
        _run(twin)
    if before != _numbers(twin):
        raise Untraceable(f"{type(optimizer).__name__} keeps Python numbers that change with every step")
    return [dict(twin.state[p]) for p in params]


_TRACED = {"foreach": False, "fused": None, "capturable": True}


def _twin(
    optimizer: torch.optim.Optimizer, params: Sequence[Tensor], groups: Sequence[int], rates: Sequence[Any]
) -> Any:
    twin = object.__new__(type(optimizer))
    vars(twin).update({name: value for name, value in vars(optimizer).items() if name != "step"})
    twin.state = defaultdict(dict)
    twin.param_groups = [
        {**group, "lr": rate, "params": [p for p, g in zip(params, groups, strict=True) if g == i]}
        for i, (group, rate) in enumerate(zip(optimizer.param_groups, rates, strict=True))
    ]
    return twin


def _run(twin: Any) -> None:
    """Call the optimiser's ``step`` below the wrappers (profiling, hooks, grad mode, schedulers)."""
    with torch.no_grad():
        inspect.unwrap(type(twin).step)(twin)


def _working_copy(name: str, value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.to(torch.float64, copy=True) if name == "step" and value.dim() == 0 else value.clone()


def _numbers(twin: Any) -> list[State]:
    """Return what a trace of the optimiser would freeze."""
    entries = [*twin.state.values(), *twin.param_groups]
    return [{k: v for k, v in entry.items() if k != "params" and not _holds_tensor(v)} for entry in entries]


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_holds_tensor(item) for item in value)
    return isinstance(value, Tensor)


class _TensorScalars(TorchFunctionMode):
    """Lets a tensor stand where an operation takes a number: a + α b, a + v b c and a + v b / c.

    New scalars, such as 1 − β^t, are viewed through ``as_strided``: a compiler then computes them once and stores
    them, instead of once for each vector of parameters.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        for name in ("alpha", "value"):
            if isinstance(kwargs.get(name), Tensor) and len(args) > 1:
                factor = kwargs.pop(name)
                args = (args[0], args[1] * factor, *args[2:])
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        fresh = name not in ("__get__", "__set__") and not (name.endswith("_") and not name.endswith("__"))
        if fresh and isinstance(result, Tensor) and result.dim() == 0 and result.is_floating_point():
            return result.as_strided((), ())
        return result
