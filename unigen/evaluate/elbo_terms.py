"""The three terms of a diffusion's evidence lower bound, reported apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from unigen.densities.diffusion_bound import DiffusionBound
from unigen.dynamics.denoiser import denoiser_of
from unigen.logprob import Kind, LogProb
from unigen.program import Program
from unigen.queries import evaluating
from unigen.units import Mean


@dataclass(frozen=True, eq=False)
class ElboTerms:
    """log p(x) ≥ prior + diffusion + reconstruction, each (N,), in nats; only the sum is a log-probability.

    Args:
        prior: −KL(q(z_1 | x) ‖ N(0, I)), exact.
        diffusion: −½ ∫ (g²/sigma²) E‖eps − eps_hat‖² dt, or −Σ_i KL(q(z_i | z_{i+1}, x) ‖ p) of a DDPM; an estimate.
        reconstruction: E log p(x | z_start), in the units of x, exact.
    """

    prior: LogProb
    diffusion: LogProb
    reconstruction: LogProb

    @property
    def bound(self) -> LogProb:
        """Their sum, a lower bound on log p(x)."""
        return replace(self.prior + self.diffusion + self.reconstruction, kind=Kind.LOWER_BOUND)

    def bits_per_dim(self, levels: int = 1) -> dict[str, Mean]:
        """Return what each term costs in bits/dim, and the whole; the D log L of integers is the reconstruction's.

        Args:
            levels: L of data that were dequantised; 1 otherwise.
        """
        return {
            "prior": self.prior.bits_per_dim(),
            "diffusion": self.diffusion.bits_per_dim(),
            "reconstruction": self.reconstruction.bits_per_dim(levels),
            "bound": self.bound.bits_per_dim(levels),
        }

    def __str__(self) -> str:
        """Write the terms and their sum."""
        parts = {
            "prior": self.prior, "diffusion": self.diffusion, "reconstruction": self.reconstruction, "ELBO": self.bound,
        }  # fmt: skip
        return "\n".join(f"{name:<15}{part.mean()}" for name, part in parts.items())


def elbo_terms(
    program: Program,
    x: object,
    context: object = None,
    *,
    density: DiffusionBound = DiffusionBound(),
    seed: int | None = None,
) -> ElboTerms:
    """Split the bound of a diffusion into its prior, diffusion and reconstruction terms.

    −log p(x) ≤ KL(q(z_1 | x) ‖ N(0, I)) + ½ ∫ (g²/sigma²) E‖eps − eps_hat‖² dt − E log p(x | z_start).

    Args:
        program: A `Diffusion` or a `DDPM`.
        x: Data, (N, *event).
        context: Context, (N, C) or (1, C), of a conditional program.
        density: How the diffusion term is estimated.
        seed: Of the estimate.

    Returns:
        ElboTerms in nats, whose ``bound`` is what ``density`` gives.

    Raises:
        ArgumentError: The program has no denoiser.

    References:
        Kingma et al. 2021, Variational diffusion models, equation 11.

    Example:
        >>> import unigen as ug
        >>> terms = elbo_terms(ug.DDPM(2, steps=5, hidden=8, blocks=1), torch.zeros(3, 2), seed=0)
        >>> print(terms.prior.kind, terms.diffusion.kind, terms.bound.kind, sep=", ")
        exact, estimate, lower bound
    """
    denoiser = denoiser_of(program)
    rows, _ = program.check_batch(x, context)
    bound = program.log_prob(x, context, density=density, seed=seed)
    with evaluating(program), torch.no_grad():
        u = denoiser.to_unit(rows)
        prior = LogProb(-denoiser.prior_term(u), Kind.EXACT, None, bound.dims)
        volume = denoiser.reconstruction_term(u) + denoiser.log_volume()
        reconstruction = LogProb(-volume, Kind.EXACT, None, bound.dims)
        rest = bound.value.detach() - prior.value - reconstruction.value
    return ElboTerms(prior, LogProb(rest, Kind.ESTIMATE, bound.stderr, bound.dims), reconstruction)
