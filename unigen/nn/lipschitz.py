"""Constraints on the weights of a network that bound its Lipschitz constant.

    WeightClipping   every weight and bias in [−c, c]
    SpectralNorm     W / sigma(W) in place of each weight W, sigma its largest singular value

Both are parametrisations: they hold within every evaluation, whoever takes the steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from unigen.errors import ArgumentError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class WeightConstraint(ABC):
    """What is done to the weights of a network, once, when the critic is made. Stateless."""

    @abstractmethod
    def constrain(self, net: nn.Module) -> None:
        """Constrain the linear and convolutional layers of a network, in place."""

    def __repr__(self) -> str:
        """Return the class and its options."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


def _layers(net: nn.Module) -> list[nn.Module]:
    found: list[nn.Module] = [module for module in net.modules() if isinstance(module, LAYERS)]
    if not found:
        raise ArgumentError(
            "the network has no layer whose weights could be constrained",
            program="Critic", site="net", got=type(net).__name__, expected="linear or convolutional layers",
        )  # fmt: skip
    return found


class _Projected(torch.autograd.Function):
    """min(max(w, −c), c), with the gradient of a projected step: none that would push a clipped weight further out."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, c: float) -> Tensor:
        ctx.save_for_backward(w)
        ctx.c = c
        return w.clamp(-c, c)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        (w,), grad = ctx.saved_tensors, grads[0]
        outwards = ((w > ctx.c) & (grad < 0)) | ((w < -ctx.c) & (grad > 0))
        return torch.where(outwards, torch.zeros_like(grad), grad), None


class _Clip(nn.Module):
    def __init__(self, c: float) -> None:
        super().__init__()
        self.c = c

    def forward(self, w: Tensor) -> Tensor:
        clipped: Any = _Projected.apply(w, self.c)
        return clipped

    def right_inverse(self, w: Tensor) -> Tensor:
        return w.clamp(-self.c, self.c)


@final
class WeightClipping(WeightConstraint):
    """Keep every weight and bias in [−c, c]; the network is then Lipschitz with a constant nobody knows.

    A weight beyond the boundary follows its gradient inwards and never further out, so that it leaves the box by one
    step at most, and counts as the boundary there.

    Args:
        c: Largest absolute value.

    Raises:
        ArgumentError: c ≤ 0.

    References:
        Arjovsky, Chintala & Bottou, Wasserstein GAN, 2017.

    Example:
        >>> net = nn.Linear(3, 2)
        >>> WeightClipping(0.01).constrain(net)
        >>> bool((net.weight.abs() <= 0.01).all())
        True
    """

    def __init__(self, c: float = 0.01) -> None:
        if not c > 0:
            raise ArgumentError(program="WeightClipping", site="c", got=c, expected="> 0")
        self.c = c

    def constrain(self, net: nn.Module) -> None:
        """Clip the weights and biases of every layer."""
        for layer in _layers(net):
            for name in [name for name, p in layer.named_parameters(recurse=False) if p is not None]:
                parametrize.register_parametrization(layer, name, _Clip(self.c))


@final
class SpectralNorm(WeightConstraint):
    """Divide each weight by an estimate of its largest singular value, so that every layer has Lipschitz constant 1.

    The estimate is torch's, by power iterations that go on with every evaluation in training mode.

    Args:
        iterations: Power iterations an evaluation.

    Raises:
        ArgumentError: iterations < 1.

    References:
        Miyato, Kataoka, Koyama & Yoshida, Spectral normalization for generative adversarial networks, 2018.

    Example:
        >>> net = nn.Linear(3, 2)
        >>> SpectralNorm(30).constrain(net)
        >>> bool((torch.linalg.matrix_norm(net.weight, 2) - 1).abs() < 1e-3)
        True
    """

    def __init__(self, iterations: int = 1) -> None:
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise ArgumentError(
                program="SpectralNorm", site="iterations", got=iterations, expected="a positive integer"
            )
        self.iterations = iterations

    def constrain(self, net: nn.Module) -> None:
        """Normalise the weight of every layer."""
        for layer in _layers(net):
            spectral_norm(layer, "weight", n_power_iterations=self.iterations)
