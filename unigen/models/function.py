"""A program from two plain Pyro functions.

    def model(x=None, n=1):                      def guide(x):
        with pyro.plate("data", n if x is None else x.shape[0], dim=-1):    ...
            z = pyro.sample("z", …)
            return pyro.sample("x", …, obs=x)

Parameters made by ``pyro.param`` become ``nn.Parameter`` s of the program (with their constraints), modules
that the functions refer to become its children: nothing is left in Pyro's global store.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.distributions import constraints, transform_to
from torch.distributions.constraints import Constraint

from unigen.errors import ArgumentError
from unigen.objectives.objective import Objective
from unigen.program import Program


class _Adopt(Messenger):
    """Answers ``pyro.param`` from the program's own parameters, adopting those it meets first."""

    def __init__(self, program: FunctionProgram) -> None:
        super().__init__()
        self.program = program

    def _pyro_param(self, msg: Any) -> None:
        name, rest = msg["args"][0], msg["args"][1:]
        msg["stop"] = True  # handlers outside see the program's registered parameters instead
        initial = rest[0] if rest else None
        initial = initial() if callable(initial) and not isinstance(initial, Tensor) else initial
        if isinstance(initial, nn.Parameter):  # a module's own parameter, announced by pyro.module
            msg["value"], msg["done"] = initial, True
            return
        constraint = msg["kwargs"].get("constraint") or constraints.real
        msg["value"], msg["done"] = self.program._adopted(name, initial, constraint), True


def _modules_of(*functions: Callable[..., Any] | None) -> dict[str, nn.Module]:
    """Return the nn.Modules that functions refer to by closure or global name."""
    found: dict[str, nn.Module] = {}
    for function in functions:
        if function is None or isinstance(function, nn.Module):
            continue
        names = inspect.getclosurevars(function)
        for name, value in {**names.globals, **names.nonlocals}.items():
            if isinstance(value, nn.Module):
                found[name] = value
    return found


class FunctionProgram(Program):
    """A program that runs two plain Pyro functions; made by ``from_functions``."""

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any] | None = None,
        *,
        modules: Mapping[str, nn.Module] | None = None,
        event_shape: tuple[int, ...] | None = None,
        context: int = 0,
        objective: Objective | None = None,
    ) -> None:
        super().__init__(event_shape, context=context, objective=objective)
        self.__dict__["_scalars"] = set()
        self.parts = nn.ModuleDict(dict(modules or {}) or _modules_of(model, guide))
        self.weights = nn.ParameterDict()
        self.constraints: dict[str, Constraint] = {}
        self.__dict__["_functions"] = (model, guide)
        if guide is not None:
            with torch.no_grad():
                self.check()

    @property
    def has_own_guide(self) -> bool:
        """Whether a guide function was handed in."""
        return self.__dict__["_functions"][1] is not None

    def _adopted(self, name: str, initial: Any, constraint: Constraint) -> Tensor:
        key = name.replace(".", "/")
        if key not in self.weights:
            if initial is None:
                raise ArgumentError(
                    f"pyro.param('{name}') is read before it has an initial value", program=self.name
                )
            value = transform_to(constraint).inv(initial.detach()).reshape(initial.shape or (1,))
            self.weights[key] = nn.Parameter(value.contiguous())
            self.constraints[key] = constraint
            if not initial.shape:
                self.__dict__["_scalars"].add(key)
        value = transform_to(self.constraints[key])(self.weights[key])
        return value.reshape(()) if key in self.__dict__["_scalars"] else value

    def _run(self, function: Callable[..., Any], x: Tensor | None, context: Tensor | None, n: int) -> Any:
        takes = inspect.signature(function).parameters
        given = {"x": x, "context": context, "n": n}
        names = [name for name in given if name in takes]
        positional = not names
        with _Adopt(self):
            if x is None and "n" not in takes and function is self.__dict__["_functions"][0]:
                blank = torch.zeros(n, *self._blank_shape())
                call = poutine.uncondition(function)
                return (
                    call(blank) if positional else call(**{k: given[k] for k in names if k != "x"}, x=blank)
                )
            return function(x) if positional else function(**{name: given[name] for name in names})

    def _blank_shape(self) -> tuple[int, ...]:
        declared = self.__dict__["_event_shape"]
        if declared is None:
            raise ArgumentError(
                "the model takes no `n`, so the shape of one example must be known to draw from it",
                program=self.name,
                hint="ug.from_functions(model, guide, event_shape=(D,)), or let the model take n",
            )
        return tuple(declared)

    def model(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Any:
        """Run the model function."""
        return self._run(self.__dict__["_functions"][0], x, context, n)

    def guide(self, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Any:
        """Run the guide function, or the automatic guide."""
        function = self.__dict__["_functions"][1]
        if function is not None:
            return self._run(function, x, context, n)
        return Program.guide(self, x, context, n)


def from_functions(
    model: Callable[..., Any],
    guide: Callable[..., Any] | None = None,
    *,
    modules: Mapping[str, nn.Module] | None = None,
    event_shape: tuple[int, ...] | None = None,
    context: int = 0,
    objective: Objective | None = None,
) -> FunctionProgram:
    """Return a program that runs two plain Pyro functions.

    Args:
        model: Takes some of ``x``, ``context``, ``n`` by name; its plate over examples is named ``data``.
        guide: Likewise; an amortised mean field if omitted.
        modules: The networks they use; found among closures and globals if omitted.
        event_shape: Shape of one example; needed only when the model takes no ``n``.
        context: Number of context features.
        objective: What ``fit`` minimises; an ELBO if omitted.

    Raises:
        SiteError: Model and guide disagree, or there is no site ``x`` in a plate ``data``.

    Example:
        >>> import pyro
        >>> import pyro.distributions as dist
        >>> def model(x=None, n=1):
        ...     loc = pyro.param("loc", torch.zeros(2))
        ...     with pyro.plate("data", n if x is None else x.shape[0], dim=-1):
        ...         return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)
        >>> program = from_functions(model)
        >>> [name for name, _ in program.named_parameters()]
        ['weights.loc']
    """
    return FunctionProgram(
        model, guide, modules=modules, event_shape=event_shape, context=context, objective=objective
    )
