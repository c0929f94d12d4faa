"""A classifier of noisy data: p(y | z_t, t) over K classes, for guidance."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from unigen.errors import ArgumentError
from unigen.nn.residual import ResidualMLP


@final
class NoisyClassifier(nn.Module):
    """log p(y | z_t, t) of the class that a context names.

    log p(y | z_t, t) = Σ_k y_k log softmax(f(z_t, t))_k,      f a residual MLP

    Args:
        features: D, length of z_t; examples of another shape are flattened.
        classes: K.
        hidden: Width of the residual MLP.
        blocks: Its number of blocks.
        network: Maps (z_t (N, *event), t (N,)) to logits (N, K); replaces the residual MLP.

    Raises:
        ArgumentError: Fewer than two classes, or a size that is not positive.

    Example:
        >>> import torch
        >>> classifier = NoisyClassifier(2, classes=3, hidden=8)
        >>> classifier(torch.randn(5, 2), torch.rand(5), torch.eye(3)[[0, 1, 2, 0, 1]]).shape
        torch.Size([5])
    """

    def __init__(
        self,
        features: int,
        classes: int,
        hidden: int = 128,
        blocks: int = 2,
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if classes < 2 or features < 1:
            raise ArgumentError(
                program="NoisyClassifier", got=f"features={features}, classes={classes}",
                expected="features ≥ 1, classes ≥ 2",
            )  # fmt: skip
        self.features, self.classes, self.hidden, self.blocks = features, classes, hidden, blocks
        self.context_features = classes
        self.network, self.body = network, None
        if network is None:
            self.body = ResidualMLP(features, hidden, blocks)
            self.body.output = nn.Linear(hidden, classes)

    def logits(self, z_t: Tensor, t: Tensor) -> Tensor:
        """Logits of the classes, (N, K), of noisy data (N, *event) at times (N,)."""
        if self.body is not None:
            return self.body(z_t.flatten(1), t)
        assert self.network is not None
        return self.network(z_t, t)

    def forward(self, z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """Return log p(y | z_t, t) in nats, (N,), of one-hot labels (N, K)."""
        return (self.logits(z_t, t).log_softmax(-1) * context).sum(-1)
