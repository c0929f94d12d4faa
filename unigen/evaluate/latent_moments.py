"""Mean and variance of each latent dimension under the guide and under the prior: what several diagnostics share."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.errors import UnsupportedQueryError
from unigen.program import Program
from unigen.queries import evaluating, first_latent, seeded
from unigen.traces import Node, base_of, draw

DRAWS = 256  # where a distribution knows no moments in closed form
BATCH = 1024  # examples at a time


@dataclass(frozen=True, eq=False)
class LatentMoments:
    """Moments of q(z | x_i) and of p(z | c_i), the latent flattened to L dimensions, in units of z.

    Args:
        mean: E_q z, shape (N, L).
        variance: Marginal variances under q, shape (N, L).
        prior_mean: E_p z, shape (N, L).
        prior_variance: Shape (N, L).
        gaussian: Whether both are Gaussian, so that KLs of the marginals follow from the moments exactly.
    """

    mean: Tensor
    variance: Tensor
    prior_mean: Tensor
    prior_variance: Tensor
    gaussian: bool

    @property
    def kl(self) -> Tensor:
        """KL(q(z_d | x_i) ‖ p(z_d)) of Gaussians with these moments, in nats, shape (N, L)."""
        ratio = self.variance / self.prior_variance
        return 0.5 * (
            ratio + (self.mean - self.prior_mean).square() / self.prior_variance - 1.0 - ratio.log()
        )


def _moments(node: Node, n: int) -> tuple[Tensor, Tensor, bool]:
    """Return mean and variance (N, L) of a site, by draws where it does not know them, and whether it is Gaussian."""
    fn = node["fn"]
    try:
        mean, variance = fn.mean, fn.variance
    except NotImplementedError:
        draws = fn.sample((DRAWS,)).expand(DRAWS, n, *fn.event_shape)
        mean, variance = draws.mean(0), draws.var(0)
    shape = (n, *fn.event_shape)
    gaussian = "Normal" in type(base_of(fn)).__name__ and "Log" not in type(base_of(fn)).__name__
    return (
        mean.expand(shape).reshape(n, -1).double(),
        variance.expand(shape).reshape(n, -1).double(),
        gaussian,
    )


def latent_moments(
    program: Program, x: object, context: object = None, *, seed: int | None = None
) -> LatentMoments:
    """Return the moments of the latent ``program.latent`` under guide and prior, example by example.

    Args:
        program: With a continuous latent of each example.
        x: Data, shape (N, *event_shape).
        context: Shape (N, C) for a conditional program.
        seed: Of the draws, where moments have no closed form (256 draws).

    Returns:
        LatentMoments in units of z. Of a latent under another one the prior's moments are those given one draw of the
        other.

    Raises:
        UnsupportedQueryError: No such latent, a discrete one, one in a plate of its own, or no guide.

    Example:
        >>> import unigen as ug
        >>> found = latent_moments(ug.PPCA(features=3, latents=2), torch.randn(5, 3))
        >>> found.kl.shape, found.gaussian
        (torch.Size([5, 2]), True)
    """
    site = first_latent(program)
    if site.discrete or not program.has_posterior:
        raise UnsupportedQueryError(
            "needs a continuous latent with a guide", program=program.name, site=site.name
        )
    rows, c = program.check_batch(x, context)
    found: list[tuple[Tensor, ...]] = []
    gaussian = True
    with evaluating(program), seeded(seed, program.device), torch.no_grad():
        for i in range(0, rows.shape[0], BATCH):
            part, given = rows[i : i + BATCH], None if c is None else c[i : i + BATCH]
            n = part.shape[0]
            q = draw(functools.partial(program.guide, part, given, n))
            p = draw(functools.partial(program.model, part, given, n), {k: v["value"] for k, v in q.items()})
            if site.name not in q or len(q[site.name]["fn"].batch_shape) > 1:
                raise UnsupportedQueryError(
                    "needs one latent an example", program=program.name, site=site.name
                )
            (mean, variance, first), (prior_mean, prior_variance, second) = (
                _moments(q[site.name], n), _moments(p[site.name], n),
            )  # fmt: skip
            gaussian = gaussian and first and second
            found.append((mean, variance, prior_mean, prior_variance))
    columns = [torch.cat(list(column)) for column in zip(*found, strict=True)]
    return LatentMoments(columns[0], columns[1], columns[2], columns[3], gaussian)
