r"""f-divergences, as a critic meets them: by a bound from below that is tight at a function of the density ratio.

Notation: p the data, q the program, r = p/q, v the critic's unrestricted output. For a convex φ with φ(1) = 0 and its
conjugate φ*(t) = sup_u (u t − φ(u)),

    D_φ(p‖q) = E_q φ(r) ≥ E_p T − E_q φ*(T),    T = g(v),    with equality at T = φ'(r),

where the output activation g maps the reals onto the domain of φ*.

    divergence          φ(u)                              g(v)                     φ*(t)              optimal v
    KL(p‖q)             u log u                           v                        exp(t − 1)         1 + log r
    KL(q‖p)             −log u                            −exp(−v)                 −1 − log(−t)       log r
    Pearson χ²          (u − 1)²                          v                        t²/4 + t           2 (r − 1)
    squared Hellinger   (√u − 1)²                         1 − exp(−v)              t / (1 − t)        ½ log r
    Jensen–Shannon      u log u − (u + 1) log ((u + 1)/2) log 2 − log(1 + exp(−v)) −log(2 − exp t)    log r
    total variation     ½ |u − 1|                         ½ tanh v                 t                  ±∞, sign of log r
    Le Cam              (u − 1)² / (u + 1)                1 − 4 (1 − v)²           4 − t − 4 √(1 − t) r / (1 + r)

The fourth is ∫ (√p − √q)², the fifth 2 JSD, the last ∫ (p − q)² / (p + q), which a least-squares critic measures.

References: Nowozin, Cseke & Tomioka, f-GAN, 2016; Nguyen, Wainwright & Jordan 2010; Mao et al. 2017.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from unigen.nn.f_divergence import FDivergence

softplus = nn.functional.softplus


@final
class KullbackLeibler(FDivergence):
    """KL(p‖q) = E_p log p/q, in nats.

    Example:
        >>> KullbackLeibler().log_ratio(torch.tensor([1.0]))
        tensor([0.])
    """

    label = "KL(p‖q)"

    def phi(self, u: Tensor) -> Tensor:
        """u log u."""
        return u * u.log()

    def activation(self, v: Tensor) -> Tensor:
        """v."""
        return v

    def conjugate(self, t: Tensor) -> Tensor:
        """exp(t − 1)."""
        return (t - 1).exp()

    def composed(self, v: Tensor) -> Tensor:
        """exp(v − 1)."""
        return (v - 1).exp()

    def optimum(self, log_ratio: Tensor) -> Tensor:
        """1 + log r."""
        return 1 + log_ratio

    def log_ratio(self, v: Tensor) -> Tensor:
        """v − 1."""
        return v - 1


@final
class ReverseKL(FDivergence):
    """KL(q‖p) = E_q log q/p, in nats."""

    label = "KL(q‖p)"

    def phi(self, u: Tensor) -> Tensor:
        """−log u."""
        return -u.log()

    def activation(self, v: Tensor) -> Tensor:
        """−exp(−v)."""
        return -(-v).exp()

    def conjugate(self, t: Tensor) -> Tensor:
        """−1 − log(−t)."""
        return -1 - (-t).log()

    def composed(self, v: Tensor) -> Tensor:
        """v − 1."""
        return v - 1

    def optimum(self, log_ratio: Tensor) -> Tensor:
        """log r."""
        return log_ratio

    def log_ratio(self, v: Tensor) -> Tensor:
        """v."""
        return v


@final
class PearsonChi2(FDivergence):
    """χ²(p‖q) = E_q (p/q − 1)², without unit."""

    label = "Pearson χ²"

    def phi(self, u: Tensor) -> Tensor:
        """(u − 1)²."""
        return (u - 1).square()

    def activation(self, v: Tensor) -> Tensor:
        """v."""
        return v

    def conjugate(self, t: Tensor) -> Tensor:
        """t²/4 + t."""
        return t.square() / 4 + t

    def composed(self, v: Tensor) -> Tensor:
        """v²/4 + v."""
        return v.square() / 4 + v

    def optimum(self, log_ratio: Tensor) -> Tensor:
        """2 (r − 1)."""
        return 2 * log_ratio.expm1()

    def log_ratio(self, v: Tensor) -> Tensor:
        """log(1 + v/2), at the smallest positive number where a critic claims a negative ratio."""
        return (1 + v / 2).clamp_min(torch.finfo(v.dtype).tiny).log()


@final
class SquaredHellinger(FDivergence):
    """∫ (√p − √q)² = 2 − 2 ∫ √(p q), without unit, between 0 and 2."""

    label = "squared Hellinger"

    def phi(self, u: Tensor) -> Tensor:
        """(√u − 1)²."""
        return (u.sqrt() - 1).square()

    def activation(self, v: Tensor) -> Tensor:
        """1 − exp(−v)."""
        return -torch.expm1(-v)

    def conjugate(self, t: Tensor) -> Tensor:
        """t / (1 − t)."""
        return t / (1 - t)

    def composed(self, v: Tensor) -> Tensor:
        """exp(v) − 1."""
        return torch.expm1(v)

    def optimum(self, log_ratio: Tensor) -> Tensor:
        """½ log r."""
        return 0.5 * log_ratio

    def log_ratio(self, v: Tensor) -> Tensor:
        """2 v."""
        return 2 * v


@final
class JensenShannon(FDivergence):
    """2 JSD(p, q) = KL(p‖m) + KL(q‖m), m = (p + q)/2, in nats, between 0 and 2 log 2; v is the logit of D."""

    label = "2 JSD"

    def phi(self, u: Tensor) -> Tensor:
        """u log u − (u + 1) log ((u + 1)/2)."""
        return u * u.log() - (u + 1) * ((u + 1) / 2).log()

    def activation(self, v: Tensor) -> Tensor:
        """log 2 − log(1 + exp(−v))."""
        return math.log(2.0) - softplus(-v)

    def conjugate(self, t: Tensor) -> Tensor:
        """−log(2 − exp t)."""
        return -(2 - t.exp()).log()

    def composed(self, v: Tensor) -> Tensor:
        """log(1 + exp v) − log 2."""
        return softplus(v) - math.log(2.0)

    def optimum(self, log_ratio: Tensor) -> Tensor:
        """log r."""
        return log_ratio

    def log_ratio(self, v: Tensor) -> Tensor:
        """v."""
        return v


@final
class TotalVariation(FDivergence):
    """½ ∫ |p − q|, without unit, between 0 and 1; the best critic knows only which of p and q is larger.

    Args:
        hard: T = ½ v cut off at ±½, as a hinge critic is read, in place of ½ tanh v.
    """

    label = "total variation"
    gives_ratio = False

    def __init__(self, hard: bool = False) -> None:
        self.hard = hard

    def phi(self, u: Tensor) -> Tensor:
        """½ |u − 1|."""
        return 0.5 * (u - 1).abs()

    def activation(self, v: Tensor) -> Tensor:
        """½ tanh v, or ½ v between −½ and ½."""
        return 0.5 * (v.clamp(-1.0, 1.0) if self.hard else v.tanh())

    def conjugate(self, t: Tensor) -> Tensor:
        """t."""
        return t

    def composed(self, v: Tensor) -> Tensor:
        """g(v)."""
        return self.activation(v)

    def optimum(self, log_ratio: Tensor) -> Tensor:
        """±1 if hard, else ±∞: the sign of log r; 0 where r = 1."""
        extreme = torch.full_like(log_ratio, 1.0 if self.hard else math.inf)
        signed = torch.where(log_ratio > 0, extreme, -extreme)
        return torch.where(log_ratio == 0, torch.zeros_like(signed), signed)

    def log_ratio(self, v: Tensor) -> Tensor:
        """The sign of log r, and no more."""
        return v.sign()


@final
class LeCam(FDivergence):
    """∫ (p − q)² / (p + q), without unit, between 0 and 2: what a least-squares critic D = v measures."""

    label = "Le Cam"

    def phi(self, u: Tensor) -> Tensor:
        """(u − 1)² / (u + 1)."""
        return (u - 1).square() / (u + 1)

    def activation(self, v: Tensor) -> Tensor:
        """1 − 4 (1 − v)²."""
        return 1 - 4 * (1 - v).square()

    def conjugate(self, t: Tensor) -> Tensor:
        """4 − t − 4 √(1 − t)."""
        return 4 - t - 4 * (1 - t).sqrt()

    def composed(self, v: Tensor) -> Tensor:
        """4 v² − 1."""
        return 4 * v.square() - 1

    def optimum(self, log_ratio: Tensor) -> Tensor:
        """r / (1 + r)."""
        return log_ratio.sigmoid()

    def log_ratio(self, v: Tensor) -> Tensor:
        """log v / (1 − v), v kept inside (0, 1) by one rounding error."""
        return v.logit(eps=torch.finfo(v.dtype).eps)
