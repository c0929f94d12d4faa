"""How a denoising loss weighs the levels of noise, each weighting under its own name.

    L = E_{u, t, eps} [ weight(t) ‖eps − eps_hat(alpha_t u + sigma_t eps, t)‖² ],     t uniform on [start, 1].

With λ = log SNR every weighting is a function of λ in front of the integrand of the evidence lower bound,

    L = ½ ∫ w(λ) E‖eps − eps_hat‖² dλ,      w = weight / likelihood weight,     w = 1: the bound itself.

For Likelihood, EDM and Sigmoid w does not depend on the schedule; the others weigh uniform times, so that theirs does.
If w falls in λ, L is, up to a constant and a factor, −ELBO of data to which noise of a random level was added:
L = w_start L_start + ∫ (dw/dt) L_t dt with L_t = ½ ∫_t^1 (−dλ/ds) E‖eps − eps_hat‖² ds (Kingma & Gao 2023, theorem 1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from unigen.dynamics.denoiser import Denoiser


class Weighting(ABC):
    """Weight of the squared error of the noise at each time; final classes below.

    Attributes:
        nats: Whether the loss, with the prior and reconstruction terms, is −ELBO(x) in nats.
    """

    nats: bool = False

    @abstractmethod
    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """Weight for times drawn uniformly on [start, 1], the shape of t."""

    @final
    def implied(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """w(λ_t), the factor in front of the integrand of the bound.

        Args:
            denoiser: Gives schedule and start.
            t: Times, any shape.

        Returns:
            w, the shape of t; 1 for the likelihood.
        """
        return self.weight(denoiser, t) / denoiser.likelihood_weight(t)

    @final
    @torch.no_grad()
    def monotone(self, denoiser: Denoiser, points: int = 1025) -> bool:
        """Say whether w falls in λ (or stands), so that the loss is a bound for data with added noise.

        Args:
            denoiser: Gives schedule and start.
            points: Equally spaced times looked at, without the two ends.
        """
        w = self.implied(denoiser, torch.linspace(denoiser.start, 1.0, points + 2, dtype=torch.float64)[1:-1])
        return bool((torch.diff(w) >= -1e-9 * w[1:].abs()).all())

    def __repr__(self) -> str:
        """The call that builds it."""
        options = ", ".join(f"{name}={value:g}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


@final
class LikelihoodWeighting(Weighting):
    """w(λ) = 1: with the prior and reconstruction terms the loss is −ELBO(x) in nats.

    weight = (1 − start) g² / (2 sigma²)

    References:
        Song et al. 2021, Maximum likelihood training of score-based diffusion models; Kingma et al. 2021.
    """

    nats = True

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """(1 − start) g² / (2 sigma²)."""
        return denoiser.likelihood_weight(t)


@final
class NoiseWeighting(Weighting):
    """weight = 1: the "simple" loss of DDPM, the squared error of eps; w = 2 sigma² / ((1 − start) g²). Not a bound.

    It is also E[sigma² ‖error of the score‖²].

    References:
        Ho et al. 2020, Denoising diffusion probabilistic models; Vincent 2011.
    """

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)


@final
class VWeighting(Weighting):
    """weight = (alpha + sigma²/alpha)²: the squared error of v = alpha eps − sigma x0. Not a bound.

    For a variance-preserving schedule 1 + 1/SNR, which is "SNR + 1" on the squared error of x0.

    References:
        Salimans & Ho 2022, Progressive distillation.
    """

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """(alpha + sigma² / alpha)²."""
        alpha, sigma = denoiser.schedule.alpha(t), denoiser.schedule.sigma(t)
        return (alpha + sigma.square() / alpha).square()


@final
class DataWeighting(Weighting):
    """weight = sigma²/alpha² = 1/SNR: the squared error of x0 itself. Not a bound."""

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """1 / SNR."""
        return torch.exp(-denoiser.schedule.log_snr(t))


@final
class ScoreWeighting(Weighting):
    """weight = 1/sigma²: the squared error of the score, denoising score matching without a weight. Not a bound.

    References:
        Vincent 2011, A connection between score matching and denoising autoencoders.
    """

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """1 / sigma²."""
        return denoiser.schedule.sigma(t).pow(-2)


@final
class VelocityWeighting(Weighting):
    """weight = (g² / 2 sigma)²: the squared error of the probability flow's velocity, as in flow matching. Not a bound.

    References:
        Lipman et al. 2023, Flow matching for generative modeling.
    """

    def weight(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """(g² / (2 sigma))²."""
        return (0.5 * denoiser.schedule.diffusion_squared(t) / denoiser.schedule.sigma(t)).square()
