r"""Latent SDE and Gaussian process: an Ornstein–Uhlenbeck prior and Gaussian noise have an evidence in closed form.

With the control of the conditioned path (`conditioned_ou.py`) the path KL is that of the posterior, and the ELBO is the
evidence of the Gaussian process; with any other it is below. A linear latent SDE on equal steps is a state-space model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unigen.densities.importance import Importance
from unigen.distributions.likelihoods import Gaussian
from unigen.distributions.scales import raw_scale
from unigen.distributions.sde_path import SDEPath
from unigen.dynamics.path_kl import integrate_with_kl
from unigen.dynamics.solver_grid import solver_grid
from unigen.models.latent_sde import LatentSDE
from unigen.models.state_space import StateSpace
from unigen.nn.autonomous import Autonomous
from unigen.nn.mlp import MLP
from unigen.nn.noise import ConstantNoise
from unigen.objectives.elbo import elbo
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.conditioned_ou import Conditioned, OUDrift, elbo_by_moments, gp_evidence, start
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation

ROUNDING = 1e-9
TIMES = (0.0, 0.2, 0.7, 0.9, 1.6, 2.0)
VALUES = (0.5, 0.3, -0.2, -0.1, 0.4, 0.6)
ROWS = 64  # examples of the data that are used on a program


class LatentSDEtoGP(Relation):
    """The path ELBO of a latent SDE with an Ornstein–Uhlenbeck prior is below the evidence of a Gaussian process."""

    id = 27
    name = "latent SDE – GP"
    families = ("LatentSDE", "StateSpace")
    statement = (
        "½ E∫‖u‖² dt is the KL of two diffusions that share their noise; with an OU prior and Gaussian noise the ELBO "
        "reaches the evidence of a Gaussian process from below, at the control of the conditioned path"
    )
    latex = (
        r"\log p(x) \ge \mathbb{E}_q\Big[\sum_i \log p(x_i \mid z_{t_i}) - \tfrac12 \int \|u\|^2 \mathrm{d}t\Big] "
        r"- \mathrm{KL}(q(z_0) \,\|\, p(z_0)), \quad u^* = \sigma\, \partial_z \log p(x_{>t} \mid z_t)"
    )
    source = "Li et al. 2020; Archambeau et al. 2007"
    assumptions = (
        "prior and posterior share the diffusion coefficient",
        "for the conversion: affine drift and decoder, constant noise, equal steps between equally spaced times",
    )
    converts = (("LatentSDE", "StateSpace"),)

    def check(
        self,
        *,
        theta: float = 1.0,
        mu: float = 0.1,
        sigma: float = 0.5,
        noise: float = 0.3,
        times: Sequence[float] = TIMES,
        values: Sequence[float] = VALUES,
        dt: float = 0.02,
        draws: int = 2000,
        seed: int = 0,
    ) -> Evidence:
        """Compare the ELBO under the exact control, a shrunk one and none with the evidence of the Gaussian process.

        Args:
            theta: θ.
            mu: μ.
            sigma: σ.
            noise: s.
            times: Times of the observations.
            values: The observations.
            dt: Longest step of the solver; the ELBO's discretisation error is halved with it.
            draws: Paths.
            seed: Of these paths.
        """
        law = (theta, mu, sigma, noise)
        truth = gp_evidence(times, values, *law)
        shift = self.shift_kl(0.5, 0.5, 2.0)
        claims = [Claim("path KL of a shift by .5 with σ = .5 over [0, 2]", shift, 1.0, ROUNDING)]
        gaps = []
        for step in (4 * dt, 2 * dt, dt):
            grid = solver_grid(times, step)
            gaps.append(truth - elbo_by_moments(Conditioned(grid, values, *law), values, noise))
        claims.append(Claim("the gap of the exact control falls as dt", gaps[1] / gaps[2], 2.0, 0.15))
        claims.append(
            Claim("and is zero in the limit", 2 * gaps[2] - gaps[1], 0.0, 0.2 * abs(gaps[2]) + ROUNDING)
        )
        grid, x = solver_grid(times, dt), torch.tensor(values, dtype=torch.float64)
        for factor in (1.0, 0.8, 0.0):
            control = Conditioned(grid, values, *law, factor)
            program, right = self.program(control, noise), elbo_by_moments(control, values, noise)
            for name, estimate in (("log w", self.log_weights), ("path KL", self.path_elbos)):
                with seeded(seed, torch.device("cpu")):
                    value = estimate(program, x, draws)
                found, stderr = value.mean().item(), value.std().item() / math.sqrt(draws)
                title = f"ELBO of {factor:g} u* by its {name}"
                claims.append(statistical(f"{title} = by moments", found, right, stderr, bias=1e-6))
                claims.append(
                    statistical(f"{title} ≤ log p(x)", found, truth, stderr, bias=gaps[2], sense="≤")
                )
        return self.evidence(*claims, evidence=round(truth, 6), gap_of_the_exact_control=round(gaps[2], 6))

    def shift_kl(self, shift: float, sigma: float, end: float) -> float:
        """Return the path KL of two OU processes with drifts that differ by a constant, by torchsde."""
        x = torch.zeros(1, 1, dtype=torch.float64)
        points = torch.linspace(0, end, 11).tolist()
        kl = integrate_with_kl(
            lambda t, z: -z, lambda t, z: 0 * z + shift / sigma, lambda t, z: sigma, x, points
        )[1]
        return kl.item()

    def program(self, control: Conditioned, noise: float) -> LatentSDE:
        """Return the latent SDE with an OU prior, and a posterior of the control given and the exact start for it."""
        theta, mu, sigma = control.theta, control.mu, control.sigma
        grid = control.grid
        program = LatentSDE(
            1, grid.times, 1, dt=grid.span / grid.steps, likelihood=Gaussian(noise), drift=OUDrift(theta, mu),
            diffusion=ConstantNoise(1, sigma, learned=False), control=control, decoder=nn.Identity(), summary=1,
        ).double()  # fmt: skip
        program.grid = grid
        loc, scale = start(control)
        with torch.no_grad():
            program.start.fill_(mu)
            program.start_scale.copy_(raw_scale(torch.tensor(sigma / math.sqrt(2 * theta)).double()))
            program.first.weight.zero_()
            program.first.bias.copy_(torch.stack((loc, raw_scale(scale))))
        return program

    def log_weights(self, program: LatentSDE, x: Tensor, draws: int) -> Tensor:
        """Return log p(x, z) − log q(z) of independent paths given a series x (T,), shape (draws,)."""
        return program.log_prob(self._repeated(x, draws), density=Importance(1)).value

    def path_elbos(self, program: LatentSDE, x: Tensor, draws: int) -> Tensor:
        """Return the same without the martingale, log p(x | z) − ½ ∫ ‖u‖² dt − KL(q(z_0) ‖ p(z_0)), shape (draws,)."""
        return elbo(program, self._repeated(x, draws))

    def _repeated(self, x: Tensor, draws: int) -> Tensor:
        return x[None, :, None].expand(draws, -1, -1)

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Compare the bound of a linear latent SDE with the evidence of the equal state-space model.

        Raises:
            UnsupportedQueryError: The latent SDE is not linear, or its steps are not equal.
        """
        x = a.check_batch(data[:ROWS])[0]
        gap = a.log_prob(x).value - self.convert(a, to="StateSpace").log_prob(x).value
        stderr = (gap.double().std() / math.sqrt(max(1, x.shape[0]))).item() if x.shape[0] > 1 else 0.0
        found = gap.double().mean().item()
        claim = statistical("bound − log p(x) ≤ 0", found, 0.0, stderr, bias=1e-4, sense="≤")
        return self.evidence(claim, examples=x.shape[0], other=str(b.log_prob(x).mean()))

    def convert(self, program: Program, *, to: str) -> Program:
        """Return the state-space model equal to a linear latent SDE: z at the times of observation, its steps composed.

        Raises:
            UnsupportedQueryError: The latent SDE is not linear, or its steps are not equal.
        """
        if to != "StateSpace" or not isinstance(program, LatentSDE):
            return super().convert(program, to=to)
        drift, decoder, head = _affine(program.drift), _affine(program.decoder), program.likelihood
        grid = program.grid
        h, counts = (torch.diff(torch.tensor(v, dtype=torch.float64)) for v in (grid.points, grid.stops))
        equal = bool((h - h[0]).abs().max() < 1e-6 * h[0]) and bool((counts == counts[0]).all())
        constant = isinstance(program.diffusion, ConstantNoise)
        if drift is None or decoder is None or not (constant and equal):
            raise self.refuse(self.assumptions[1], program)
        if not isinstance(head, Gaussian) or head.mode == "network":
            raise self.refuse("a Gaussian likelihood with a scale of its own", program)
        length, features = program.event_shape
        out = StateSpace(features, length, program.latents, missing=bool(program.missing))
        out = out.to(program.device, program.dtype)
        _write(out, program.prior(), drift, decoder, head.sigma, h[0].item(), int(counts[0]))
        out.fitted = program.fitted
        return out


