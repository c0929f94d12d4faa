r"""Diffusion as the limit of a hierarchical VAE: the bound of T steps falls to that of continuous time.

Step s ← t of the hierarchy costs KL(q(z_s|z_t,u) ‖ p) = ½ (SNR_s/SNR_t − 1) ‖eps − eps_hat‖², a Riemann sum of
½ ∫ mmse dSNR from above, since the mmse falls in SNR. The integral depends on the schedule by its ends alone: for
N(0, s²) data it is ½ log (1 + s² SNR_0)/(1 + s² SNR_1).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.densities.diffusion_bound import DiffusionBound
from unigen.dynamics.denoiser import Denoiser
from unigen.dynamics.prediction import Eps
from unigen.dynamics.schedule import LogLinearSNR, VPCosine
from unigen.models.ddpm import DDPM
from unigen.models.diffusion import Diffusion
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.noisy_mixture import NoisyMixture
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDING = 1e-9
QUADRATURE = 1e-5  # of the integral over time by the midpoint rule
ROWS = 256  # examples of the data
STEPS = 100  # of a DDPM made from a diffusion


class DiffusionHierarchy(Relation):
    """A diffusion is the limit of DDPMs, deep hierarchical VAEs with a fixed encoder."""

    id = 13
    name = "diffusion – hierarchical VAE"
    families = ("Diffusion", "DDPM")
    statement = "the T-step bound falls to the continuous one, which depends on the SNR at the ends only"
    latex = (
        r"\sum_i \tfrac12(\mathrm{SNR}_{i}/\mathrm{SNR}_{i+1}-1)\,\mathrm{mse}_{i+1} \searrow "
        r"\tfrac12\int \mathrm{mmse}\,\mathrm{d}\,\mathrm{SNR}"
    )
    source = "Kingma et al. 2021"
    assumptions = ("one denoiser serves both", "its error falls as the SNR grows")
    converts = (("Diffusion", "DDPM"), ("DDPM", "Diffusion"))

    def step_weight(self, log_snr_s: Tensor, log_snr_t: Tensor) -> Tensor:
        """Return what the squared error of a step s ← t costs, in nats."""
        return 0.5 * torch.expm1(log_snr_s - log_snr_t)

    def by_steps(self, law: NoisyMixture, steps: int) -> float:
        """Return the diffusion term of T steps for N(0, s²) data in closed form, in nats."""
        times = torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)
        log_snr = law.schedule.log_snr(times)
        signal = law.std**2 * torch.exp(log_snr[1:])
        return float((self.step_weight(log_snr[:-1], log_snr[1:]) * signal / (1.0 + signal)).sum())

    def check(
        self,
        *,
        std: float = 2.0,
        snr: tuple[float, float] = (1e3, 1e-4),
        steps: tuple[int, ...] = (5, 10, 50, 100),
        draws: int = 100_000,
        seed: int = 0,
    ) -> Evidence:
        """Sum the steps in closed form, measure the programs, and integrate under two schedules.

        Args:
            std: s of the data.
            snr: SNR at t = 0 and at t = 1.
            steps: The values of T.
            draws: Data, each with one step, from which a program's term is estimated.
            seed: Of these.
        """
        law = NoisyMixture(LogLinearSNR(*snr), torch.zeros(1, 1), std)
        limit = 0.5 * math.log((1 + std**2 * snr[0]) / (1 + std**2 * snr[1]))
        terms = [self.by_steps(law, count) for count in steps]
        claims = []
        with seeded(seed, torch.device("cpu")):
            for count, term in zip(steps, terms, strict=True):
                mean, stderr = self._measured(law, count, draws)
                claims.append(
                    statistical(f"T = {count}: DDPM's diffusion term = sum of its steps", mean, term, stderr)
                )
        for first, second in zip(terms, [*terms[1:], limit], strict=True):
            claims.append(Claim("it falls with T, to the limit", second, first, ROUNDING, sense="≤"))
        fine = self.by_steps(law, 100_000)
        claims.append(Claim("T = 100,000 = limit", fine, limit, 1e-3))
        for schedule in (LogLinearSNR(*snr), VPCosine(*snr)):
            found = self._integral(NoisyMixture(schedule, torch.zeros(1, 1), std))
            claims.append(Claim(f"{type(schedule).__name__}: integral = limit", found, limit, QUADRATURE))
        return self.evidence(
            *claims,
            terms=dict(zip(steps, (round(term, 4) for term in terms), strict=True)),
            limit=round(limit, 6),
        )

    @torch.no_grad()
    def _measured(self, law: NoisyMixture, steps: int, draws: int) -> tuple[float, float]:
        """Diffusion term of the library's DDPM on draws of the data, with its standard error."""
        ddpm = DDPM(1, steps + 1, network=law, schedule=law.schedule, prediction=Eps()).double()
        x = law.std * torch.randn(draws, 1, dtype=torch.float64)
        bound = ddpm.bound(x, torch.rand(draws, dtype=torch.float64), torch.randn_like(x))
        terms = -bound - ddpm.denoiser.prior_term(x) - ddpm.denoiser.reconstruction_term(x)
        return terms.mean().item(), terms.std().item() / math.sqrt(draws)

    @torch.no_grad()
    def _integral(self, law: NoisyMixture, points: int = 20_000) -> float:
        """∫ likelihood weight · mmse dt by the denoiser's own weight."""
        denoiser = law.denoiser()
        t = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        signal = law.std**2 * torch.exp(law.schedule.log_snr(t))
        return float((denoiser.likelihood_weight(t) * signal / (1.0 + signal)).mean())

    def figure(self, *, std: float = 2.0, snr: tuple[float, float] = (1e3, 1e-4), most: int = 200) -> Figure:
        """Draw the diffusion term against the number of steps, above its limit."""
        law = NoisyMixture(LogLinearSNR(*snr), torch.zeros(1, 1), std)
        steps = sorted({round(5 * (most / 5) ** (i / 40)) for i in range(41)})
        with style():
            fig = figure(5.4, 3.2)
            axes = fig.subplots()
            axes.plot(
                steps,
                [self.by_steps(law, count) for count in steps],
                color=COLOURS[0],
                marker="o",
                markersize=3,
            )
            limit = 0.5 * math.log((1 + std**2 * snr[0]) / (1 + std**2 * snr[1]))
            axes.axhline(limit, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.set(
                xscale="log", xlabel="steps T", ylabel="diffusion term (nats)", title=f"falls to {limit:.4g}"
            )
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Compare a diffusion with a DDPM of the same denoiser on data: the steps cost more.

        Raises:
            UnsupportedQueryError: The two have different networks, schedules, predictions or starts.
        """
        assert isinstance(a, Diffusion)
        assert isinstance(b, DDPM)
        if not _same(a.denoiser, b.denoiser):
            raise self.refuse(
                self.assumptions[0], b, hint=f"ug.convert(diffusion, to='DDPM') makes one of {STEPS} steps"
            )
        x, _ = a.check_batch(data[:ROWS])
        with seeded(0, a.device):
            continuous, discrete = (
                program.log_prob(x, density=DiffusionBound(32, 8)).mean() for program in (a, b)
            )
        stderr = math.hypot(continuous.monte_carlo or 0.0, discrete.monte_carlo or 0.0)
        return self.evidence(
            statistical(f"bound of {b.steps} steps ≤ bound of the diffusion", discrete.value, continuous.value, stderr,
                        sense="≤"),
            gap_in_nats=round(continuous.value - discrete.value, 4),
        )  # fmt: skip

    def convert(self, program: Program, *, to: str) -> Program:
        """Return the program of the other family that shares the denoiser: a DDPM of 100 steps, or the diffusion.

        Raises:
            UnsupportedQueryError: It is neither a diffusion nor a DDPM.
        """
        if not isinstance(program, Diffusion | DDPM) or to not in self.families:
            raise self.refuse("a Diffusion or a DDPM", program)
        old = program.denoiser
        options = {
            "network": old.network, "schedule": old.schedule, "prediction": old.prediction, "start": old.start,
            "context": program.context_features, "each": program.each,
        }  # fmt: skip
        event = tuple(program.event_shape)
        new = DDPM(event, STEPS, **options) if to == "DDPM" else Diffusion(event, **options)
        new = new.to(device=old.loc.device, dtype=old.loc.dtype)
        with torch.no_grad():
            new.denoiser.loc.copy_(old.loc)
            new.denoiser.scale.copy_(old.scale)
        new.fitted = program.fitted
        return new


def _same(a: Denoiser, b: Denoiser) -> bool:
    """Whether two denoisers give one answer."""
    levels = a.schedule is b.schedule or repr(a.schedule) == repr(b.schedule)
    units = torch.equal(a.loc, b.loc) and torch.equal(a.scale, b.scale) and a.start == b.start
    return a.network is b.network and levels and units and repr(a.prediction) == repr(b.prediction)
