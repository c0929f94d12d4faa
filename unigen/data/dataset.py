"""A data set: training, validation and test tensors, their labels, and how they were scaled."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.data.dequantise import Dequantise
from unigen.errors import ArgumentError, EmptyDataError, NonFiniteError, ShapeError, UnknownNameError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Three disjoint samples of one distribution.

    Args:
        name: What the data are called.
        train: Shape (N, *event).
        validation: Shape (M, *event).
        test: Shape (T, *event).
        train_labels: Integer labels (N,), or None.
        validation_labels: Integer labels (M,), or None.
        test_labels: Integer labels (T,), or None.
        levels: L, the factor by which integer data were divided after dequantisation; 1 otherwise. It is what
            ``LogProb.bits_per_dim(levels=data.levels)`` wants.
        dequantise: The module that made the data from integers, for fresh noise; None for continuous data.
        image_shape: (height, width) of one flattened image, for plots; None if the data are no images.
        source: Where the data come from.

    Raises:
        EmptyDataError: If a split is empty.
        ShapeError: If splits or labels disagree in shape.
        NonFiniteError: If a value is NaN or infinite.
        ArgumentError: If ``levels`` is not positive.

    Example:
        >>> data = Dataset("noise", torch.randn(5, 2), torch.randn(3, 2), torch.randn(3, 2))
        >>> data
        Dataset noise: train 5, validation 3, test 3, event shape (2,)
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    validation_labels: Tensor | None = None
    test_labels: Tensor | None = None
    levels: int = 1
    dequantise: Dequantise | None = None
    image_shape: tuple[int, int] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        """Check shapes and values."""
        if self.levels < 1:
            raise ArgumentError(
                program=self.name, site="levels", got=self.levels, expected="a positive integer"
            )
        for name in SPLITS:
            x, y = getattr(self, name), getattr(self, f"{name}_labels")
            if x.dim() < 2 or x.shape[1:] != self.train.shape[1:]:
                raise ShapeError(
                    program=self.name,
                    site=name,
                    got=tuple(x.shape),
                    expected=("N", *self.train.shape[1:]) if self.train.dim() > 1 else "(N, *event)",
                )
            if x.shape[0] == 0:
                raise EmptyDataError(program=self.name, site=name, got="no examples", expected="at least one")
            if not bool(torch.isfinite(x).all()):
                raise NonFiniteError(program=self.name, site=name, got="NaN or infinity", expected="numbers")
            if y is not None and y.shape != x.shape[:1]:
                raise ShapeError(
                    program=self.name, site=f"{name}_labels", got=tuple(y.shape), expected=(x.shape[0],)
                )

    @property
    def event_shape(self) -> torch.Size:
        """Shape of one example."""
        return self.train.shape[1:]

    @property
    def dims(self) -> int:
        """D, the number of dimensions of one example."""
        return self.event_shape.numel()

    @property
    def classes(self) -> int:
        """Number of classes, the largest label plus one; 0 without labels."""
        labels = [y for name in SPLITS if (y := getattr(self, f"{name}_labels")) is not None]
        return max((int(y.max()) + 1 for y in labels), default=0)

    def context(self, split: str = "train") -> Tensor:
        """One-hot labels, as the context of a conditional program.

        Args:
            split: "train", "validation" or "test".

        Returns:
            Shape (N, C), of the data's dtype.

        Raises:
            UnknownNameError: If there is no such split.
            ArgumentError: If the data have no labels.
        """
        if split not in SPLITS:
            raise UnknownNameError(program=self.name, got=split, expected=f"one of {SPLITS}")
        labels = getattr(self, f"{split}_labels")
        if labels is None:
            raise ArgumentError(program=self.name, got="no labels", expected="labelled data")
        return torch.nn.functional.one_hot(labels.long(), self.classes).to(self.train.dtype)

    def fresh_train(self, generator: torch.Generator | None = None) -> Tensor:
        """Training images under a fresh draw of dequantisation noise; unchanged data when continuous.

        Args:
            generator: Where the noise is drawn from; the global one when None.

        Returns:
            Shape (N, *event).
        """
        if self.dequantise is None or self.levels == 1:
            return self.train
        return self.dequantise.fresh(self.train, generator)

    def reshaped(self, shape: torch.Size | tuple[int, ...]) -> Dataset:
        """Return the same examples in another shape, e.g. (1, 8, 8) for images.

        Raises:
            RuntimeError: The shapes have different numbers of entries.
        """
        splits = {name: getattr(self, name).reshape(-1, *shape) for name in ("train", "validation", "test")}
        return dataclasses.replace(self, **splits)

    def to(self, device: torch.device | str) -> Dataset:
        """Copy the data set to a device.

        Args:
            device: Where to.

        Returns:
            The same data there.
        """
        moved = {
            field.name: value.to(device)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return dataclasses.replace(self, **moved)

    def __repr__(self) -> str:
        """Name, sizes and scaling in one line."""
        sizes = ", ".join(f"{name} {getattr(self, name).shape[0]}" for name in SPLITS)
        parts = [sizes, f"event shape {tuple(self.event_shape)}"]
        parts += [f"{self.dequantise.levels} grey levels"] if self.dequantise is not None else []
        parts += ["dequantised"] if self.levels > 1 else []
        parts += [f"{self.classes} classes"] if self.classes else []
        return f"Dataset {self.name}: " + ", ".join(parts)
