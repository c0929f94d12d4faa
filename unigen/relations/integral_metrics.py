r"""Integral probability metrics: the largest difference of expectations over a class of functions.

    d(p, q) = sup_{f in class} E_p f − E_q f

Over the unit ball of a reproducing kernel Hilbert space it is the MMD, attained at the witness
f* = (E_p k(x, ·) − E_q k(y, ·)) / MMD. The energy distance is the MMD² of the kernel −‖a − b‖, and in one dimension
2 ∫ (F − G)² dx. For Gaussians p = N(0, 1), q = N(m, 1) and x − y ~ N(m, 2),

    E exp(−(x − y)²/2h²) = exp(−m²/2(h² + 2)) / √(1 + 2/h²),      E|x − y| = 2 exp(−m²/4)/√π + m erf(m/2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unigen.nn.kernels import DistanceKernel, GaussianKernel, Kernel, squared_mmd
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation

QUADRATURE = 1e-9  # error of the trapezoid sums of smooth integrands
REPEATS, ROWS = 300, 50  # independent estimates, and draws of each side in one
CHUNKS = 20  # of data and draws, on programs


class IntegralMetrics(Relation):
    """MMD and energy distance in closed form, as suprema, and as what moment matching minimises."""

    id = 22
    name = "IPMs"
    families = ("GAN", "WGAN")
    statement = "MMD and energy distance are suprema of differences of expectations, with unbiased estimates"
    latex = r"\mathrm{MMD}(p, q) = \sup_{\|f\|_{\mathcal H} \le 1} \mathbb{E}_p f - \mathbb{E}_q f"
    source = "Gretton et al. 2012; Székely & Rizzo 2013"
    assumptions = ("for the closed forms: Gaussians", "for programs: unconditional, of the same events")

    def check(
        self, *, mean: float = 1.0, bandwidth: float = 1.0, far: float = 2.0, seed: int = 0
    ) -> Evidence:
        """Take p = N(0, 1): MMD² from N(mean, 1) and energy distance from N(far, 1), four ways.

        Args:
            mean: Of the Gaussian of the MMD.
            bandwidth: h of its kernel.
            far: Mean of the Gaussian of the energy distance.
            seed: Of the draws of the estimates.
        """
        x = torch.linspace(-13.0, 13.0 + max(mean, far), 2001, dtype=torch.float64)
        exact = self.mmd(mean, bandwidth)
        p, q = _normal(x, 0.0), _normal(x, mean)
        gram = torch.exp(-(x[:, None] - x).square() / (2 * bandwidth**2))
        witness = gram @ (p - q) / math.sqrt(exact)
        reached = float((p - q) @ witness)
        claims = [Claim("E_p f* − E_q f* at the witness = MMD", reached, math.sqrt(exact), QUADRATURE)]
        for at in (-1.0, 0.0, mean + 1):  # k(·, c) has norm one
            f = torch.exp(-(x - at).square() / (2 * bandwidth**2))
            claims.append(
                Claim(
                    f"E_p f − E_q f of k(·, {at:g}) ≤ MMD", abs(float((p - q) @ f)), reached, 0.0, sense="≤"
                )
            )
        energy = self.energy(far)
        gap = torch.special.ndtr(x) - torch.special.ndtr(x - far)
        cramer = 2 * float(gap.square().sum() * (x[1] - x[0]))
        claims.append(Claim("2 ∫ (F − G)² = energy distance", cramer, energy, QUADRATURE))
        with seeded(seed, torch.device("cpu")):
            gaussian = GaussianKernel((bandwidth,), relative=False)
            claims.append(self._unbiased("MMD²", gaussian, mean, exact))
            claims.append(self._unbiased("energy distance", DistanceKernel(), far, energy))
        return self.evidence(*claims, mmd_squared=round(exact, 6), energy_distance=round(energy, 6))

    def mmd(self, mean: float, h: float) -> float:
        """Return MMD² between N(0, 1) and N(mean, 1) in closed form."""
        return 2 * (1 - math.exp(-(mean**2) / (2 * (h**2 + 2)))) / math.sqrt(1 + 2 / h**2)

    def energy(self, mean: float) -> float:
        """Return the energy distance between N(0, 1) and N(mean, 1) in closed form."""
        across = 2 * math.exp(-(mean**2) / 4) / math.sqrt(math.pi) + mean * math.erf(mean / 2)
        return 2 * across - 4 / math.sqrt(math.pi)

    def estimate(self, kernel: Kernel, x: Tensor, y: Tensor) -> Tensor:
        """Return the estimate of MMD² that objectives minimise."""
        return squared_mmd(kernel, x, y)

    def _unbiased(self, name: str, kernel: Kernel, mean: float, exact: float) -> Claim:
        x = torch.randn(REPEATS, ROWS, 1, dtype=torch.float64)
        y = mean + torch.randn(REPEATS, ROWS, 1, dtype=torch.float64)
        found = torch.stack([self.estimate(kernel, a, b) for a, b in zip(x, y, strict=True)])
        stderr = float(found.std()) / math.sqrt(REPEATS)
        return statistical(f"mean estimate of {name} = closed form", float(found.mean()), exact, stderr)

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Estimate the energy distance of each program from the data, chunk by chunk: none is below zero in the mean.

        Raises:
            UnsupportedQueryError: A conditional program, other events, or too few rows.
        """
        if a.context_features or b.context_features or a.event_shape != b.event_shape:
            raise self.refuse(self.assumptions[1], a)
        x, _ = a.check_batch(data)
        rows = min(x.shape[0], 4000) // CHUNKS
        if rows < 2:
            raise self.refuse(f"at least {2 * CHUNKS} rows of data", a)
        claims = []
        with seeded(0, a.device):
            x = x[torch.randperm(x.shape[0], device=x.device)[: rows * CHUNKS]]
            for program in (a, b):
                y = program.sample(rows * CHUNKS).to(x.device, x.dtype)
                pairs = zip(x.chunk(CHUNKS), y.chunk(CHUNKS), strict=True)
                each = torch.stack([self.estimate(DistanceKernel(), *pair) for pair in pairs]).double()
                stderr = float(each.std()) / math.sqrt(CHUNKS)
                name = f"energy distance of {program.name} from the data ≥ 0"
                claims.append(statistical(name, float(each.mean()), 0.0, 2 * stderr, sense="≥"))
        return self.evidence(*claims, rows=rows * CHUNKS)


def _normal(x: Tensor, mean: float) -> Tensor:
    """Return the weights of N(mean, 1) on a grid."""
    return torch.exp(-(x - mean).square() / 2) / math.sqrt(2 * math.pi) * (x[1] - x[0])
