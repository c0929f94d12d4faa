"""Feed: an endless, resumable stream of validated batches from whatever the user has.

The order of the data follows from the random state at the start of each epoch, so that state, the epoch and
the position within it say all there is to say about where a run stands.

A ``numpy.memmap`` stays in its file: it is checked a chunk of rows at a time, a batch reads its own rows alone, and
a closed form gets a tensor over the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from unigen.checks import as_tensor, check_context, check_stored
from unigen.errors import ArgumentError, EmptyDataError
from unigen.program import Program

Batch = tuple[Tensor, Tensor | None]

START, FEWEST = 2**21, 256  # numbers, and rows at least, of a file from which starting values are taken


def split_pair(data: Any) -> tuple[Any, Any]:
    """Return (x, context) of a pair, or (x, None) of anything else."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and not isinstance(data[0], (int, float)):
        return data[0], data[1]
    if isinstance(data, (tuple, list)) and len(data) == 1 and not isinstance(data[0], (int, float)):
        return data[0], None
    return data, None


class Feed:
    """Batches of one data source for one program.

    Args:
        program: Whose event shape, support, dtype and device the data must meet.
        data: A tensor, array or ``numpy.memmap`` (N, *event), a pair (x, context), a unigen ``Dataset`` (its
            training split, under fresh dequantisation noise), a torch ``Dataset`` or a ``DataLoader``.
        batch_size: Examples a batch; ignored for a ``DataLoader``, which has its own.

    Raises:
        UnigenError: The data do not fit the program; see ``unigen.checks``.
    """

    def __init__(self, program: Program, data: Any, batch_size: int) -> None:
        if batch_size < 1:
            raise ArgumentError(site="batch_size", got=batch_size, expected="≥ 1")
        self.program = program
        self.noise: Callable[[Tensor], Tensor] | None = None
        self.loader: DataLoader[Any] | None = None
        self.x: Tensor | None = None
        self.context: Tensor | None = None
        self.in_file = False
        if hasattr(data, "train") and hasattr(data, "fresh_train"):
            if data.dequantise is not None and data.levels > 1:
                self.noise = data.dequantise.fresh
            data = (data.train, data.context("train") if program.context_features else None)
        if isinstance(data, TorchDataset):
            data = DataLoader(data, batch_size=batch_size, shuffle=True)
        if isinstance(data, DataLoader):
            self.loader = data
            self.per_epoch = len(data)
            if self.per_epoch == 0:
                raise EmptyDataError(
                    program=program.name, site="data", got="an empty loader", expected="batches"
                )
            self._check(next(iter(data)))
            examples: Any = data.dataset
            self.size = len(examples)
        else:
            filed = self._check_file(data)
            self.in_file = filed is not None
            self.x, self.context = filed or self._check(data)
            self.size = self.x.shape[0]
            self.batch_size = min(batch_size, self.size)
            self.per_epoch = -(-self.size // self.batch_size)
        self.epoch, self.position = 0, 0
        self._epoch_state: Tensor | None = None
        self._batches: Iterator[Batch] | None = None

    def _check(self, batch: Any) -> Batch:
        x, context = split_pair(batch)
        if self.program.context_features == 0 and context is not None and self.loader is not None:
            context = None  # labels of an ordinary data set
        return self.program.check_batch(as_tensor(x, self.program.name), context)

    def _check_file(self, data: Any) -> Batch | None:
        """Return a tensor over a file and its context, or None where the data are in memory."""
        x, context = split_pair(data)
        if not isinstance(x, np.memmap):
            return None
        p = self.program
        option = p.missing is False
        rows = check_stored(x, p.event_shape, p.support, p.dtype, p.name, p.observed, option)
        c = check_context(context, p.context_features, rows.shape[0], p.dtype, p.name)
        return rows, None if c is None else c.to(p.device)

    def _place(self, x: Tensor) -> Tensor:
        """Return rows in the program's dtype and on its device."""
        return x.to(device=self.program.device, dtype=self.program.dtype)

    def _epoch_batches(self) -> Iterator[Batch]:
        if self.loader is not None:
            for batch in self.loader:
                yield self._check(batch)
            return
        assert self.x is not None
        order = torch.randperm(self.size).to(self.x.device)
        for rows in order.split(self.batch_size):
            x = self._place(self.x[rows])
            yield (
                x if self.noise is None else self.noise(x),
                None if self.context is None else self.context[rows.to(self.context.device)],
            )

    def next(self) -> Batch:
        """Return the next batch; a new epoch begins when the last is used up."""
        while True:
            if self._batches is None:
                self._epoch_state = torch.get_rng_state()
                self._batches = self._epoch_batches()
            batch = next(self._batches, None)
            if batch is not None:
                self.position += 1
                return batch
            self._batches, self.position = None, 0
            self.epoch += 1

    def source(self) -> Batch:
        """Return all data for a closed form: those of a file as a tensor over it, in its dtype, on the CPU."""
        return self.everything() if self.x is None else (self.x, self.context)

    def start(self) -> Batch:
        """Return the data that starting values are taken from: all, or a random sample of a file's rows."""
        if self.x is None or not self.in_file or self.x.numel() <= START:
            return self.everything()
        rows = torch.randperm(self.size)[: max(FEWEST, START // self.x.shape[1:].numel())].sort().values
        return self._place(self.x[rows]), None if self.context is None else self.context[
            rows.to(self.context.device)
        ]

    def chunks(self, size: int) -> Iterator[Batch]:
        """Yield all data in order, ``size`` examples at a time."""
        x, context = self.source()
        for i in range(0, x.shape[0], size):
            yield self._place(x[i : i + size]), None if context is None else context[i : i + size]

    def everything(self) -> Batch:
        """Return all data at once, for EM: a file that has another dtype than the program is read into memory."""
        if self.x is not None:
            return self._place(self.x), self.context
        assert self.loader is not None
        batches = [self._check(batch) for batch in self.loader]
        contexts = [c for _, c in batches if c is not None]
        return torch.cat([x for x, _ in batches]), torch.cat(contexts) if contexts else None

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Return where the stream stands, as tensors and integers."""
        tensors = {} if self._epoch_state is None else {"epoch_state": self._epoch_state}
        return tensors, {"epoch": self.epoch, "position": self.position}

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, int]) -> None:
        """Continue a stream; leaves the random state at an arbitrary point, so restore that afterwards."""
        self.epoch, self.position = numbers["epoch"], numbers["position"]
        self._batches = None
        if "epoch_state" not in tensors:
            return
        self._epoch_state = tensors["epoch_state"]
        torch.set_rng_state(self._epoch_state)
        self._batches = self._epoch_batches()
        for _ in range(self.position):
            next(self._batches)
