r"""The denoiser and information: half the integral of the least squared error over the SNR is mutual information.

For z_t = alpha u + sigma eps, d I(u; z_t)/d SNR = ½ mmse, so that the diffusion term of the best denoiser is
½ ∫ mmse dSNR = I(u; z_start) − I(u; z_1), and I(u; z_t) = h(z_t) − ½ D log 2πe sigma_t². In terms of the error of eps,
mmse dSNR = E‖eps − eps_hat‖² d log SNR.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unigen.densities.diffusion_bound import DiffusionBound
from unigen.dynamics.schedule import LogLinearSNR
from unigen.models.diffusion import Diffusion
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.noisy_mixture import NoisyMixture
from unigen.relations.relation import Relation

QUADRATURE = 1e-5  # of the integral over log SNR by the midpoint rule, and of the entropies
ROWS = 256  # examples of the data


class DenoiserInformation(Relation):
    """What the best denoiser cannot recover, added up over the levels of noise, is information."""

    id = 14
    name = "denoiser – information"
    families = ("Diffusion",)
    statement = (
        "half the integral of the least squared error over the SNR is the information of data and noisy data"
    )
    latex = r"\tfrac12\int_0^{\mathrm{snr}} \mathrm{mmse}(\gamma)\,\mathrm{d}\gamma = I(x; y)"
    source = "Guo, Shamai & Verdú 2005"
    assumptions = ("the noise is normal and independent of the data", "the denoiser is the best one")

    def check(
        self, *, std: float = 2.0, snr: float = 100.0, centre: float = 2.0, width: float = 0.35
    ) -> Evidence:
        """Integrate the error of the best denoiser from almost no signal up, for a Gaussian and for two.

        Args:
            std: s of the Gaussian.
            snr: SNR up to which is integrated.
            centre: m of ½N(±m, width²).
            width: Of its two parts.
        """
        least = 1e-9  # SNR at which the integral begins: it leaves out ½ · 1e-9 times the variance
        schedule = LogLinearSNR(snr, least)
        gaussian = NoisyMixture(schedule, torch.zeros(1, 1), std)
        two = NoisyMixture(schedule, torch.tensor([[-centre], [centre]]), width)
        exact = 0.5 * math.log1p(std**2 * snr)
        return self.evidence(
            Claim("N(0, s²): ½∫mmse dsnr = ½ log(1 + s² snr)", self.integral(gaussian), exact, QUADRATURE),
            Claim("two Gaussians: ½∫mmse dsnr = I by entropies", self.integral(two), self.information(two), QUADRATURE),
            Claim("of one bit and a Gaussian: I ≤ log 2 + I within", self.information(two),
                  math.log(2.0) + 0.5 * math.log1p(width**2 * snr), QUADRATURE, sense="≤"),
        )  # fmt: skip

    @torch.no_grad()
    def integral(self, law: NoisyMixture, points: int = 1500) -> float:
        """Return ½ ∫ mmse dSNR, by the weight of the library's denoiser and the error of its noise, in nats."""
        denoiser = law.denoiser()
        t = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        error = torch.cat([1.0 - law.quadrature(part)[0] for part in t.split(250)])
        return float((denoiser.likelihood_weight(t) * error).mean())

    @torch.no_grad()
    def information(self, law: NoisyMixture) -> float:
        """Return I(u; z_0) − I(u; z_1) by entropies, in nats."""
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
        entropy = law.quadrature(ends)[1]
        each = entropy - 0.5 * torch.log(2.0 * math.pi * math.e * law.schedule.sigma(ends).square())
        return float(each[0] - each[1])

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Hold a diffusion's term on data against the information of the data's index, which no denoiser undercuts.

        I(n; z_t) = E log q(z_t | u_n) / q(z_t), q the mixture of the noisy examples: at most log N.

        Raises:
            UnsupportedQueryError: The program is not an unconditional diffusion.
        """
        if not isinstance(a, Diffusion) or a.context_features:
            raise self.refuse("an unconditional Diffusion", a)
        x, _ = a.check_batch(data[:ROWS])
        denoiser = a.denoiser
        with seeded(0, a.device), torch.no_grad():
            u = denoiser.to_unit(x)
            bound = a.log_prob(x, density=DiffusionBound(32, 8))
            fixed = denoiser.prior_term(u) + denoiser.reconstruction_term(u) + denoiser.log_volume()
            term, rows = -bound.value - fixed, u.flatten(1).double()
            law = NoisyMixture(denoiser.schedule, rows, 0.0)
            first, last = (self._index(law, rows, end) for end in (denoiser.start, 1.0))
        information = first - last
        noise = bound.mean().monte_carlo or 0.0
        stderr = math.hypot(noise, information.std().item() / math.sqrt(x.shape[0]))
        return self.evidence(
            statistical("diffusion term ≥ I(n; z_start) − I(n; z_1)", term.double().mean().item(),
                        information.mean().item(), stderr, sense="≥"),
            Claim("I(n; z_start) ≤ log N", first.mean().item(), math.log(x.shape[0]), 1e-9, sense="≤"),
        )  # fmt: skip

    def _index(self, law: NoisyMixture, rows: Tensor, end: float) -> Tensor:
        """log q(z_t | u_n) / q(z_t) of one draw an example, (N,)."""
        t = torch.full((rows.shape[0],), end, dtype=torch.float64, device=rows.device)
        alpha, sigma, _ = law.levels(t[:1])
        eps = torch.randn_like(rows)
        own = -0.5 * (eps.square() + torch.log(2.0 * math.pi * sigma.square())).sum(1)
        return own - law.log_prob(alpha * rows + sigma * eps, t)
