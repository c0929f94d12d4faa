"""A codebook: vectors replaced by the nearest of K entries, which follow the vectors by moving averages.

    k(v) = argmin_k ‖v − e_k‖,    n_k ← γ n_k + (1 − γ) Σ_i 1{k(v_i) = k},    s_k ← γ s_k + (1 − γ) Σ_{k(v_i) = k} v_i

and e_k = s_k / n_k, with the sums over the vectors of a batch. An entry that is hardly used starts anew at a vector of
the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unigen.errors import ArgumentError


class Codebook(nn.Module):
    """K entries of L numbers each, in buffers: no gradient moves them.

    Args:
        codes: K.
        features: L.
        decay: γ.
        restart: An entry starts anew when its share of the vectors falls below this fraction of 1 / K; 0 for never.

    Raises:
        ArgumentError: A size below one, γ outside (0, 1), or a fraction outside [0, 1).

    References:
        van den Oord, Vinyals & Kavukcuoglu, Neural discrete representation learning, NeurIPS 2017, appendix A.1;
        Dhariwal et al., Jukebox, 2020 (restarts).

    Example:
        >>> k, e, distance = Codebook(codes=8, features=2).eval()(torch.randn(5, 3, 2))
        >>> k.shape, e.shape, distance.shape
        (torch.Size([5, 3]), torch.Size([5, 3, 2]), torch.Size([5, 3]))
    """

    entries: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int, features: int, *, decay: float = 0.99, restart: float = 0.1) -> None:
        super().__init__()
        if min(codes, features) < 1 or not 0 < decay < 1 or not 0 <= restart < 1:
            raise ArgumentError(
                program="Codebook",
                got=f"codes={codes}, features={features}, decay={decay}, restart={restart}",
                expected="sizes ≥ 1, 0 < decay < 1 and 0 ≤ restart < 1",
            )
        self.codes, self.features, self.decay, self.restart = codes, features, decay, restart
        self.register_buffer("entries", torch.randn(codes, features))
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", self.entries.clone())

    def nearest(self, v: Tensor) -> Tensor:
        """Return the index of the nearest entry of vectors (..., L), shape (...)."""
        return (self.entries.square().sum(-1) - 2 * v @ self.entries.mT).argmin(-1)

    def lookup(self, k: Tensor) -> Tensor:
        """Return entries (..., L) of indices (...), integers or integer-valued reals."""
        return self.entries[k.long()]

    def forward(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise vectors; in training the entries follow them.

        Args:
            v: Shape (..., L).

        Returns:
            Indices (...); entries (..., L), with the gradient passed straight on to v; and ‖v − e‖² (...), with a
            gradient in v alone.
        """
        k = self.nearest(v)
        e = self.lookup(k)
        if self.training:
            self._follow(v.detach().reshape(-1, self.features), k.reshape(-1))
        return k, v + (e - v).detach(), (v - e.detach()).square().sum(-1)

    @torch.no_grad()
    def _follow(self, v: Tensor, k: Tensor) -> None:
        """Move the averages by a batch of vectors (M, L) and their indices (M,), and the entries with them."""
        one_hot = (k[:, None] == torch.arange(self.codes, device=k.device)).to(v.dtype)
        counts = self.decay * self.counts + (1 - self.decay) * one_hot.sum(0)
        sums = self.decay * self.sums + (1 - self.decay) * one_hot.mT @ v
        total = counts.sum()
        which = (torch.rand(self.codes, dtype=v.dtype, device=v.device) * v.shape[0]).long()
        unused = counts * self.codes < self.restart * total
        fresh = v[which.clamp_max(v.shape[0] - 1)]
        counts = torch.where(unused, total / self.codes, counts)
        sums = torch.where(unused[:, None], fresh * counts[:, None], sums)
        moved = unused | (one_hot.sum(0) > 0)  # the quotient of the others is the same, until it is 0 / 0
        self.entries.copy_(torch.where(moved[:, None], sums / counts[:, None], self.entries))
        self.counts.copy_(counts)
        self.sums.copy_(sums)

    @torch.no_grad()
    def start_at(self, v: Tensor) -> None:
        """Start the entries at vectors drawn from v (M, L), without replacement as far as there are enough."""
        rows = torch.randperm(v.shape[0])[torch.arange(self.codes) % v.shape[0]].to(v.device)
        self.entries.copy_(v[rows])
        self.counts.fill_(v.shape[0] / self.codes)
        self.sums.copy_(self.entries * self.counts[:, None])

    @property
    def perplexity(self) -> Tensor:
        """exp of the entropy of the shares n_k / Σ n: how many entries are in use, between 1 and K, shape ()."""
        share = self.counts / self.counts.sum()
        return torch.special.entr(share).sum().exp()

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"codes={self.codes}, features={self.features}, decay={self.decay:g}, restart={self.restart:g}"
