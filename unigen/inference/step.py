"""One step of an optimiser: loss, gradient, finiteness, clipping, update.

    g = ∇_θ L(batch),   ĝ = g · min(1, c / (‖g‖ + 1e-6)),   θ ← optimiser(θ, ĝ)

with ‖g‖ the norm over all moved parameters together and c the clipping norm. If L or ‖g‖ is not finite (a norm that
overflows its dtype counts as such), the step is void: parameters, optimiser state and buffers stay what they were,
and only random numbers have been spent. ``unigen.inference.compiled`` gives the same step as one compiled graph.

Pyro's and torch's argument validation is off within a step, so that a NaN ends in ``finite = False`` in every mode;
evaluate the loss once under validation before training.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from unigen.errors import ArgumentError
from unigen.inference.isolation import keep_buffers, quiet, restore_buffers
from unigen.inference.nonfinite import SiteWatch, describe, first


@dataclass(frozen=True)
class StepResult:
    """What one step found; reading a value may wait for the device.

    Args:
        loss: L before the update, detached, shape (), in the unit of the loss.
        finite: Whether loss and gradient were finite, a boolean of shape (); False means that nothing moved.
        grad_norm: ‖g‖ before clipping, shape ().
    """

    loss: Tensor
    finite: Tensor
    grad_norm: Tensor


class Step(ABC):
    """One optimiser step on one batch.

    Args:
        loss: Module whose ``forward(*batch)`` returns a scalar; it holds everything it trains.
        parameters: What moves, by name as in ``loss.named_parameters()``. Other parameters of the loss stay fixed.
        optimizer: Optimiser of exactly these parameters. Its own state is that of the run: read it, save it, load
            it or change its learning rates between steps as with a plain torch loop.
        clip: Largest gradient norm c, or None.

    Raises:
        ArgumentError: Nothing to move, an optimiser of other parameters, or one that needs a closure.
    """

    compiled = False

    def __init__(
        self,
        loss: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        *,
        clip: float | None = None,
    ) -> None:
        _check(loss, parameters, optimizer, clip)
        self.loss, self.parameters, self.optimizer = loss, dict(parameters), optimizer
        self.clip = None if clip is None else float(clip)

    @abstractmethod
    def __call__(self, *batch: Tensor | None) -> StepResult:
        """Take one step on ``batch``, the arguments of the loss."""


class EagerStep(Step):
    """The step as a plain torch loop would take it.

    Gradients are collected by ``backward``, so hooks on parameters and wrappers such as DDP work.

    Example:
        >>> class Square(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.theta = nn.Parameter(torch.tensor([3.0]))
        ...     def forward(self, x):
        ...         return (self.theta * x).square().mean()
        >>> loss = Square()
        >>> step = EagerStep(loss, dict(loss.named_parameters()), torch.optim.SGD(loss.parameters(), lr=0.25))
        >>> result = step(torch.ones(4))
        >>> result.loss.item(), result.grad_norm.item(), loss.theta.tolist()
        (9.0, 6.0, [1.5])
    """

    def __call__(self, *batch: Tensor | None) -> StepResult:
        """Take one step on ``batch``."""
        moved = list(self.parameters.values())
        kept = keep_buffers(self.loss)
        void = True
        for p in moved:
            p.grad = None
        try:
            with quiet():
                loss = self.loss(*batch)
            loss.backward(inputs=moved)
            loss = loss.detach()
            norm = get_total_norm([p.grad for p in moved if p.grad is not None])
            void = not math.isfinite(float(loss + norm))
            if not void:
                if self.clip is not None:
                    clip_grads_with_norm_(moved, self.clip, norm)
                self.optimizer.step()
        finally:
            if void:
                restore_buffers(kept)
            for p in moved:
                p.grad = None
        return StepResult(loss, torch.tensor(not void), norm)


def make_step(
    loss: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    *,
    clip: float | None = None,
    compile: bool = False,
    example: Sequence[Tensor | None] = (),
    say: Callable[[str], object] | None = None,
) -> Step:
    """Return the compiled step if asked for and possible, else the eager one, saying why.

    Args:
        loss: As for ``Step``.
        parameters: As for ``Step``.
        optimizer: As for ``Step``.
        clip: Largest gradient norm, or None.
        compile: Whether to compile.
        example: A batch like those to come, at least two examples; needed for compiling.
        say: Told the reason when a step is not compiled; a ``UserWarning`` if omitted.
    """
    if compile:
        from unigen.inference.compiled import CompiledStep, reason, warn  # heavy, and only needed here

        say = warn if say is None else say
        _check(loss, parameters, optimizer, clip)
        try:
            return CompiledStep(loss, parameters, optimizer, clip=clip, example=example, say=say)
        except Exception as error:  # tracer, compiler and a user's loss may raise anything: eager will tell
            say(f"The step is not compiled and runs eagerly: {reason(error)}")
    return EagerStep(loss, parameters, optimizer, clip=clip)


def diagnose(loss: nn.Module, parameters: Mapping[str, nn.Parameter], *batch: Tensor | None) -> str:
    """Say in one line what first is not finite: batch, parameter, buffer, site of a Pyro program, loss or gradient.

    The loss is run once more, with fresh random draws; generator and buffers are put back.

    Args:
        loss: The loss that misbehaved.
        parameters: The parameters that were to move, by name.
        batch: The batch it misbehaved on.

    Example:
        >>> class Log(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.theta = nn.Parameter(torch.zeros(1))
        ...     def forward(self, x):
        ...         return (self.theta * x).sqrt().sum()
        >>> loss = Log()
        >>> diagnose(loss, dict(loss.named_parameters()), torch.ones(3))
        "gradient of 'theta' is inf (1 of 1 values)"
    """
    named = [(f"batch argument {i}", b) for i, b in enumerate(batch) if b is not None]
    named += [(f"parameter '{name}'", p) for name, p in loss.named_parameters()]
    named += [(f"buffer '{name}'", b) for name, b in loss.named_buffers()]
    found = first(named)
    if found is not None:
        return found
    kept = keep_buffers(loss)
    watch = SiteWatch()
    try:
        with torch.random.fork_rng(), quiet(), torch.enable_grad():
            with watch.watching():
                value = loss(*batch)
            moved = dict(parameters)
            grads = torch.autograd.grad(value, list(moved.values()), allow_unused=True)
    finally:
        restore_buffers(kept)
    named = [(f"gradient of '{name}'", g) for name, g in zip(moved, grads, strict=True) if g is not None]
    return (
        watch.found
        or describe("loss", value)
        or first(named)
        or "everything is finite on a second run: rare random draws, or a gradient norm that overflows"
    )


def _check(
    loss: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    clip: float | None,
) -> None:
    if not parameters:
        raise ArgumentError(
            "nothing to train", site="parameters", got="no parameters", expected="at least one"
        )
    known = {id(p) for p in loss.parameters()}
    strangers = [name for name, p in parameters.items() if id(p) not in known]
    if strangers:
        raise ArgumentError(
            "the loss does not hold what it is to train",
            site="parameters",
            got=strangers,
            expected="names and tensors of loss.named_parameters()",
            hint="register the part that holds them as a submodule of the loss",
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if held != {id(p) for p in parameters.values()}:
        raise ArgumentError(
            "the optimiser moves other parameters than the step",
            site="optimizer",
            got=f"{len(held)} parameters",
            expected=f"the {len(parameters)} parameters of the step",
        )
    closure = inspect.signature(inspect.unwrap(type(optimizer).step)).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ArgumentError(
            "the optimiser evaluates the loss itself",
            site="optimizer",
            got=type(optimizer).__name__,
            expected="an optimiser whose step() needs no closure",
            hint="torch.optim.Adam",
        )
    if clip is not None and not clip > 0:
        raise ArgumentError(site="clip", got=clip, expected="a positive norm, or None")
