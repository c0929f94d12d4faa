"""Free bits: KL terms that are paid for only above a minimum.

    Σ_j max(λ, E_i[KL_ij]),    KL_ij of group j of z and example i, E_i the mean over the minibatch,

so that a group may carry λ nats at no cost, and no gradient presses it below (Kingma et al. 2016, eq. 15).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.errors import ArgumentError, SiteError

Average = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FreeBits:
    """λ nats for each group of entries of a latent.

    Args:
        nats: λ ≥ 0.
        groups: How many groups of consecutive entries each latent site is divided into; None: every entry is one.
            A site whose prior or posterior does not factorise over its entries is one group.

    Raises:
        ArgumentError: λ is negative or not finite, or ``groups`` no positive integer.

    References:
        Kingma et al., Improved variational inference with inverse autoregressive flow, 2016.
    """

    nats: float
    groups: int | None = None

    def __post_init__(self) -> None:
        number = isinstance(self.nats, (int, float)) and not isinstance(self.nats, bool)
        if not number or not 0 <= self.nats < math.inf:
            raise ArgumentError(site="free_bits", got=self.nats, expected="a finite number of nats ≥ 0")
        whole = isinstance(self.groups, int) and not isinstance(self.groups, bool) and self.groups >= 1
        if self.groups is not None and not whole:
            raise ArgumentError(site="groups", got=self.groups, expected="an integer ≥ 1, or None")

    def _grouped(self, name: str, terms: Tensor) -> Tensor:
        """Sum terms (D, …) of one site to (groups, …)."""
        entries = terms.shape[0]
        if self.groups is None or entries == 1:
            return terms
        if entries % self.groups:
            raise SiteError(
                "the entries do not divide into groups of one size",
                site=name,
                got=f"{entries} entries",
                expected=f"a multiple of groups={self.groups}",
            )
        return terms.unflatten(0, (self.groups, entries // self.groups)).sum(1)

    def correction(self, entries: Mapping[str, Tensor], average: Average) -> Tensor | float:
        """Return what turns Σ_j log p_j − log q_j into its free-bits value, particle by particle.

        Group j below its minimum has its terms t_kij replaced by −λ; that E_i[−t] > λ is taken as a constant.

        Args:
            entries: Terms of each site, shape (D, K, N); see ``LogWeights.entries``.
            average: Mean over the particles, (…, K, N) → (…, N).

        Returns:
            Shape (K, N).
        """
        total: Tensor | float = 0.0
        for name, terms in entries.items():
            t = self._grouped(name, terms)
            paid = (-average(t.detach()).mean(-1) > self.nats)[:, None, None]
            total = total + torch.where(paid, torch.zeros_like(t), -self.nats - t).sum(0)
        return total


def as_free_bits(given: float | FreeBits) -> FreeBits | None:
    """Return the free bits that a number stands for, or None for 0.

    Raises:
        ArgumentError: It is negative or not finite.
    """
    made = given if isinstance(given, FreeBits) else FreeBits(given)
    return made if made.nats > 0 else None
