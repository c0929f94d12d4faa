"""One prior over a whole parameter, from a distribution of its shape or of one that broadcasts to it."""

from __future__ import annotations

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from unigen.distributions.moved import moved
from unigen.errors import ShapeError


def spread(fn: TorchDistribution, parameter: Tensor, name: str = "", program: str = "") -> TorchDistribution:
    """Return a distribution over all entries of a parameter, on its device and in its dtype.

    Args:
        fn: Of the parameter's shape, or spread over it: its event dimensions are the parameter's last ones.
        parameter: Any tensor.
        name: Of the parameter, for messages.
        program: Whose it is, for messages.

    Returns:
        A distribution without batch dimensions whose event shape is that of the parameter.

    Raises:
        ShapeError: It does not fit.

    Example:
        >>> import pyro.distributions as dist
        >>> spread(dist.Normal(0.0, 1.0), torch.zeros(3, 2)).event_shape
        torch.Size([3, 2])
    """
    own, shape, event = fn.batch_shape + fn.event_shape, parameter.shape, len(fn.event_shape)
    try:
        fits = torch.broadcast_shapes(own, shape) == shape and shape[len(shape) - event :] == fn.event_shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ShapeError(
            "the prior does not have the shape of the parameter", program=program, site=name, got=tuple(own),
            expected=tuple(shape), hint="dist.Normal(0.0, 1.0) is spread over all entries",
        )  # fmt: skip
    batch = shape[: len(shape) - event]
    with pyro.validation_enabled(
        False
    ):  # an expanded copy keeps the setting; a traced density may not branch
        whole = fn.expand(batch).to_event(len(batch))

    def like(value: Tensor) -> Tensor:
        return value.to(parameter.device, parameter.dtype if value.is_floating_point() else None)

    return moved(whole, like)
