"""The optimiser step as one compiled graph.

The step of ``unigen.inference.step`` is traced once, Pyro's handlers and random draws included, and compiled by
Inductor. It makes the same draws as the eager step from the same seed, and equals it to rounding. Parameters, the
optimiser's state and buffers are read where they live at every step and updated in place, so checkpoints, schedules,
``load_state_dict`` and averaging need not know about it. What does not fit the trace runs eagerly: a batch of one
example, the first step of a fresh optimiser (which creates its state).
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from unigen.inference.optimizers import Untraceable, why_not
from unigen.inference.rehearsal import Rehearsal
from unigen.inference.step import EagerStep, Step, StepResult
from unigen.inference.tracing import Traced, trace_step, unchanged

Say = Callable[[str], object]
Compiler = Callable[[GraphModule, Sequence[Any]], Callable[..., Sequence[Tensor]]]

LEAST_RATE = 1e-30  # stands for a rate of zero, by which torch's capturable optimisers would divide: 0 / 0
RETRACES = 3  # how often a changed constant is answered by a new trace


def warn(message: str) -> None:
    """Say it as a ``UserWarning``."""
    warnings.warn(message, UserWarning, stacklevel=3)


def inductor(graph: GraphModule, inputs: Sequence[Any]) -> Callable[..., Sequence[Tensor]]:
    """Compile with Inductor, random numbers drawn by the same calls as in eager mode."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch._inductor import config
        from torch._inductor.compile_fx import compile_fx

        with config.patch(fallback_random=True, size_asserts=False):
            run: Any = compile_fx(graph, list(inputs))
            return run


def interpreted(graph: GraphModule, inputs: Sequence[Any]) -> Callable[..., Sequence[Tensor]]:
    """Run the traced operations one by one, uncompiled: for tests, and to tell a bad trace from a bad compiler."""
    return graph


