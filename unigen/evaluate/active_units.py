"""Which latent dimensions a program uses: active units, KL by dimension, and what a linear model would use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.checks import as_tensor
from unigen.errors import ArgumentError, EmptyDataError
from unigen.evaluate.latent_moments import latent_moments
from unigen.plots.diagnostics import dimensions_figure
from unigen.program import Program

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THRESHOLD = 0.01  # of Burda et al.
COLLAPSED = 0.01  # nats


@dataclass(frozen=True, eq=False)
class LatentUse:
    """How much each latent dimension is used.

    Args:
        activity: A_d = Var_x E[z_d | x], shape (L,), in squared units of z.
        kl: Mean over the data of KL(q(z_d | x) ‖ p(z_d)), shape (L,), in nats.
        exact: Whether ``kl`` is exact; otherwise that of Gaussians with the same moments.
        threshold: Activity above which a dimension is active.
        expected: Number of dimensions that a linear model with the given noise would use, or None.
    """

    activity: Tensor
    kl: Tensor
    exact: bool
    threshold: float
    expected: int | None = None

    @property
    def active(self) -> Tensor:
        """Whether each dimension is active, shape (L,)."""
        return self.activity > self.threshold

    @property
    def collapsed(self) -> Tensor:
        """Whether the posterior of each dimension is the prior: inactive and a KL below 0.01 nats, shape (L,)."""
        return ~self.active & (self.kl < COLLAPSED)

    def __str__(self) -> str:
        """Write how many dimensions are active, and each of them."""
        n, used = self.kl.numel(), int(self.active.sum())
        wanted = "" if self.expected is None else f"; a linear model at this noise uses {self.expected}"
        how = "" if self.exact else ", by Gaussians of equal moments"
        rows = [
            f"  z[{d}]: KL {self.kl[d]:.4g} nats, activity {self.activity[d]:.3g}, "
            + ("active" if self.active[d] else "collapsed" if self.collapsed[d] else "inactive")
            for d in self.kl.argsort(descending=True).tolist()
        ]
        head = f"{used} of {n} latent dimensions active (activity > {self.threshold:g}){wanted}{how}"
        return "\n".join([head, *rows])

    def plot(self) -> Figure:
        """Draw the KL of each dimension in decreasing order, active ones in colour."""
        return dimensions_figure(self.kl.tolist(), self.active.tolist())


def linear_active(x: object, noise: float, *, beta: float = 1.0, latents: int | None = None) -> int:
    """Return how many latents a linear VAE uses at a fixed noise: those with eigenvalue λ_i > β σ².

    Args:
        x: Data, shape (N, *event); λ are the eigenvalues of their covariance, divided by N.
        noise: σ², the variance of the likelihood, in squared units of x.
        beta: Weight β of the KL.
        latents: At most so many.

    Returns:
        A count.

    Raises:
        ArgumentError: σ² or β is not positive.
        EmptyDataError: Fewer than two examples.

    References:
        Lucas, Tucker, Grosse & Norouzi, Don't blame the ELBO!, 2019.

    Example:
        >>> linear_active(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), noise=1.0)
        1
    """
    if not (noise > 0 and beta > 0):
        raise ArgumentError(site="noise", got=f"σ²={noise}, β={beta}", expected="positive numbers")
    rows = as_tensor(x, "linear_active").double().flatten(1)
    if rows.shape[0] < 2:
        raise EmptyDataError(site="x", got=f"{rows.shape[0]} examples", expected="at least two")
    values = torch.linalg.svdvals(rows - rows.mean(0)).square() / rows.shape[0]
    count = int((values > beta * noise * (1 + 1e-9)).sum())
    return count if latents is None else min(count, latents)


def active_units(
    program: Program,
    x: object,
    context: object = None,
    *,
    threshold: float = THRESHOLD,
    noise: float | None = None,
    beta: float = 1.0,
    seed: int | None = None,
) -> LatentUse:
    """Count the latent dimensions whose posterior mean moves with the data, and weigh each in nats.

    A_d = Var_x( E_q(z|x) z_d ) > threshold;    KL_d = E_x KL( q(z_d | x) ‖ p(z_d) ).

    The KLs of the marginals sum to the rate where guide and prior factorise; otherwise they differ from it by the
    correlations.

    Args:
        program: With a continuous latent of each example.
        x: Data, shape (N, *event_shape), N ≥ 2.
        context: Shape (N, C) for a conditional program.
        threshold: On A_d, in squared units of z.
        noise: σ² of a Gaussian likelihood: report also how many a linear model would use (λ_i > βσ²).
        beta: β of the objective, for that count.
        seed: Of the draws, where moments have no closed form.

    Returns:
        LatentUse of L dimensions.

    Raises:
        UnsupportedQueryError: No continuous latent with a guide.
        EmptyDataError: One example.

    References:
        Burda, Grosse & Salakhutdinov 2016; Lucas et al. 2019.

    Example:
        >>> import unigen as ug
        >>> ppca = ug.PPCA(features=3, latents=2)
        >>> active_units(ppca, ppca.sample(100, seed=0)).active.shape
        torch.Size([2])
    """
    rows, c = program.check_batch(x, context)
    if rows.shape[0] < 2:
        raise EmptyDataError(program=program.name, site="x", got="1 example", expected="at least two")
    moments = latent_moments(program, rows, c, seed=seed)
    activity = moments.mean.var(0, correction=0)
    count = activity.numel()
    expected = None if noise is None else linear_active(rows, noise, beta=beta, latents=count)
    return LatentUse(activity, moments.kl.mean(0), moments.gaussian, threshold, expected)
