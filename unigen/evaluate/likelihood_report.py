"""What is known of a likelihood, line by line: along the flow, by the bound, at the end, and for integers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unigen.densities.density import Density
from unigen.densities.diffusion_bound import DiffusionBound
from unigen.densities.probability_flow import ProbabilityFlow
from unigen.dynamics.denoiser import Denoiser
from unigen.errors import ArgumentError
from unigen.evaluate.elbo_terms import ElboTerms, elbo_terms
from unigen.evaluate.terminal_mismatch import TerminalMismatch, terminal_mismatch
from unigen.logprob import Kind, LogProb
from unigen.program import Program
from unigen.queries import seeded
from unigen.units import log_mass

MISMATCH = 2000  # data from which the mismatch is estimated, at a cost of their square


@dataclass(frozen=True, eq=False)
class LikelihoodReport:
    """The likelihood of a program on data, in nats.

    Args:
        flow: log p(x) along the ODE.
        terms: The three terms of the bound; None for a program without a denoiser.
        mismatch: Noise of the data against N(0, I); None without a denoiser, or for a conditional program.
        mass: Lower bound on log P(k) of the integers behind dequantised x; None for continuous data.
        dequantisation: Nats an example that ``mass`` gains by several draws of the noise: a lower bound on what uniform
            dequantisation costs; None for one draw.
        levels: L.
    """

    flow: LogProb
    terms: ElboTerms | None
    mismatch: TerminalMismatch | None
    mass: LogProb | None
    dequantisation: float | None
    levels: int

    def __str__(self) -> str:
        """Write one line a quantity, in nats and in bits/dim."""
        lines = [f"flow: {self.flow.mean()} = {self.flow.bits_per_dim(self.levels)}"]
        if self.terms is not None:
            bits = self.terms.bits_per_dim(self.levels)
            lines.append(f"bound: {self.terms.bound.mean()} = {bits['bound']}")
            names = ("prior", "diffusion", "reconstruction")
            lines += [f"  {name}: {getattr(self.terms, name).mean()} = {bits[name]}" for name in names]
        if self.mismatch is not None:
            lines.append(str(self.mismatch))
        if self.mass is not None:
            lines.append(f"integers ({self.levels} levels): {self.mass.mean()} = {self.mass.bits_per_dim()}")
        if self.dequantisation is not None:
            lines.append(
                f"  dequantisation: {self.dequantisation:.4g} nats gained by several draws of the noise"
            )
        return "\n".join(lines)


def _again(x: Tensor, levels: int) -> Tensor:
    """The same integers under fresh noise: y = (⌊L y⌋ + u) / L, kept off the ends."""
    margin = 2 * levels * torch.finfo(x.dtype).eps
    return (torch.floor(x * levels) + torch.rand_like(x).clamp(margin, 1 - margin)) / levels


def _mass(values: Tensor, first: LogProb, levels: int) -> tuple[LogProb, float | None]:
    """log P(k) ≥ log 1/K Σ_j p(y_j) − D log L from densities (K, N), and what K > 1 gains."""
    assert first.dims is not None
    value = torch.logsumexp(values, 0) - math.log(values.shape[0])
    gain = float((value - values.mean(0)).double().mean()) if values.shape[0] > 1 else None
    stderr = first.stderr if values.shape[0] == 1 else None
    return LogProb(log_mass(value, first.dims, levels), Kind.LOWER_BOUND, stderr, first.dims), gain


def likelihood_report(
    program: Program,
    x: object,
    context: object = None,
    *,
    levels: int = 1,
    noises: int = 1,
    data: object = None,
    density: Density = ProbabilityFlow(rtol=1e-5, atol=1e-5),
    bound: DiffusionBound = DiffusionBound(),
    seed: int | None = None,
) -> LikelihoodReport:
    """Report the likelihood along the flow, the bound's terms, the terminal mismatch and the mass of integers apart.

    log P(k) ≥ E log [ 1/K Σ_j p((k + u_j) / L) ] − D log L,     u_j uniform, K = ``noises``.

    Args:
        program: A `Diffusion`, `CNF` or `FlowMatching` (a `DDPM` has the bound alone: `elbo_terms`).
        x: Held-out data, (N, *event); dequantised, in [0, 1], where ``levels`` is above 1.
        context: Context, (N, C), of a conditional program.
        levels: L, the factor by which dequantised integers were divided; 1 for continuous data.
        noises: K, draws of the dequantisation noise, one evaluation of the density each.
        data: What the program was fitted to, for the mismatch; x if omitted.
        density: The density along the flow.
        bound: How the diffusion term is estimated.
        seed: Of all that is random.

    Returns:
        LikelihoodReport; printing it gives a line for each.

    Raises:
        ArgumentError: The program has no flow, levels or noises < 1, or several noises for continuous data.

    References:
        Theis, van den Oord & Bethge 2016; Song et al. 2021; Burda, Grosse & Salakhutdinov 2016.

    Example:
        >>> import unigen as ug
        >>> report = likelihood_report(ug.CNF(2, hidden=(8,)), torch.rand(4, 2), levels=16, seed=0)
        >>> report.mass.kind, report.terms
        (<Kind.LOWER_BOUND: 'lower bound'>, None)
    """
    if levels < 1 or noises < 1 or (levels == 1 and noises > 1):
        raise ArgumentError(
            program="likelihood_report", got=f"levels={levels}, noises={noises}",
            expected="levels ≥ 1, noises ≥ 1, and several noises only with levels > 1",
        )  # fmt: skip
    rows, _ = program.check_batch(x, context)
    if levels > 1 and not bool(((rows >= 0.0) & (rows <= 1.0)).all()):
        raise ArgumentError(
            "dequantised data lie in the unit interval", program="likelihood_report", site="x",
            got=f"[{float(rows.min()):g}, {float(rows.max()):g}]", expected="(k + u) / levels", hint="levels=1",
        )  # fmt: skip
    diffusion = isinstance(getattr(program, "denoiser", None), Denoiser)
    with seeded(seed, program.device), torch.no_grad():
        flow = program.log_prob(rows, context, density=density)
        values = [flow.value]
        values += [
            program.log_prob(_again(rows, levels), context, density=density).value for _ in range(noises - 1)
        ]
        mass, gain = _mass(torch.stack(values), flow, levels) if levels > 1 else (None, None)
        terms = elbo_terms(program, rows, context, density=bound) if diffusion else None
        mismatch = None
        if diffusion and not program.context_features:
            fitted = rows if data is None else program.check_batch(data)[0]
            mismatch = terminal_mismatch(program, fitted[:MISMATCH])
    return LikelihoodReport(flow, terms, mismatch, mass, gain, levels)
