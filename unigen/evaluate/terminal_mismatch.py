"""Where a diffusion begins its draws, N(0, I), against where its data end, q(z_1).

    q(z_1) = 1/M Σ_i N(alpha_1 u_i, sigma_1² I),     u_i the data in unit coordinates,
    E KL(q(z_1 | x) ‖ N(0, I)) = KL(q(z_1) ‖ N(0, I)) + I(x; z_1).

The left side is the prior term of the evidence lower bound. The first term on the right is the mismatch: what log p(x)
along the probability flow pays on average where the score is exact, as log N(z_1; 0, I) stands there for log q(z_1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser, denoiser_of
from unigen.dynamics.unit_flow import sum_events
from unigen.errors import ArgumentError, EmptyDataError
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.samplers.probability_flow import ProbabilityFlowODE

CHUNK = 2**22  # log densities held at once


@dataclass(frozen=True, eq=False)
class TerminalMismatch:
    """KL(q(z_1) ‖ N(0, I)) over M data, in nats.

    Args:
        kl: The mismatch, an estimate.
        stderr: Its standard error.
        prior_term: E KL(q(z_1 | x) ‖ N(0, I)), exact, which bounds it.
        n: M.
        shift: log N(z_1; 0, I) − log q(z_1) at the noise of given points: what log p(x) along the flow is off by if the
            score is exact; or None.
    """

    kl: float
    stderr: float
    prior_term: float
    n: int
    shift: Tensor | None = None

    @property
    def information(self) -> float:
        """I(x; z_1), what the noise still says of the datum: at most log M."""
        return self.prior_term - self.kl

    def __str__(self) -> str:
        """Write both."""
        return (
            f"terminal mismatch KL(q(z_1) ‖ N(0, I)) = {self.kl:.3g} ± {self.stderr:.1g} nats, at most the prior term "
            f"{self.prior_term:.3g} (n={self.n})"
        )


def _log_aggregate(denoiser: Denoiser, u: Tensor, z: Tensor) -> Tensor:
    """log q(z_1) of rows z (R, *event), (R,), in float64."""
    end = torch.ones((), dtype=torch.float64, device=u.device)
    alpha, sigma = denoiser.schedule.alpha(end), denoiser.schedule.sigma(end)
    centres, rows = (alpha * u).flatten(1).double(), z.flatten(1).double()
    d, step, parts = rows.shape[1], max(1, CHUNK // max(1, u.shape[0] * rows.shape[1])), []
    for i in range(0, rows.shape[0], step):
        squares = (rows[i : i + step, None] - centres).square().sum(-1) / sigma.square()
        parts.append(torch.logsumexp(-0.5 * squares, 1))
    constant = math.log(u.shape[0]) + d * (torch.log(sigma) + 0.5 * math.log(2.0 * math.pi))
    return torch.cat(parts) - constant


def _log_normal(z: Tensor) -> Tensor:
    z = z.double()
    return -0.5 * (sum_events(z.square()) + z[:1].numel() * math.log(2.0 * math.pi))


@torch.no_grad()
def terminal_mismatch(
    program: Program,
    data: object,
    context: object = None,
    *,
    at: object = None,
    ode: ProbabilityFlowODE = ProbabilityFlowODE(1e-5, 1e-5),
    seed: int | None = None,
) -> TerminalMismatch:
    """Return by how much the noise of the data differs from the noise that draws begin with.

    KL(q(z_1) ‖ N(0, I)) = E_q [ r − 1 − log r ],   r = N(z_1; 0, I) / q(z_1),   every term positive

    Cost: M² densities. Take the data that the program was fitted to.

    Args:
        program: A `Diffusion` or a `DDPM`.
        data: Shape (M, *event), M ≥ 2, of one context where the program is conditional.
        context: That context, (1, C).
        at: Points (N, *event) whose shift is wanted.
        ode: How they are carried to noise.
        seed: Of the draws from q(z_1).

    Returns:
        TerminalMismatch in nats.

    Raises:
        ArgumentError: The program has no denoiser, or the context has several rows.
        EmptyDataError: One datum.

    References:
        Song et al. 2021, Maximum likelihood training of score-based diffusion models, theorem 1.

    Example:
        >>> import unigen as ug
        >>> found = terminal_mismatch(ug.Diffusion(2, hidden=8, blocks=1), torch.randn(50, 2), seed=0)
        >>> 0.0 <= found.kl <= found.prior_term
        True
    """
    denoiser = denoiser_of(program)
    u, c = program.check_batch(data, context)
    if isinstance(context, Tensor) and context.dim() > 1 and context.shape[0] > 1:
        raise ArgumentError(
            "the mismatch is that of one context", program=program.name, site="context", got=tuple(context.shape),
            expected=(1, program.context_features),
        )  # fmt: skip
    if u.shape[0] < 2:
        raise EmptyDataError(program=program.name, site="data", got="1 example", expected="at least two")
    u, shift = denoiser.to_unit(u), None
    end = torch.ones((), dtype=u.dtype, device=u.device)
    with evaluating(program), seeded(seed, program.device):
        z = denoiser.perturb(u, end, torch.randn_like(u))
        log_r = _log_normal(z) - _log_aggregate(denoiser, u, z)
        if at is not None:
            points, c = program.check_batch(at, context)
            noise = ode.pull(program, points, c)
            shift = _log_normal(noise) - _log_aggregate(denoiser, u, noise)
    terms = torch.expm1(log_r) - log_r
    prior = float(denoiser.prior_term(u).double().mean())
    stderr = float(terms.std()) / math.sqrt(len(terms))
    return TerminalMismatch(float(terms.mean()), stderr, prior, u.shape[0], shift)
