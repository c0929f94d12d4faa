"""One real evaluation of loss and gradient on copies: what a traced and compiled step has to reproduce."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.utils import get_total_norm

from unigen.inference.isolation import generators_kept, plain_attributes, quiet, store_kept
from unigen.inference.optimizers import Untraceable
from unigen.inference.step import Step


@dataclass(frozen=True)
class Rehearsal:
    """What one evaluation on the example batch gave.

    Args:
        loss: L, shape ().
        norm: ‖g‖, shape ().
        reached: For each parameter that may move, whether it got a gradient.
        buffers: All buffers afterwards, by name.
        changed: Names of the buffers that the loss changed.
        generator: State of torch's generator afterwards.
    """

    loss: Tensor
    norm: Tensor
    reached: list[bool]
    buffers: dict[str, Tensor]
    changed: set[str]
    generator: Tensor

    def difference(
        self, loss: Tensor, norm: Tensor, buffers: Sequence[Tensor] | None, generator: Tensor
    ) -> str | None:
        """Return in words how another evaluation from the same seed differs by more than rounding, or None."""
        if not torch.equal(generator, self.generator):
            return "other random draws"
        pairs = {"loss": (loss, self.loss), "gradient norm": (norm, self.norm)}
        if buffers is not None:
            pairs |= {
                f"buffer '{k}'": (b, self.buffers[k]) for k, b in zip(self.buffers, buffers, strict=True)
            }
        for name, (a, b) in pairs.items():
            if not torch.allclose(a.double(), b.double(), rtol=1e-2, atol=1e-3, equal_nan=True):
                values = f" {float(a):.6g} in place of {float(b):.6g}" if b.numel() == 1 else ""
                return f"{name}{values}"
        return None


def rehearse_loss(step: Step, batch: Sequence[Tensor | None]) -> Rehearsal:
    """Evaluate loss and gradient for real; generators, buffers, numbers in modules and Pyro's store are put back.

    Raises:
        Untraceable: The loss draws from the generators of Python or NumPy.
    """
    parameters = list(step.parameters.values())
    originals = dict(step.loss.named_buffers())
    buffers = {name: b.clone() for name, b in originals.items()}
    before = plain_attributes(step.loss)
    try:
        with generators_kept() as others_ran, store_kept(), quiet():
            loss = functional_call(step.loss, buffers, tuple(batch))
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            generator = torch.get_rng_state()
            foreign = others_ran()
    finally:
        for attributes, name, value in before:
            attributes[name] = value  # a counter, say; caches made on the first call may stay
    if foreign:
        raise Untraceable("the loss draws random numbers from Python or NumPy, not from torch")
    return Rehearsal(
        loss=loss.detach(),
        norm=get_total_norm([g for g in found if g is not None]),
        reached=[g is not None for g in found],
        buffers={name: b.detach() for name, b in buffers.items()},
        changed={name for name, b in originals.items() if not same_values(b, buffers[name])},
        generator=generator,
    )


def same_values(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal bit for bit, NaN equal to NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
