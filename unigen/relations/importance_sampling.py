r"""Importance sampling: the effective sample size is the χ² divergence of the target from the proposal.

Notation: target p, proposal q, weights w = p/q under q, ESS = (Σ w)²/Σ w². Since E w = 1 and E w² = 1 + χ²(p ‖ q),

    ESS/N → 1/(1 + χ²).   For Gaussians with precisions P, Q, A = 2P − Q positive definite, b = 2Pm_p − Qm_q:
    1 + χ² = |P| |Q|^{−½} |A|^{−½} exp(−m_pᵀPm_p + ½ m_qᵀQm_q + ½ bᵀA⁻¹b),

in one dimension, N(0, 1) from N(m, s²): s² (2s² − 1)^{−½} exp(m²/(2s² − 1)), and no finite number at s² ≤ ½.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.errors import UnsupportedQueryError
from unigen.models.factor_analysis import FactorAnalysis
from unigen.models.ppca import PPCA
from unigen.models.vae import VAE
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.linear_vae import as_linear_vae
from unigen.relations.ppca_vae import PPCALinearVAE
from unigen.relations.relation import Relation
from unigen.traces import log_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUADRATURE = 1e-9  # error of the trapezoid sums, seen by halving the step
ROWS, SAMPLES = 16, 4000  # examples on a program, and weights of each


class ImportanceSampling(Relation):
    """The share of effective samples is one over the mean squared weight."""

    id = 30
    name = "importance sampling"
    families = ("Program",)
    statement = "the effective share of importance samples is 1/(1 + χ²) of the target from the proposal"
    latex = r"\frac{\mathrm{ESS}}{N} = \frac{(\sum w)^2}{N \sum w^2} \to \frac{1}{1 + \chi^2(p\,\|\,q)}"
    source = "Kong 1992; Agapiou et al. 2017"
    assumptions = (
        "the posterior is known in closed form (PPCA, factor analysis, a linear VAE)",
        "the weights have a finite fourth moment, so that the error of the ESS is known",
    )

    def check(
        self, *, shift: float = 1.0, scale: float = 1.3, draws: int = 200_000, seed: int = 0
    ) -> Evidence:
        """Sample N(0, 1) from N(shift, scale²): the closed form, its quadrature, and the effective sample size.

        Args:
            shift: m.
            scale: s, above √½ (and √¾ for a known error of the estimate).
            draws: N.
            seed: Of these.
        """
        closed = self.second_moment(shift, scale)
        x = torch.linspace(-30.0, 30.0, 20_001, dtype=torch.float64)
        log_p = -0.5 * x.square() - 0.5 * math.log(2 * math.pi)
        log_q = -0.5 * ((x - shift) / scale).square() - 0.5 * math.log(2 * math.pi * scale**2)
        quadrature = float(torch.exp(2 * log_p - log_q).sum() * (x[1] - x[0]))
        with seeded(seed, x.device):
            z = torch.randn(draws, dtype=torch.float64)
        log_w = -0.5 * (shift + scale * z).square() + 0.5 * z.square() + math.log(scale)
        share, error = self.effective(log_w[:, None])
        return self.evidence(
            Claim("E_q w² by quadrature = closed form", quadrature, closed, QUADRATURE * closed),
            statistical("ESS/N = 1/(1 + χ²)", share.item(), 1 / closed, error.item(), bias=2 * closed / draws),
            chi_squared=round(closed - 1, 6), effective=round(1 / closed, 6),
        )  # fmt: skip

    def second_moment(self, shift: float, scale: float) -> float:
        """Return 1 + χ²(N(0, 1) ‖ N(shift, scale²)).

        Raises:
            UnsupportedQueryError: The weights have no finite fourth moment.
        """
        if scale**2 <= 0.75:
            raise self.refuse(self.assumptions[1], got=f"scale² = {scale**2:.4g}", expected="above 3/4")
        width = 2 * scale**2 - 1
        return scale**2 / math.sqrt(width) * math.exp(shift**2 / width)

    def effective(self, log_w: Tensor) -> tuple[Tensor, Tensor]:
        """Return ESS/K of each column of weights (K, N), and its standard error by the delta method."""
        w = torch.exp(log_w.double() - log_w.double().max(0).values)
        first, second = w.mean(0), w.square().mean(0)
        share = first.square() / second
        error = (2 * first / second * w - share / second * w.square()).std(0) / math.sqrt(w.shape[0])
        return share, error

    def figure(self, *, shifts: tuple[float, ...] = (0.0, 1.0, 2.0)) -> Figure:
        """Draw the effective share against the width of the proposal."""
        scales = torch.linspace(0.88, 4.0, 120).tolist()
        x = torch.linspace(-4, 6, 300)
        with style():
            fig = figure(7.4, 3.1)
            left, right = fig.subplots(1, 2)
            left.fill_between(
                x, 0 * x, torch.exp(-x.square() / 2) / 2.5066, color=GREY, alpha=0.25, label="target"
            )
            for i, s in enumerate((1.0, 1.3, 2.5)):
                q = torch.exp(-((x - 1) / s).square() / 2) / (2.5066 * s)
                left.plot(
                    x, q, color=COLOURS[i], label=f"N(1, {s:g}²): ESS/N {1 / self.second_moment(1.0, s):.2f}"
                )
            left.set(title="proposals")
            left.legend(loc="upper right", fontsize=7)
            for i, m in enumerate(shifts):
                share = [1 / self.second_moment(m, s) for s in scales]
                right.plot(scales, share, color=COLOURS[i + 3], label=f"shift {m:g}")
            right.axvspan(0.4, math.sqrt(0.5), color=COLOURS[1], alpha=0.15, label="χ² infinite")
            right.set(xlabel="standard deviation of the proposal", title="ESS/N = 1/(1 + χ²)", ylim=(0, 1.03))
            right.legend(fontsize=7)
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Compare the effective share of a program's own weights with χ² of its guide from its exact posterior.

        Raises:
            UnsupportedQueryError: The posterior is not known in closed form, or the guide's tails are too light.
        """
        vae = None if isinstance(a, (PPCA, FactorAnalysis)) else self._linear(a)
        x, _ = a.check_batch(data[:ROWS])
        with evaluating(a), seeded(0, a.device), torch.no_grad():
            found = log_weights(
                functools.partial(a.model, x, None, x.shape[0]), functools.partial(a.guide, x, None, x.shape[0]),
                samples=SAMPLES, nesting=a.structure.nesting,
            )  # fmt: skip
            q = a.posterior(x)
            p = q if vae is None else PPCALinearVAE().to_ppca(vae).posterior(x)
            closed = self.gaussian(p.mean, _matrix(p), q.mean, _matrix(q))
        share, error = self.effective(found.local)
        n, expected = x.shape[0], (1 / closed)
        bias = (2 * closed / SAMPLES).mean().item() + (1e-3 if a.dtype is torch.float32 else 1e-9)
        stderr = error.square().sum().sqrt().item() / n
        return self.evidence(
            statistical("mean ESS/K over the data = mean 1/(1 + χ²)", share.mean().item(), expected.mean().item(),
                        stderr, bias=bias),
            lowest_effective_share=round(expected.min().item(), 4), samples=SAMPLES,
        )  # fmt: skip

    def _linear(self, program: Program) -> VAE:
        try:
            return as_linear_vae(self, program)
        except UnsupportedQueryError as error:
            raise self.refuse(self.assumptions[0], program) from error

    def gaussian(self, m_p: Tensor, cov_p: Tensor, m_q: Tensor, cov_q: Tensor) -> Tensor:
        """Return 1 + χ²(N(m_p, cov_p) ‖ N(m_q, cov_q)), shape (N,).

        Raises:
            UnsupportedQueryError: The weights have no finite fourth moment.
        """
        m_p, m_q = m_p.double(), m_q.double()
        p, q = torch.linalg.inv(cov_p.double()), torch.linalg.inv(cov_q.double())
        if bool((torch.linalg.eigvalsh(4 * p - 3 * q) <= 0).any()):
            raise self.refuse(self.assumptions[1], hint="a guide that is wider than the posterior")
        a = 2 * p - q
        b = 2 * _times(p, m_p) - _times(q, m_q)
        exponent = -(m_p * _times(p, m_p)).sum(-1) + 0.5 * (m_q * _times(q, m_q)).sum(-1)
        exponent = exponent + 0.5 * (b * torch.linalg.solve(a, b[..., None])[..., 0]).sum(-1)
        return torch.exp(torch.logdet(p) - 0.5 * torch.logdet(q) - 0.5 * torch.logdet(a) + exponent)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]


def _matrix(q: torch.distributions.Distribution) -> Tensor:
    """Return the covariance matrices of a Gaussian over vectors, shape (N, q, q)."""
    full = getattr(q, "covariance_matrix", None)
    return torch.diag_embed(q.variance) if full is None else full.expand(*q.batch_shape, *full.shape[-2:])