def _affine(module: nn.Module) -> nn.Linear | None:
    """Return the only layer of a drift or decoder that has one."""
    body = module.body if isinstance(module, Autonomous) else module
    layers = list(body.layers) if isinstance(body, MLP) else []
    return layers[0] if len(layers) == 1 and isinstance(layers[0], nn.Linear) else None


@torch.no_grad()
def _write(
    out: StateSpace, p: SDEPath, drift: nn.Linear, decoder: nn.Linear, sigma: Tensor, h: float, k: int
) -> None:
    """Write the moments of k Euler steps of length h, around the fixed point of the drift."""
    fixed = torch.linalg.lstsq(drift.weight, -drift.bias[:, None]).solution[:, 0]
    eye = torch.eye(fixed.shape[0], dtype=fixed.dtype, device=fixed.device)
    step, noise = eye + h * drift.weight, h * torch.diag(p.diffusion(fixed, p.times[0]).square())
    spread, power = torch.zeros_like(eye), eye
    for _ in range(k):
        spread, power = spread + power @ noise @ power.mT, step @ power
    out.transition.copy_(power)
    out.noise_tril.copy_(torch.linalg.cholesky(spread))
    out.start.copy_(p.loc - fixed)
    out.start_tril.copy_(torch.diag(p.scale))
    out.weight.copy_(decoder.weight)
    out.offset.copy_(decoder.weight @ fixed + decoder.bias)
    out.log_noise.copy_((2 * sigma.to(fixed).log()).expand(out.log_noise.shape))
