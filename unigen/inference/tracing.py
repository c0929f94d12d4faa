"""Tracing a whole optimiser step into one graph of tensor operations.

The graph is a function of tensors alone,

    (θ, s, lr, fixed parameters, buffers, batch, captured tensors) ↦ (L, finite, ‖g‖),

that writes the new parameters θ, optimiser state s and buffers into its inputs. Everything else is a constant of the
trace: numbers held by the modules, hyperparameters of the optimiser. ``Traced.frozen`` lists those, so that the
caller notices when one changes. The leading dimension of the batch is a symbol; all other shapes are fixed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from unigen.inference.isolation import (
    own_buffers,
    plain_attributes,
    quiet,
    untouched,
)
from unigen.inference.optimizers import (
    State,
    Untraceable,
    frozen_options,
    group_of,
    rehearse,
    traced_update,
)
from unigen.inference.rehearsal import Rehearsal, rehearse_loss
from unigen.inference.step import Step

Slot = tuple[dict[str, Any], str]  # where a tensor or number lives: a dictionary and its key
_DECOMPOSED = [
    torch.ops.aten.lerp.Tensor,  # does not broadcast symbolic shapes
    torch.ops.aten.native_batch_norm.default,  # these write running statistics without saying so
    torch.ops.aten.cudnn_batch_norm.default,
]
_LIFTS = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default)


@dataclass(frozen=True)
class Traced:
    """A traced step, and where its inputs live.

    Args:
        graph: The operations.
        fakes: Stand-ins for the inputs in their order: ``moved``, the tensors of ``states``, a learning rate for
            each group, ``others``, ``batch``, ``captured``.
        moved: Parameters that get a gradient.
        states: Initial optimiser state of each; empty if the update is not part of the graph.
        others: Fixed parameters and all buffers.
        batch: Stand-ins for the batch tensors.
        captured: Tensors reached in other ways than as parameter or buffer.
        frozen: (dictionary, key, value) of the numbers that are constants of the trace.
        shapes: The symbols of the trace and their guards.
    """

    graph: GraphModule
    fakes: list[Any]
    moved: list[nn.Parameter]
    states: list[State]
    others: list[Slot]
    batch: list[Any]
    captured: list[Tensor]
    frozen: list[tuple[dict[str, Any], str, Any]]
    shapes: ShapeEnv

    def fits(self, batch: Sequence[Tensor]) -> bool:
        """Return whether the trace holds for tensors like these."""
        if len(batch) != len(self.batch):
            return False
        same = all(
            b.dim() == f.dim() and (b.dtype, b.device, b.shape[1:]) == (f.dtype, f.device, f.shape[1:])
            for b, f in zip(batch, self.batch, strict=True)
        )
        return same and self.shapes.evaluate_guards_for_args(self.batch, list(batch), ignore_static=False)

    def symbolic(self, batch: Sequence[Tensor]) -> bool:
        """Return whether the trace made on this batch holds for another batch size too."""
        longer = [
            torch.empty((b.shape[0] + 1, *b.shape[1:]) if b.dim() else (), device="meta") for b in batch
        ]
        return self.shapes.evaluate_guards_for_args(self.batch, longer, ignore_static=False)


def trace_step(step: Step, batch: Sequence[Tensor | None], update: bool) -> tuple[Traced, Rehearsal]:
    """Trace one step on an example batch of at least two examples; nothing is changed by it.

    Args:
        step: Loss, parameters, optimiser and clipping norm.
        batch: Arguments of the loss.
        update: Put the optimiser's update into the graph; otherwise the graph returns the clipped gradients too.

    Raises:
        Untraceable: The step does what a trace cannot hold. Errors of torch's own tracer pass through.
    """
    _refuse_wrappers(step)
    rehearsal = rehearse_loss(step, batch)
    program = _Program(step, batch, rehearsal, update)
    frozen = plain_attributes(step.loss) + (frozen_options(step.optimizer) if update else [])
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    still = [mode.from_tensor(t.detach(), static_shapes=True) for t in program.still()]
    moving = [_symbolic(mode, b) for b in batch if b is not None]
    with untouched(step.loss), mode, quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table: Any = {**get_decompositions(_DECOMPOSED), torch.ops.aten.constant_pad_nd.default: _pad}
        graph = make_fx(program, decomposition_table=table)(*still, *moving)
        changed = [key for d, key, value in frozen if not unchanged(d, key, value)]
    if changed:
        raise Untraceable(f"the loss changes its attribute '{changed[0]}' as it runs; make it a buffer")
    captured = _lift_captured(graph, mode)
    if any(t is p for t in captured for p in step.parameters.values()):
        raise Untraceable("the loss reaches a parameter otherwise than through its submodules")
    fakes = [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]
    assert mode.shape_env is not None
    traced = Traced(
        graph, fakes, program.moved, program.states, program.slots, moving, captured, frozen, mode.shape_env
    )
    return traced, rehearsal


class _Program:
    """The step as a function of tensors that writes into its first arguments."""

    def __init__(
        self, step: Step, batch: Sequence[Tensor | None], rehearsal: Rehearsal, update: bool
    ) -> None:
        self.step, self.update, self.stirred = step, update, rehearsal.changed
        self.present = [b is not None for b in batch]
        self.moved = [p for p, yes in zip(step.parameters.values(), rehearsal.reached, strict=True) if yes]
        self.groups = group_of(step.optimizer, self.moved)
        self.states = rehearse(step.optimizer, self.moved) if update else [{} for _ in self.moved]
        ids = {id(p) for p in self.moved}
        self.names = {id(p): name for name, p in step.loss.named_parameters()}
        self.fixed = {name: p for name, p in step.loss.named_parameters() if id(p) not in ids}
        self.buffers = dict(step.loss.named_buffers())
        slots = {id(b): (owner._buffers, name) for owner, name, b in own_buffers(step.loss)}
        slots |= {
            id(p): (m._parameters, name) for m in step.loss.modules() for name, p in m._parameters.items()
        }
        self.slots: list[Slot] = [slots[id(t)] for t in (*self.fixed.values(), *self.buffers.values())]

    def still(self) -> list[Tensor]:
        """Return the inputs of fixed shape."""
        state = [t for entries in self.states for t in entries.values() if isinstance(t, Tensor)]
        rates = [torch.zeros((), dtype=torch.float64) for _ in self.step.optimizer.param_groups]
        return [*self.moved, *state, *rates, *self.fixed.values(), *self.buffers.values()]

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        take = iter(tensors)
        params = list(islice(take, len(self.moved)))
        states = [
            {k: next(take) if isinstance(v, Tensor) else v for k, v in entries.items()}
            for entries in self.states
        ]
        rates = list(islice(take, len(self.step.optimizer.param_groups)))
        fixed = [next(take).detach().requires_grad_(p.requires_grad) for p in self.fixed.values()]
        buffers = list(islice(take, len(self.buffers)))
        batch = [next(take) if present else None for present in self.present]
        loss, grads, changed = self._gradients(params, fixed, buffers, batch)
        with torch.no_grad():
            norm = get_total_norm(grads, foreach=False)
            finite = torch.isfinite(loss) & torch.isfinite(norm)
            if self.step.clip is not None:
                shrink = torch.clamp(self.step.clip / (norm + 1e-6), max=1.0)
                grads = [g * shrink for g in grads]
            for old, new in changed:
                _write(old, new, finite)
            if not self.update:
                return [loss, finite, norm, *grads]
            copies = [p.clone() for p in params]
            updated = traced_update(self.step.optimizer, self.groups, copies, grads, states, rates)
            for old, new in zip(params, copies, strict=True):
                _write(old, new, finite)
            for state, news in zip(states, updated, strict=True):
                for key, value in state.items():
                    if isinstance(value, Tensor):
                        _write(value, news[key], finite)
        return [loss, finite, norm]

    def _gradients(
        self, params: list[Tensor], fixed: list[Tensor], buffers: list[Tensor], batch: list[Tensor | None]
    ) -> tuple[Tensor, list[Tensor], list[tuple[Tensor, Tensor]]]:
        """Return the loss, its gradients, and (old, new) of the buffers that it changed."""
        with torch.enable_grad():
            live = [p.detach().requires_grad_() for p in params]
            copies = dict(zip(self.buffers, [b.clone() for b in buffers], strict=True))
            versions = {name: b._version for name, b in copies.items()}
            values = dict(zip((self.names[id(p)] for p in self.moved), live, strict=True))
            values |= dict(zip(self.fixed, fixed, strict=True)) | copies
            loss = functional_call(self.step.loss, values, tuple(batch))
            grads = list(torch.autograd.grad(loss, live))
        changed = [
            (old, values[name])
            for old, (name, copy) in zip(buffers, copies.items(), strict=True)
            if name in self.stirred or values[name] is not copy or copy._version != versions[name]
        ]
        return loss.detach(), grads, changed


def _pad(x: Tensor, pad: Sequence[int], value: float = 0.0) -> Tensor:
    """Pad with a constant, from the last dimension on; torch's own fixes symbolic shapes."""
    for i, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        dim = x.dim() - 1 - i
        cut = x.narrow(dim, max(-before, 0), x.shape[dim] - max(-before, 0) - max(-after, 0))
        shape = list(x.shape)
        blocks = [x.new_full((*shape[:dim], k, *shape[dim + 1 :]), value) for k in (before, after) if k > 0]
        x = torch.cat([*blocks[: int(before > 0)], cut, *blocks[int(before > 0) :]], dim)
    return x


