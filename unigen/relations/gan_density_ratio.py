r"""The critic of a GAN and the density ratio; f-divergences from below by critics.

Notation: p the data, q the program, f = logit D the critic, V(f) = E_p log D + E_q log(1 − D) the value of the game
(minus the critic's loss). For a convex φ with φ(1) = 0, conjugate φ*, and any T,

    D_φ(p‖q) = E_q φ(p/q) ≥ E_p T − E_q φ*(T),      with equality at T = φ'(p/q).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unigen.nn.critic import Critic
from unigen.nn.f_divergence import FDivergence
from unigen.nn.f_divergences import KullbackLeibler, PearsonChi2, ReverseKL, SquaredHellinger, TotalVariation
from unigen.objectives.games import NonSaturating
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence, statistical
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUADRATURE = 1e-9  # error of the trapezoid sums, seen by halving the step
KINK = 1e-3  # what a jump of the integrand between two points of the grid adds
FEWEST = 200  # rows of data
ROWS = 4000  # of the data that are used, at most
TRAINING = 400  # steps of the fresh critic


F_DIVERGENCES: tuple[tuple[FDivergence, Callable[[float], float]], ...] = (
    # (divergence, D_φ(N(0, 1) ‖ N(m, 1)))
    (KullbackLeibler(), lambda m: m * m / 2),
    (ReverseKL(), lambda m: m * m / 2),
    (PearsonChi2(), lambda m: math.exp(m * m) - 1),
    (SquaredHellinger(), lambda m: 2 - 2 * math.exp(-m * m / 8)),
    (TotalVariation(), lambda m: math.erf(abs(m) / math.sqrt(8))),
)


class GANtoDensityRatio(Relation):
    """The best critic of a GAN is the log density ratio, and its loss the Jensen–Shannon divergence."""

    id = 20
    name = "GAN – density ratio"
    families = ("GAN",)
    statement = (
        "the best critic's logit is log p/q, the game's value there is 2 JSD(p, q) − log 4, and any critic bounds an "
        "f-divergence from below"
    )
    latex = r"\mathrm{logit}\,D^* = \log \tfrac{p}{q}, \quad V(D^*) = 2\,\mathrm{JSD}(p, q) - \log 4"
    source = "Goodfellow et al. 2014; Nowozin et al. 2016"
    assumptions = (
        "p and q have densities with the same support",
        "for the measured value: the critic is optimal",
    )

    def check(self, *, mean: float = 1.0, rows: int = 20_000, seed: int = 0) -> Evidence:
        """Take p = N(0, 1), q = N(mean, 1): quadrature for the identities, a trained critic for the optimum.

        Args:
            mean: Mean of q, between 0.1 and 2 (the sums are cut off at ±14).
            rows: Draws from each side on which the critic is trained.
            seed: Of these draws.
        """
        x = torch.linspace(-14.0, 14.0 + mean, 40_001, dtype=torch.float64)
        ratio = mean * mean / 2 - mean * x
        p = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi) * (x[1] - x[0])
        q = p * torch.exp(-ratio)
        jsd = 0.5 * float((p * (2 * p / (p + q)).log() + q * (2 * q / (p + q)).log()).sum())
        best = self.value(p, q, ratio)
        claims = [Claim("V(log p/q) = 2 JSD − log 4", best, 2 * jsd - math.log(4.0), QUADRATURE)]
        for name, other in (
            ("0.8 f*", 0.8 * ratio),
            ("f* + 0.2", ratio + 0.2),
            ("f* + sin x / 5", ratio + x.sin() / 5),
        ):
            claims.append(Claim(f"V({name}) ≤ V(f*)", self.value(p, q, other), best, 0.0, sense="≤"))
        for divergence, closed in F_DIVERGENCES:
            v = divergence.optimum(ratio)
            bound = float((p * divergence.activation(v)).sum() - (q * divergence.composed(v)).sum())
            exact = closed(mean)
            error = QUADRATURE * (1 + exact) + (0.0 if divergence.gives_ratio else KINK)
            claims.append(Claim(f"E_p T* − E_q φ*(T*) = {divergence.label}", bound, exact, error))
        with seeded(seed, torch.device("cpu")):
            claims += self._trained(mean, rows)
        return self.evidence(
            *claims, log_ratio=f"{mean * mean / 2:g} − {mean:g} x", jsd=round(jsd, 6), value=round(best, 6)
        )

    def value(self, p: Tensor, q: Tensor, f: Tensor) -> float:
        """Return V(f) = E_p log D + E_q log(1 − D) by quadrature with weights p and q, in nats."""
        softplus = nn.functional.softplus
        return -float((p * softplus(-f)).sum() + (q * softplus(f)).sum())

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return what the critic minimises, from its values on data and draws."""
        return NonSaturating(r1=0.0).critic(real, fake)

    def _trained(self, mean: float, rows: int) -> list[Claim]:
        """Train an affine critic on draws; its asymptotic covariance is that of logistic regression."""
        x = torch.randn(rows, 1, dtype=torch.float64)
        y = mean + torch.randn(rows, 1, dtype=torch.float64)
        critic = Critic(1, hidden=()).double()
        _minimise(critic, lambda: self.critic_loss(critic(x), critic(y)))
        weight, bias = (float(v.detach()) for v in critic.parameters())
        points = torch.cat([x, y])
        d = torch.sigmoid(mean * mean / 2 - mean * points)
        design = torch.cat([points, torch.ones_like(points)], 1)
        slope, shift = torch.linalg.inv((design * d * (1 - d)).T @ design).diagonal().sqrt().tolist()
        return [
            statistical("slope of a trained critic", weight, -mean, slope, bias=1e-4),
            statistical("its value at 0", bias, mean * mean / 2, shift, bias=1e-4),
        ]

    def figure(self, *, mean: float = 1.0) -> Figure:
        """Draw data, generator and the best critic, and the game's value around it."""
        x = torch.linspace(-14.0, 14.0 + mean, 4001, dtype=torch.float64)
        ratio = mean * mean / 2 - mean * x
        density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
        p = density * (x[1] - x[0])
        q = p * torch.exp(-ratio)
        scales, seen = torch.linspace(0.0, 2.5, 51).tolist(), (x > -4) & (x < 4 + mean)
        with style():
            fig = figure(7.4, 3.1)
            left, right = fig.subplots(1, 2)
            left.plot(x[seen], density[seen], label="data p")
            left.plot(x[seen], (density * torch.exp(-ratio))[seen], label="generator q")
            left.plot(x[seen], torch.sigmoid(ratio)[seen], color=COLOURS[9], label="D* = p/(p + q)")
            left.set(xlabel="x", title=f"logit D* = {mean * mean / 2:g} − {mean:g} x")
            left.legend(fontsize=7)
            right.plot(scales, [self.value(p, q, s * ratio) for s in scales], label="V(s · log p/q)")
            right.axhline(self.value(p, q, ratio), color=GREY, linestyle=":", label="2 JSD − log 4")
            right.axhline(-math.log(4.0), color=COLOURS[1], linestyle=":", label="− log 4: p = q")
            right.set(xlabel="s", ylabel="nats", title="no critic does better than the log ratio")
            right.legend(fontsize=7)
        return fig

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Train a fresh critic between the program's draws and the data, and read the divergence on unseen rows.

        A critic that is a log density ratio satisfies E_p (1 − D) g = E_q D g for every g, here for g = 1 and g = f.
        Half of the rows train it, a quarter fix its slope and offset, the last quarter measures.

        Raises:
            UnsupportedQueryError: Too few rows, or a conditional program.
        """
        if a.context_features:
            raise self.refuse("an unconditional program", a)
        x, _ = a.check_batch(data)
        if x.shape[0] < FEWEST:
            raise self.refuse(f"at least {FEWEST} rows of data", a)
        with seeded(0, a.device):
            x = x[torch.randperm(x.shape[0], device=x.device)[:ROWS]]
            y = a.sample(x.shape[0])
            n = x.shape[0] // 4
            critic = self.fresh_critic(x[2 * n :], y[2 * n :])
        with torch.no_grad():
            real, fake = critic(x[: 2 * n]).double(), critic(y[: 2 * n]).double()
        real, fake = _recalibrated(real, fake, n)
        d, one = torch.sigmoid(fake), torch.sigmoid(-real)
        softplus = nn.functional.softplus
        terms = math.log(2.0) - 0.5 * (softplus(-real) + softplus(fake))
        jsd, error = float(terms.mean()), float(terms.std()) / math.sqrt(n)
        claims = [statistical("JSD(p, q) ≥ 0", jsd, 0.0, error, bias=2.0 / n, sense="≥")]
        claims.append(Claim("JSD(p, q) ≤ log 2", jsd, math.log(2.0), 0.0, sense="≤"))
        for name, left, right in (("1", one, d), ("f", one * real, d * fake)):
            stderr = math.sqrt(
                2.0 * float(left.var() + right.var()) / n
            )  # as much again from the recalibration
            claims.append(
                statistical(
                    f"E_p (1 − D) g = E_q D g, g = {name}", float(left.mean()), float(right.mean()), stderr
                )
            )
        return self.evidence(
            *claims, rows=n, jsd=f"at least {jsd:.4f} ± {error:.4f} nats of {math.log(2.0):.4f}"
        )

    def fresh_critic(self, x: Tensor, y: Tensor) -> Critic:
        """Return a critic trained to tell the rows of x from those of y."""
        critic = Critic(x.shape[1:].numel(), hidden=(64, 64)).to(x.device, x.dtype)
        optimizer = torch.optim.AdamW(critic.parameters(), lr=2e-3, weight_decay=1e-2)
        for _ in range(TRAINING):
            rows, others = (torch.randint(t.shape[0], (128,), device=t.device) for t in (x, y))
            optimizer.zero_grad()
            self.critic_loss(critic(x[rows]), critic(y[others])).backward()
            optimizer.step()
        return critic


def _minimise(module: nn.Module, loss: Callable[[], Tensor]) -> None:
    """Minimise a smooth convex loss of a few parameters to rounding."""
    optimizer = torch.optim.LBFGS(
        module.parameters(),
        max_iter=100,
        tolerance_grad=1e-10,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


def _recalibrated(real: Tensor, fake: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Fit slope and offset of the logits on the first n rows, and return the others' logits, recalibrated."""
    line = nn.Linear(1, 1).double().to(real.device)
    with torch.no_grad():
        line.weight.fill_(1.0)
        line.bias.zero_()
    one, two = real[:n, None], fake[:n, None]
    _minimise(line, lambda: NonSaturating(r1=0.0).critic(line(one), line(two)))
    with torch.no_grad():
        return line(real[n:, None]).squeeze(1), line(fake[n:, None]).squeeze(1)
