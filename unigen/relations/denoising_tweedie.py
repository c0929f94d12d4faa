r"""Denoising, the score, and Tweedie's formula.

The network that minimises E‖eps − eps_hat(z_t, t)‖² is E[eps | z_t] = −sigma ∇ log p_t(z_t), so that E[u | z_t] =
(z_t + sigma² ∇ log p_t)/alpha. The loss of any other exceeds the least by its mean squared distance from it (the cross
term vanishes), and the least loss is not zero: per dimension 1 − sigma² E‖∇ log p_t‖²/D.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from unigen.dynamics.schedule import Schedule, VPLinear
from unigen.dynamics.unit_flow import sum_events
from unigen.models.diffusion import Diffusion
from unigen.objectives.denoising import DenoisingScoreMatching
from unigen.objectives.weighting import NoiseWeighting
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.noisy_mixture import NoisyMixture
from unigen.relations.relation import Relation

ROUNDING = 1e-9
QUADRATURE = 1e-6  # of the mean over time by the midpoint rule
ROWS, REPEATS = 256, 40  # examples of the data, and draws of time and noise for each


class DenoisingTweedie(Relation):
    """Denoising finds the score, and its least loss is a number."""

    id = 10
    name = "denoising – score – Tweedie"
    families = ("Diffusion",)
    statement = (
        "the best denoiser is the score, E[u|z] = (z + σ²s)/α, and the denoising loss has a computable floor"
    )
    latex = r"E[x_0\mid x_t] = (x_t + \sigma^2\nabla\log p_t(x_t))/\alpha"
    source = "Vincent 2011; Efron 2011"
    assumptions = ("the noise is normal and independent of the data",)

    def tweedie(self, z: Tensor, score: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Return E[u | z] by the formula."""
        return (z + sigma.square() * score) / alpha

    def check(
        self,
        *,
        spacing: float = 6.0,
        std: float = 1.5,
        schedule: Schedule = VPLinear(),
        start: float = 1e-4,
        batches: int = 20,
        seed: int = 0,
    ) -> Evidence:
        """Compare on a 3×3 grid of Gaussians: Tweedie's formula, the floor, and the excess of a worse network.

        Args:
            spacing: Between neighbouring centres.
            std: Of each Gaussian.
            schedule: Of the noise.
            start: Smallest time.
            batches: Of 2,000 draws each, from which the loss is estimated.
            seed: Of the draws.
        """
        side = torch.tensor([-spacing, 0.0, spacing], dtype=torch.float64)
        grid = torch.tensor(list(itertools.product(side.tolist(), repeat=2)), dtype=torch.float64)
        law, line = NoisyMixture(schedule, grid, std), NoisyMixture(schedule, side[:, None], std)
        floor = self.floor(line, start)
        with seeded(seed, torch.device("cpu")):
            tweedie = self._tweedie_gap(law)
            loss = self._losses(law, start, batches)
            worse, distance = self._excess(law, start, batches)
        mean, stderr = loss.mean().item(), loss.std().item() / math.sqrt(batches)
        gap = worse - distance
        return self.evidence(
            Claim("E[u|z] − (z + σ²s)/α, worst of 50 points", tweedie, 0.0, ROUNDING),
            statistical("loss of the best denoiser, a dimension = its floor by quadrature", mean, floor, stderr,
                        bias=QUADRATURE),
            statistical("loss of a worse one − floor = its squared distance", worse.mean().item(),
                        distance.mean().item(), gap.std().item() / math.sqrt(batches)),
            floor_a_dimension=round(floor, 6),
        )  # fmt: skip

    def floor(self, line: NoisyMixture, start: float, points: int = 1000) -> float:
        """Return the least loss a dimension of data that are independent copies of one dimension."""
        t = start + (1.0 - start) * (torch.arange(points, dtype=torch.float64) + 0.5) / points
        values = [1.0 - line.quadrature(part)[0] for part in t.split(200)]
        return torch.cat(values).mean().item()

    def _tweedie_gap(self, law: NoisyMixture) -> float:
        """Largest difference between E[u | z] by responsibilities and by the differentiated log p_t."""
        t = torch.linspace(0.02, 1.0, 50, dtype=torch.float64)
        z = (3.0 * torch.randn(50, 2, dtype=torch.float64)).requires_grad_(True)
        score = torch.autograd.grad(law.log_prob(z, t).sum(), z)[0]
        alpha, sigma, variance = (level[:, None] for level in law.levels(t))
        weights = torch.softmax(law.offsets(z, t)[1], 1)
        own = law.centres + (alpha * law.std**2 / variance)[..., None] * law.offsets(z, t)[0]
        exact = (weights[..., None] * own).sum(1)
        return ((self.tweedie(z, score, alpha, sigma) - exact) * alpha).abs().max().item()

    @torch.no_grad()
    def _losses(self, law: NoisyMixture, start: float, batches: int) -> Tensor:
        """Losses of the library's objective with the best network, a dimension, (batches,)."""
        program = Diffusion(
            2, network=law, schedule=law.schedule, prediction=law.denoiser().prediction, start=start
        )
        loss = DenoisingScoreMatching(NoiseWeighting()).players(program.double())[0].loss
        return torch.stack([loss(law.draw(2000)) / 2 for _ in range(batches)])

    @torch.no_grad()
    def _excess(self, law: NoisyMixture, start: float, batches: int) -> tuple[Tensor, Tensor]:
        """Excess loss of a network that says too little, and its squared distance from the best, (batches,) each."""
        denoiser, excess, distance = law.denoiser(start), [], []
        for _ in range(batches):
            u, eps, t = (
                law.draw(2000),
                torch.randn(2000, 2, dtype=torch.float64),
                denoiser.at(torch.rand(2000).double()),
            )
            best = denoiser(denoiser.perturb(u, t, eps), t)[1]
            worse = 0.8 * best + 0.1
            excess.append((sum_events((eps - worse).square()) - sum_events((eps - best).square())).mean())
            distance.append(sum_events((worse - best).square()).mean())
        return torch.stack(excess), torch.stack(distance)

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Measure a diffusion against the floor of these very data, whose best denoiser remembers them.

        Raises:
            UnsupportedQueryError: The program is not an unconditional diffusion.
        """
        if not isinstance(a, Diffusion) or a.context_features:
            raise self.refuse("an unconditional Diffusion", a)
        rows, _ = a.check_batch(data[:ROWS])
        denoiser = a.denoiser
        u = denoiser.to_unit(rows).repeat(REPEATS, *(1,) * (rows.dim() - 1))
        law = NoisyMixture(denoiser.schedule, denoiser.to_unit(rows).flatten(1), 0.0)
        with evaluating(a), seeded(0, a.device), torch.no_grad():
            t, eps = denoiser.at(torch.rand(u.shape[0]).to(u)), torch.randn_like(u)
            z = denoiser.perturb(u, t, eps)
            own = denoiser(z, t)[1].flatten(1).double()
            best = torch.cat(
                [
                    law(p.flatten(1).double(), q.double())
                    for p, q in zip(z.split(ROWS), t.split(ROWS), strict=True)
                ]
            )
        eps = eps.flatten(1).double()
        loss, floor = ((eps - guess).square().mean(1) for guess in (own, best))
        gap, d = loss - floor - (own - best).square().mean(1), math.sqrt(len(loss))
        return self.evidence(
            statistical("loss − floor = squared distance from the best", (loss - floor).mean().item(),
                        (own - best).square().mean().item(), gap.std().item() / d),
            statistical("loss ≥ floor", loss.mean().item(), floor.mean().item(),
                        (loss - floor).std().item() / d, sense="≥"),
            floor_is_of=f"{rows.shape[0]} examples, which a network that generalises does not reach",
        )  # fmt: skip