class CompiledStep(Step):
    """The step as one graph; compiled when made.

    Args:
        loss: As for ``Step``.
        parameters: As for ``Step``.
        optimizer: As for ``Step``. One whose update cannot be traced runs eagerly after a compiled gradient.
        clip: As for ``Step``.
        example: A batch like those to come, at least two examples.
        compiler: What turns the trace into a callable; ``inductor`` if omitted.
        say: Told when a step falls back to eager, once for each reason.

    Raises:
        Untraceable: The loss cannot be traced, or the compiled step disagrees with the eager one on the example.
            Errors of torch's tracer and compiler pass through; ``make_step`` catches them.

    Attributes:
        traces: How often the step was traced.
    """

    compiled = True

    def __init__(
        self,
        loss: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        *,
        clip: float | None = None,
        example: Sequence[Tensor | None],
        compiler: Compiler | None = None,
        say: Say = warn,
    ) -> None:
        super().__init__(loss, parameters, optimizer, clip=clip)
        self.traces = 0
        self._eager = EagerStep(loss, parameters, optimizer, clip=clip)
        self._compiler, self._say, self._said = compiler or inductor, say, set[str]()
        self._trace(example)

    def __call__(self, *batch: Tensor | None) -> StepResult:
        """Take one step on ``batch``."""
        if not all(unchanged(*entry) for entry in self._frozen):
            self._retrace(batch)
        given = [b if b.is_contiguous() else b.contiguous() for b in batch if b is not None]
        inputs = self._inputs(given) if self._fits(batch, given) else None
        if inputs is None:
            return self._eager(*batch)
        with torch.no_grad():
            loss, finite, norm, *grads = self._run(*inputs)
        if self._updates:
            vars(self.optimizer)["_opt_called"] = True  # what learning rate schedulers look for
        elif bool(finite):
            self._update_eagerly(grads)
        return StepResult(loss, finite, norm)

    # -- one step ------------------------------------------------------------------------------------------

    def _fits(self, batch: Sequence[Tensor | None], given: Sequence[Tensor]) -> bool:
        """Return whether the trace holds for this batch, remembered by shape."""
        if self._traced is None:
            return False
        key = tuple(None if b is None else (b.shape, b.dtype, b.device) for b in batch)
        known = self._known.get(key)
        if known is None:
            same_arguments = [b is not None for b in batch] == self._present
            known = self._known[key] = same_arguments and self._traced.fits(given)
            if not known and all(b.dim() == 0 or b.shape[0] > 1 for b in given):
                shapes = [tuple(b.shape) for b in given]
                self._tell(
                    f"the compiled step does not hold for a batch of shapes {shapes}; such steps run eagerly"
                )
        return known

    def _inputs(self, given: Sequence[Tensor]) -> list[Tensor] | None:
        """Return the live inputs of the graph, or None if the optimiser has no state yet."""
        tensors: list[Tensor] = list(self._moved)
        state, none = self.optimizer.state, {}
        try:
            for p, keys in self._slots:
                entries = state.get(p, none)
                for key in keys:
                    tensors.append(entries[key])
        except KeyError:
            return None
        for i, group in enumerate(self.optimizer.param_groups):
            rate = group["lr"]
            if rate is not self._rate_values[i] or isinstance(rate, Tensor):
                self._rates[i].fill_(rate).clamp_(min=LEAST_RATE)
                self._rate_values[i] = rate
        tensors += self._rates
        tensors += [slot[name] for slot, name in self._others]
        tensors += given
        tensors += self._captured
        if [t.dtype for t in tensors] != self._dtypes or tensors[0].device != self._device:
            self._tell("the loss was moved to another dtype or device after compilation; steps run eagerly")
            return None
        return tensors

    def _update_eagerly(self, grads: Sequence[Tensor]) -> None:
        """Run an optimiser that is not part of the graph on the graph's gradients."""
        for p, grad in zip(self._moved, grads, strict=True):
            p.grad = grad
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    # -- tracing -------------------------------------------------------------------------------------------

    def _trace(self, example: Sequence[Tensor | None]) -> None:
        """Trace, compile, and compare one step with the eager one, on copies."""
        if any(b is not None and b.dim() and b.shape[0] < 2 for b in example):
            raise Untraceable("the example batch has fewer than two examples")
        obstacle = why_not(self.optimizer)
        try:
            traced, rehearsal = trace_step(self, example, update=obstacle is None)
        except Exception as error:
            if obstacle is not None:
                raise
            traced, rehearsal = trace_step(self, example, update=False)  # the fault may be the optimiser's
            obstacle = reason(error)
        self.traces += 1
        run = self._compiler(traced.graph, traced.fakes)
        self._bind(traced, example, updates=obstacle is None)
        self._compare(run, traced, rehearsal, example)
        self._run = run
        if obstacle is not None:
            name = type(self.optimizer).__name__
            self._tell(f"{name} runs eagerly after the compiled gradient: {obstacle}")
        given = [b for b in example if b is not None]
        if not traced.symbolic(given):
            sizes = sorted({b.shape[0] for b in given if b.dim()})
            self._tell(f"the loss fixes the batch size to {sizes}; steps on other sizes run eagerly")

    def _bind(self, traced: Traced, example: Sequence[Tensor | None], updates: bool) -> None:
        """Note where the inputs live."""
        self._traced, self._updates = traced, updates
        self._present = [b is not None for b in example]
        self._known: dict[tuple[object, ...], bool] = {}
        self._moved, self._others, self._captured = traced.moved, traced.others, traced.captured
        keys = [[k for k, v in state.items() if isinstance(v, Tensor)] for state in traced.states]
        self._slots = [(p, names) for p, names in zip(traced.moved, keys, strict=True) if names]
        groups = self.optimizer.param_groups
        self._rates = [torch.zeros((), dtype=torch.float64) for _ in groups]
        self._rate_values: list[object] = [None for _ in groups]
        self._frozen = traced.frozen
        self._dtypes, self._device = [t.dtype for t in traced.fakes], traced.fakes[0].device

    def _compare(
        self,
        run: Callable[..., Sequence[Tensor]],
        traced: Traced,
        expected: Rehearsal,
        example: Sequence[Tensor | None],
    ) -> None:
        """Run the compiled step on copies, and refuse it if it is not the eager one."""
        state = [v for entries in traced.states for v in entries.values() if isinstance(v, Tensor)]
        others = [slot[name] for slot, name in traced.others]
        batch = [b for b in example if b is not None]
        inputs = [*traced.moved, *state, *self._rates, *others, *batch, *traced.captured]
        copies = [t.detach().clone(memory_format=torch.contiguous_format) for t in inputs]
        with torch.random.fork_rng(), torch.no_grad():
            loss, finite, norm, *_ = run(*copies)
            generator = torch.get_rng_state()
        end = len(copies) - len(batch) - len(traced.captured)
        buffers = copies[end - len(expected.buffers) : end]
        difference = expected.difference(loss, norm, buffers if bool(finite) else None, generator)
        if difference is not None:
            raise Untraceable(f"the compiled step disagrees with the eager one: {difference}")

    def _retrace(self, batch: Sequence[Tensor | None]) -> None:
        """Trace again after a constant has changed, a few times at most."""
        name = next(key for slot, key, value in self._frozen if not unchanged(slot, key, value))
        self._frozen = []
        if self.traces > RETRACES:
            self._tell(
                f"'{name}' changes again and again, a constant of the compiled step; steps run eagerly"
            )
            self._traced = None
            return
        try:
            self._trace(batch)
        except Exception as error:
            self._tell(f"after a change of '{name}' steps run eagerly: {reason(error)}")
            self._traced = None

    def _tell(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._say(message)


def reason(error: BaseException) -> str:
    """Return in one line why a step could not be traced or compiled, with the user's line where there is one."""
    if isinstance(error, Untraceable):
        return str(error)
    branch = "DataDependent" in type(error).__name__
    what = (
        "data-dependent branch"
        if branch
        else f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"
    )
    ours = Path(__file__).parent
    libraries = (Path(torch.__file__).parent, Path(pyro.__file__).parent, ours)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not any(path.is_relative_to(library) for library in libraries):
            return f"{what} in {path.name}:{frame.lineno} `{frame.line}`"
    return what
