"""Whether the aggregated posterior has the moments of the prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.errors import UnsupportedQueryError
from unigen.program import Program
from unigen.queries import evaluating, first_latent, seeded


@dataclass(frozen=True, eq=False)
class Whiteness:
    """Moments of the aggregated posterior q(z) = 1/N Σ_i q(z | x_i), in units of z.

    Args:
        mean: Shape (L,).
        covariance: Shape (L, L).
    """

    mean: Tensor
    covariance: Tensor

    @property
    def distance(self) -> float:
        """Largest entry of |covariance − I| or |mean|, in units of a standard normal z."""
        gap = self.covariance - torch.eye(self.mean.numel()).to(self.covariance)
        return max(gap.abs().max().item(), self.mean.abs().max().item())

    @property
    def kl(self) -> float:
        """KL(N(mean, covariance) ‖ N(0, I)) in nats, what the moments alone contribute to KL(q(z) ‖ p(z))."""
        trace, logdet = self.covariance.diagonal().sum(), torch.linalg.slogdet(self.covariance)[1]
        return (0.5 * (trace + self.mean.square().sum() - self.mean.numel() - logdet)).item()

    def __str__(self) -> str:
        """Write the variances' range, the largest correlation and the distance."""
        sd = self.covariance.diagonal().sqrt()
        correlation = self.covariance / (sd[:, None] * sd)
        off = (correlation - torch.diag(correlation.diagonal())).abs().max().item()
        return (
            f"aggregated posterior: standard deviations {sd.min():.3g} … {sd.max():.3g}, largest |mean| "
            f"{self.mean.abs().max():.2g}, largest |correlation| {off:.2g}; "
            f"KL of its moments to N(0, I) {self.kl:.3g} nats"
        )


def whiteness(
    program: Program, x: object, context: object = None, *, draws: int = 256, seed: int | None = None
) -> Whiteness:
    """Return mean and covariance of the aggregated posterior, which are 0 and I at the optimum of a standard prior.

    E z = 1/N Σ m_i,    Cov z = 1/N Σ (m_i m_iᵀ + C_i) − E z E zᵀ,    m_i, C_i the moments of q(z | x_i).

    Args:
        program: With a continuous latent of each example and a standard normal prior.
        x: Data, shape (N, *event_shape).
        context: Shape (N, C) for a conditional program.
        draws: Of q, an example, where its covariance has no closed form.
        seed: Of these.

    Returns:
        Whiteness; exact where the guide is Gaussian.

    Raises:
        UnsupportedQueryError: No continuous latent with a guide.

    Example:
        >>> import unigen as ug
        >>> ppca = ug.PPCA(features=3, latents=1).double()
        >>> x = torch.randn(50, 3).double()
        >>> ppca.solve(x)
        >>> whiteness(ppca, x).distance < 1e-9
        True
    """
    site = first_latent(program)
    if site.discrete:
        raise UnsupportedQueryError(
            "a discrete latent has no covariance", program=program.name, site=site.name
        )
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        q = program.posterior(x, context)
        n = q.batch_shape[-1] if q.batch_shape else 1
        matrix = getattr(q, "covariance_matrix", None) if len(q.event_shape) == 1 else None
        diagonal = hasattr(q, "base_dist") and not getattr(q.base_dist, "event_shape", (1,))
        try:
            mean, variance = q.mean, q.variance
        except NotImplementedError:
            mean = variance = None
        if mean is not None and variance is not None and (matrix is not None or diagonal):
            m = mean.reshape(n, -1).double()
            within = torch.diag(variance.reshape(n, -1).double().mean(0))
            if matrix is not None:
                within = matrix.double().expand(n, *matrix.shape[-2:]).mean(0)
        else:
            z = q.sample((draws,)).reshape(draws, n, -1).double()
            m, within = z.flatten(0, 1), torch.zeros(z.shape[-1], z.shape[-1]).to(z)
    centred = m - m.mean(0)
    return Whiteness(m.mean(0), centred.mT @ centred / m.shape[0] + within)
