"""Variational engines: q(θ) fitted by the ELBO, or by the curvature at the mode, and draws from it.

    ELBO(q) = E_q[log p(x, θ) − log q(θ)] = log p(x) − KL(q ‖ p(θ | x)),

on the reals (see ``Unconstrained``), with pathwise gradients through the draws alone: they vanish, draw by draw, where
q is the posterior, so a family that holds the posterior finds it exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pyro.distributions import MultivariateNormal, TorchDistribution
from torch import Tensor

from unigen.dynamics.tree import Potential
from unigen.errors import ArgumentError, DivergedError
from unigen.inference.compiled import inductor, interpreted
from unigen.inference.engine import Engine, Found
from unigen.inference.guides import Diagonal, Guide, LowRank, Multivariate, OfProgram
from unigen.inference.kernels import traced, wanted
from unigen.inference.progress import Bar
from unigen.inference.unconstrained import Unconstrained
from unigen.models.flow import RealNVP
from unigen.program import Program
from unigen.queries import seeded

Family = str | Callable[[int], Program]
GUIDES: dict[str, Callable[[Tensor], Guide]] = {
    "diagonal": Diagonal,
    "lowrank": LowRank,
    "multivariate": Multivariate,
    "flow": lambda like: OfProgram(like, RealNVP(features=like.shape[1], transforms=4, hidden=(32, 32))),
}
BETAS = (0.9, 0.99)
NEWTON = 200  # steps at most, in the search for a mode


def _found(q: TorchDistribution, space: Unconstrained, draws: int) -> Found:
    """Draw from q and weigh the draws."""
    with torch.no_grad():
        u = q.sample(torch.Size((draws,)))
        log_q = q.log_prob(u)
        rows = u.movedim(0, 1)
        lp = -torch.cat([space.potential(part)[0] for part in rows.split(256, 1)], 1) if space.each else (
            -torch.cat([space.potential(part)[0] for part in rows[0].split(4096)])[None]
        )  # fmt: skip
    return Found(rows, {"lp": lp, "log_q": log_q.movedim(0, 1)})


@dataclass(frozen=True)
class Variational(Engine):
    """q(θ) fitted by the ELBO.

    Args:
        guide: ``"diagonal"``, ``"lowrank"``, ``"multivariate"`` (Gaussians on the reals, what Pyro calls
            AutoDiagonalNormal, AutoLowRankMultivariateNormal, AutoMultivariateNormal) or ``"flow"`` (real NVP); or a
            function of D that returns a program with an exact density, ``lambda features: ug.NSF(features)``.
        draws: Draws from the fitted q.
        steps: Optimiser steps (Adam, cosine schedule to zero).
        particles: Draws from q a step.
        lr: Learning rate at the start.
        compile: Compile the density (some seconds); "auto": from 1,000 steps on.

    Raises:
        ArgumentError: An unknown guide, or a number out of range.

    References:
        Kucukelbir et al., Automatic differentiation variational inference, JMLR 2017; Roeder, Wu & Duvenaud, Sticking
        the landing, NeurIPS 2017.

    Example:
        >>> import pyro.distributions as dist, unigen as ug
        >>> model = ug.bayesian(ug.PPCA(features=2, latents=1), {"mean": dist.Normal(0.0, 1.0)})
        >>> engine = Variational("multivariate", draws=50, steps=50)
        >>> ug.infer(model, torch.randn(20, 2), engine=engine, seed=0)
        Draws(Bayesian; mean: (1, 50, 2); from a fitted guide)
    """

    guide: Family = "multivariate"
    draws: int = 1000
    steps: int = 2000
    particles: int = 16
    lr: float = 0.05
    compile: bool | str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.guide, str) and self.guide not in GUIDES:
            raise ArgumentError(
                program="Variational", site="guide", got=repr(self.guide), expected=f"one of {sorted(GUIDES)}",
                hint="ug.Laplace()" if self.guide == "laplace" else "or a function of D that returns a program",
            )  # fmt: skip
        counts = (self.draws, self.steps, self.particles)
        if min(counts) < 1 or not 0 < self.lr < math.inf:
            raise ArgumentError(
                program="Variational",
                got=f"(draws, steps, particles) = {counts}, lr={self.lr}",
                expected="≥ 1, > 0",
            )

    @property
    def rounds(self) -> int:
        """Number of optimiser steps."""
        return self.steps

    def run(self, space: Unconstrained, seed: int, bar: Bar) -> Found:
        """Fit q and draw from it."""
        like = space.like(space.x.shape[0] if space.each else 1)
        with seeded(seed, like.device):
            guide = self._guide(like)
            if isinstance(guide, OfProgram) and space.each:
                raise ArgumentError(
                    program="Variational",
                    site="guide",
                    got="a flow",
                    expected="a Gaussian family for many data sets",
                )
            example = (
                like[:, None].expand(-1, self.particles, -1) if space.each else space.like(self.particles)
            )
            compiler = inductor if wanted(self.compile, self.steps) else interpreted
            self._fit(guide, traced(space.potential, [example], compiler), space, bar)
            return _found(guide.distribution(), space, self.draws)

    def _guide(self, like: Tensor) -> Guide:
        if isinstance(self.guide, str):
            return GUIDES[self.guide](like)
        return OfProgram(like, self.guide(like.shape[1]))

    def _fit(self, guide: Guide, potential: Potential, space: Unconstrained, bar: Bar) -> None:
        parameters = list(guide.parameters())
        optimizer = torch.optim.Adam(parameters, self.lr, betas=BETAS)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for t in range(self.steps):
            with torch.enable_grad():
                q = guide.distribution()
                u = q.rsample(torch.Size((self.particles,)))  # (P, M, D)
                fixed = u.detach().requires_grad_(True)
                log_q = q.log_prob(fixed)
                (score,) = torch.autograd.grad(log_q.sum(), fixed)
                value, slope = _at(potential, fixed.detach(), space.each)
                elbo = -(value + log_q.detach()).mean(0)
                if not bool(elbo.isfinite().all() & slope.isfinite().all()):
                    raise DivergedError(
                        f"the ELBO became non-finite at step {t}", program=space.program.name,
                        hint="a smaller lr, data in unit scale, or priors that keep the density finite",
                    )  # fmt: skip
                gradients = torch.autograd.grad(
                    (u * (slope + score)).sum() / self.particles, parameters, allow_unused=True
                )
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
            schedule.step()
            if t % 25 == 24:
                bar(t + 1, f"elbo {float(elbo.mean()):.4g}")


def _at(potential: Potential, u: Tensor, each: bool) -> tuple[Tensor, Tensor]:
    """Return U (P, M) and ∇U (P, M, D) at u (P, M, D)."""
    value, slope = potential(u.movedim(0, 1).contiguous() if each else u[:, 0])
    return (value.movedim(0, 1), slope.movedim(0, 1)) if each else (value[:, None], slope[:, None])


@dataclass(frozen=True)
class Laplace(Engine):
    """The Gaussian on the reals whose mean is the mode and whose precision is the curvature there.

        q(u) = N(û, H⁻¹),   û = argmin U,   H = ∂²U/∂u² (û)

    Args:
        draws: Draws from q.

    Raises:
        ArgumentError: draws < 1.
        DivergedError: In ``infer``: there is no mode with a positive curvature.

    References:
        Tierney & Kadane 1986; Pyro's AutoLaplaceApproximation.

    Example:
        >>> import pyro.distributions as dist, unigen as ug
        >>> model = ug.bayesian(ug.PPCA(features=2, latents=1), {"mean": dist.Normal(0.0, 1.0)})
        >>> ug.infer(model, torch.randn(20, 2), engine=Laplace(draws=10), seed=0)["mean"].shape
        torch.Size([1, 10, 2])
    """

    draws: int = 1000

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ArgumentError(program="Laplace", site="draws", got=self.draws, expected="≥ 1")

    @property
    def rounds(self) -> int:
        """Number of Newton steps at most."""
        return NEWTON

    def run(self, space: Unconstrained, seed: int, bar: Bar) -> Found:
        """Find the mode, and draw from the Gaussian there."""
        with seeded(seed, space.program.device):
            mode = _mode(space, space.like(space.x.shape[0] if space.each else 1))
            factor, fault = torch.linalg.cholesky_ex(space.hessian(mode).detach())
            if bool((fault != 0).any()):
                raise DivergedError(
                    "the curvature at the mode is not positive", program=space.program.name, hint="ug.NUTS()"
                )
            eye = torch.eye(space.dims, dtype=mode.dtype, device=mode.device).expand_as(factor)
            covariance = torch.cholesky_solve(eye, factor)
            q = MultivariateNormal(mode, covariance_matrix=0.5 * (covariance + covariance.mT))
            return _found(q, space, self.draws)


def _mode(space: Unconstrained, u: Tensor) -> Tensor:
    """Return argmin U of each problem, (M, D), by Newton's steps with Levenberg's damping.

    Raises:
        DivergedError: The decrement ½ gᵀ H⁻¹ g did not vanish.
    """
    damping = torch.ones_like(u[:, 0])
    enough = 1e-12 if u.dtype == torch.float64 else 1e-7  # nats
    value, slope = space.potential(u)
    decrement = torch.full_like(value, torch.inf)
    for _ in range(NEWTON):
        curvature, vectors = torch.linalg.eigh(space.hessian(u).detach())
        along = (vectors.mT @ slope[..., None])[..., 0]
        decrement = 0.5 * (along.square() / curvature.abs().clamp_min(1e-12)).sum(1)
        if bool((decrement < enough).all()):
            return u
        step = (vectors @ (along / (curvature.abs() + damping[:, None]))[..., None])[..., 0]
        trial = u - step
        new, new_slope = space.potential(trial)
        better = new.isfinite() & (new <= value)
        rows = better[:, None]
        u, value = torch.where(rows, trial, u), torch.where(better, new, value)
        slope = torch.where(rows, new_slope, slope)
        damping = torch.where(better, damping * 0.1, (damping * 10).clamp_min(1e-6))
    if bool((decrement < 1e-3).all()):
        return u  # as near as the dtype allows
    raise DivergedError(
        f"no mode was found in {NEWTON} Newton steps", program=space.program.name,
        got=f"a decrement of {float(decrement.max()):.3g} nats", hint="ug.NUTS(); a density may have no mode",
    )  # fmt: skip
