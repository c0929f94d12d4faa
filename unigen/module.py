"""How a program's parameters meet Pyro: unique names, one registration a run, nothing shared by accident.

Pyro keeps parameters in one global store, by name. A plain ``PyroModule`` named after its attributes would share
values with the next instance of its class, and one that has run refuses to become a part of another. So a program
has a name of its own (a fresh one on copy and unpickling), keeps it when it becomes a part, and announces its
parameters when its model or guide runs under a handler that is not unigen's own.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from abc import ABCMeta
from collections.abc import Callable
from typing import Any

import pyro
from pyro import poutine
from pyro.nn import PyroModule
from pyro.nn.module import _PyroModuleMeta
from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.traces import tracing

_numbers = itertools.count(1)


def _as_pyro_function(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method take (x, context, n) whichever of them it declares, and register parameters with Pyro."""
    accepted = [p for p in inspect.signature(method).parameters if p in ("x", "context", "n")]

    @functools.wraps(method)
    def run(self: ProgramModule, x: Tensor | None = None, context: Tensor | None = None, n: int = 1) -> Any:
        self._register()
        given = {"x": x, "context": context, "n": n}
        with self._pyro_context:
            return method(self, **{name: given[name] for name in accepted})

    vars(run)["_unigen"] = True
    return run


class _ProgramMeta(_PyroModuleMeta, ABCMeta):
    """Remembers constructor arguments (for checkpoints) and completes a program once it is constructed."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, type):
                raise ArgumentError(
                    program=cls.__name__,
                    got=f"the class {value.__name__}",
                    expected="an instance",
                    hint=f"{value.__name__}(…)",
                )
        program = super().__call__(*args, **kwargs)
        bound = inspect.signature(cls.__init__).bind(program, *args, **kwargs)
        program.__dict__["_arguments"] = dict(list(bound.arguments.items())[1:])
        program._complete()
        return program


class ProgramModule(PyroModule, metaclass=_ProgramMeta):
    """A PyroModule with a unique name, whose ``model`` and ``guide`` register parameters once a run."""

    def __init__(self) -> None:
        super().__init__()
        self._rename()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("model", "guide"):
            method = cls.__dict__.get(name)
            if method is not None and not getattr(method, "_unigen", False):
                setattr(cls, name, _as_pyro_function(method))

    def _rename(self) -> None:
        self.__dict__["_pyro_name"] = f"{type(self).__name__}_{next(_numbers)}"

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore from a copy or pickle under a fresh name, so that no two programs share Pyro parameters."""
        nn.Module.__setstate__(self, state)
        self.__dict__["_structure"] = None  # found anew: a copy of constraints.real is not constraints.real
        self._rename()

    def _pyro_set_supermodule(self, name: str, context: object) -> None:
        """Keep this program's own name and context when it becomes a part of another."""

    def _pyro_get_fullname(self, name: str) -> str:
        return name if name in self._pyro_samples else super()._pyro_get_fullname(name)

    def __getattr__(self, name: str) -> Any:
        """Look up parameters and parts without registering them (``model`` and ``guide`` register once)."""
        if name in self.__dict__.get("_pyro_samples", ()) or name in self.__dict__.get("_pyro_params", ()):
            return super().__getattr__(name)
        return nn.Module.__getattr__(self, name)

    def _register(self) -> None:
        """Announce all parameters to Pyro, unless unigen itself is running the program."""
        if tracing() or not poutine.runtime.am_i_wrapped():
            return
        store = pyro.get_param_store()
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                full = f"{self._pyro_name}.{name}"
                if full in store and store._params[full] is not parameter:
                    del store[full]
                pyro.param(full, parameter)

    def _complete(self) -> None:
        """Finish construction; called once after the last constructor has run."""
