"""Diffusion posterior sampling: the likelihood at the denoiser's mean in place of that at noisy data.

∇ log p(y | z_t) ≈ ∇_z log N(y; A u_hat(z_t), noise² I + (spread r_t)² A Aᵀ),     r_t² = sigma² / (alpha² + sigma²)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.guidance import Guidance, Pair, check_scale, shifted
from unigen.dynamics.observation import Observation, UnitLikelihood, as_observation
from unigen.dynamics.schedule import Schedule


def remaining_spread(t: Tensor, schedule: Schedule) -> Tensor:
    """r_t, the standard deviation of u given z_t for u ~ N(0, I), the shape of t."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return sigma / torch.sqrt(alpha.square() + sigma.square())


def twist(
    denoiser: Denoiser,
    likelihood: UnitLikelihood,
    z_t: Tensor,
    t: Tensor,
    context: Tensor | None,
    spread: float,
) -> tuple[Tensor, Tensor, Pair]:
    """The likelihood of the denoiser's mean, its gradient in z_t, and the pair, by one pass forward and back.

    Args:
        denoiser: Predicts u and eps.
        likelihood: log p(y | u, spread).
        z_t: Noisy data, (N, *event).
        t: Time, (), or (N,) where the spread is 0.
        context: Context, (N, C), or None.
        spread: Multiple of r_t that the likelihood allows for.

    Returns:
        log p(y | u_hat), (N,), its gradient, (N, *event), and (u_hat, eps_hat).
    """
    uncertainty = spread * remaining_spread(t, denoiser.schedule)
    uncertainty = uncertainty if uncertainty.dim() == 0 else uncertainty.unsqueeze(-1)  # beside (N, M)

    def total(z: Tensor) -> tuple[Tensor, tuple[Tensor, Pair]]:
        pair = denoiser(z, t, context)
        value = likelihood(pair[0], uncertainty)
        return value.sum(), (value, pair)

    slope, (value, pair) = torch.func.grad(total, has_aux=True)(z_t)
    return value, slope, pair


@final
class DPS(Guidance):
    """Guide towards what was observed, by the likelihood at the denoiser's mean.

    This is an approximation, and biased: u_hat(z_t) is taken for u, so that draws are no draws of p(x | y), not even
    for an exact score; ``TwistedSMC`` corrects it. With ``spread=0`` it is DPS (Chung et al.); the gradient is then as
    large as 1 / noise² and needs a scale well below 1, or many steps, where the noise is small. With ``spread=1`` the
    remaining uncertainty of u is allowed for, as if u were N(0, I) (pseudoinverse guidance, Song et al.), which is
    stable at any noise and exact for standard normal data.

    Args:
        observation: A ``LinearObservation``, an ``Inpainting``, or a function x (N, *event) -> log p(y | x) (N,).
        scale: Weight of the gradient. Chung et al. take ζ noise² / ‖y − A x_hat‖ with ζ about 1, which a function
            −ζ ‖y − A x‖ gives.
        spread: Multiple of r_t that the likelihood allows for; functions do not read it.

    Raises:
        ArgumentError: The scale or the spread is negative or not finite, or the observation is none.
        ShapeError: From ``Guided``, the observation is not of such examples.

    References:
        Chung et al. 2023, Diffusion posterior sampling for general noisy inverse problems; Song, Vahdat, Mardani &
        Kautz 2023, Pseudoinverse-guided diffusion models for inverse problems.

    Example:
        >>> import unigen as ug
        >>> first = ug.Inpainting(torch.tensor([True, False]), torch.tensor([1.0, 0.0]), noise=0.1)
        >>> guided = ug.Guided(ug.Diffusion(2, hidden=8, blocks=1), DPS(first, spread=1.0))
        >>> guided.sample(3, sampler=ug.DDIM(5)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self, observation: Observation | Callable[[Tensor], Tensor], scale: float = 1.0, spread: float = 0.0
    ) -> None:
        super().__init__()
        self.observation = as_observation(observation, "DPS")
        self.scale, self.spread = check_scale("DPS", scale), check_scale("DPS", spread)

    def check(self, denoiser: Denoiser, context_features: int) -> None:
        """Refuse an observation of other examples.

        Raises:
            UnigenError: It does not fit.
        """
        self.observation.check(denoiser.loc)

    def pair(
        self, denoiser: Denoiser, z_t: Tensor, t: Tensor, context: Tensor | None, own: Tensor | None
    ) -> Pair:
        """The denoiser's pair, its score shifted by the gradient."""
        likelihood = self.observation.in_unit(denoiser.loc, denoiser.scale)
        _, slope, pair = twist(denoiser, likelihood, z_t, t, context, self.spread)
        return shifted(pair, self.scale * slope, t, denoiser.schedule)