def unchanged(slot: dict[str, Any], key: str, value: Any) -> bool:
    """Return whether a constant of a trace still has its value."""
    now = slot.get(key, _MISSING)
    return now is value or (type(now) is type(value) and not isinstance(now, Tensor) and now == value)


_MISSING = object()


def _write(old: Tensor, new: Tensor, finite: Tensor) -> None:
    old.copy_(torch.where(finite.to(old.device), new.to(old.dtype), old))


def _symbolic(mode: FakeTensorMode, b: Tensor) -> Tensor:
    sizes = [DimDynamic.DUCK if i == 0 else DimDynamic.STATIC for i in range(b.dim())]
    return mode.from_tensor(
        b.detach().contiguous(), symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes)
    )


def _refuse_wrappers(step: Step) -> None:
    """Refuse what acts on gradients outside the graph: it would silently be left out."""
    if any(isinstance(m, DistributedDataParallel) for m in step.loss.modules()):
        raise Untraceable("DistributedDataParallel averages gradients outside the graph")
    for name, p in step.parameters.items():
        if type(p.data) is not Tensor:
            raise Untraceable(f"parameter '{name}' is a {type(p.data).__name__}")
        if p._backward_hooks or p._post_accumulate_grad_hooks:
            raise Untraceable(f"parameter '{name}' has gradient hooks")


def _lift_captured(graph: GraphModule, mode: FakeTensorMode) -> list[Tensor]:
    """Turn tensors that the trace met on its way into inputs, so that their later values are seen."""
    captured: dict[str, Tensor] = {}
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    inputs: dict[str, Any] = {}
    for node in list(graph.graph.nodes):
        if node.op != "get_attr" or all(user.target in _LIFTS for user in node.users):
            continue
        name = str(node.target)
        if name not in inputs:
            captured[name] = getattr(graph, name)
            with graph.graph.inserting_after(last):
                last = inputs[name] = graph.graph.placeholder(f"captured_{len(inputs)}")
            last.meta["val"] = mode.from_tensor(captured[name].detach(), static_shapes=True)
        node.replace_all_uses_with(inputs[name])
        graph.graph.erase_node(node)
    graph.recompile()
    return list(captured.values())
