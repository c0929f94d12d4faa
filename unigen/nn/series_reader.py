"""A recurrent network that reads an irregular series backwards, past the observations that are missing.

h_i = GRU([x_i, o_i, δ_i], h_{i+1}) where anything was observed at t_i, else h_{i+1},   h_{T+1} = 0

Notation: x (N, T, D) with NaN where missing, o the mask of what was observed, δ_i the time from t_i to the next
observation of the same series, in units of the mean gap.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.nn.recurrent import GRUCell


class SeriesReader(nn.Module):
    """Summaries h_i of x_i, …, x_T, for the posterior of a path given what is still to come.

    Args:
        features: D.
        summary: H, length of h.
        times: t_1 < … < t_T.
        missing: Whether x may hold NaN; the mask is then read too.

    References:
        Rubanova, Chen & Duvenaud, Latent ordinary differential equations for irregularly-sampled time series, 2019.

    Example:
        >>> reader = SeriesReader(2, 5, (0.0, 0.4, 1.0), missing=True)
        >>> reader(torch.tensor([[[1.0, 2.0], [torch.nan] * 2, [0.0, torch.nan]]])).shape
        torch.Size([1, 3, 5])
    """

    def __init__(self, features: int, summary: int, times: Sequence[float], missing: bool = False) -> None:
        super().__init__()
        self.features, self.summary, self.missing = features, summary, missing
        gap = (times[-1] - times[0]) / (len(times) - 1)
        self.times = tuple(t / gap for t in times)
        self.cell = GRUCell(features * (2 if missing else 1) + 1, summary)

    def forward(self, x: Tensor) -> Tensor:
        """Return h, shape (N, T, H), from x (N, T, D)."""
        seen = ~x.isnan()
        if self.missing:
            x = torch.cat((torch.where(seen, x, torch.zeros_like(x)), seen.to(x.dtype)), -1)
        some = seen.any(-1, keepdim=True)
        h, path = x.new_zeros(x.shape[0], self.summary), []
        last = x.new_full((x.shape[0], 1), self.times[-1])
        for i in range(len(self.times) - 1, -1, -1):
            new = self.cell(torch.cat((x[:, i], last - self.times[i]), -1), h)
            h = torch.where(some[:, i], new, h) if self.missing else new
            last = torch.where(some[:, i], torch.full_like(last, self.times[i]), last)
            path.append(h)
        return torch.stack(path[::-1], 1)
