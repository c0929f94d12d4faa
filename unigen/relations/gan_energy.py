r"""An energy-based model as the critic of its own draws, and a generator as its variational partner.

Notation: p = e^{−E} / Z the energy model, p_d the data, q the generator's distribution, f = −E, H the entropy.

    ∇(−E_{p_d} log p) = ∇(E_{p_d} E − E_p E)           the critic's loss of the Wasserstein game, draws from p itself
    log Z = E_q[−E] + H(q) + KL(q‖p)                   so that a generator maximises E_q[−E] + H(q)
    p ∝ q e^{f*},  f* = log p/q                        a best critic turns the generator into the energy model,
    E(z) = ½‖z‖² − f*(G(z))                            in x or in the generator's latent

Between draws y of a generator and data x the energy is a critic too, with the dual's bound: along the optimal plan,

    E f(x) − E f(y) = E ∫₀¹ ∇f(y + t (x − y))·(x − y) dt ≤ sup‖∇f‖ · W₁.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unigen.objectives.contrastive import minus_log_p
from unigen.objectives.wasserstein_game import Wasserstein
from unigen.plots.style import COLOURS, GREY, figure, style
from unigen.program import Program
from unigen.queries import evaluating, seeded
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.relation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUADRATURE = 1e-9  # error of the trapezoid sums, seen by halving the step
ROWS = 250  # of data and draws, at most
NODES = 64  # on each segment of the plan


class GANtoEnergy(Relation):
    """Maximum likelihood of an energy model is the critic's half of a game; a generator plays the other half."""

    id = 34
    name = "GAN – EBM"
    families = ("GAN", "EnergyModel")
    statement = (
        "the likelihood gradient of an energy model is that of a critic −E against the model's own draws, a generator "
        "bounds log Z by its energy and entropy, and a best critic reweights it into the energy model"
    )
    latex = (
        r"-\nabla\,\mathbb{E}_{p_d}\log p = \nabla\left(\mathbb{E}_{p_d}E - \mathbb{E}_pE\right), \quad "
        r"\log Z = \mathbb{E}_q[-E] + H(q) + \mathrm{KL}(q\,\|\,p)"
    )
    source = "Kim & Bengio 2016; Finn et al. 2016; Che et al. 2020"
    assumptions = (
        "the energy is differentiable and Z finite",
        "for the reweighting: the critic is optimal and q covers p",
    )

    def check(self, *, theta: float = 1.5, data: float = 1.2, width: float = 0.7) -> Evidence:
        """Take E = θ x²/2, data N(0, data²) and generator G(z) = width · z, all by quadrature.

        Args:
            theta: θ, between 0.2 and 5.
            data: Standard deviation of the data, between 0.3 and 2.
            width: That of the generator, between 0.3 and 2.
        """
        x = torch.linspace(-16.0, 16.0, 64_001, dtype=torch.float64)
        step = float(x[1] - x[0])
        p, p_d, q = (_normal(x, sd) * step for sd in (theta**-0.5, data, width))
        log_z = 0.5 * math.log(2 * math.pi / theta)
        slope = 0.5 * (data**2 - 1.0 / theta)
        entropy = 0.5 * math.log(2 * math.pi * math.e * width**2)
        log_p = -0.5 * theta * x.square() - log_z
        kl = float((q * (_log_normal(x, width) - log_p)).sum())
        critic = (_log_normal(x, theta**-0.5) - _log_normal(x, width)).clamp(max=500.0)
        latent = torch.exp(-0.5 * x.square() + self.pulled_back(theta, width, x))
        return self.evidence(
            Claim("∇(−log-likelihood) = ∇(critic's loss), at θ", self.game_slope(x, theta, p_d, p), slope, QUADRATURE),
            Claim("E_q[−E] + H(q) + KL(q‖p) = log Z", -0.5 * theta * width**2 + entropy + kl, log_z, QUADRATURE),
            Claim("E_q[−E] + H(q) ≤ log Z", self.bound(x, theta, q), log_z, QUADRATURE, sense="≤"),
            Claim("E_p[−E] + H(p) = log Z", self.bound(x, theta, p), log_z, QUADRATURE),
            Claim("E_q[e^{f*} x²] = E_p x²", float((q * critic.exp() * x.square()).sum()), 1 / theta, 1e-6),
            Claim(
                "E x² of the generator's draws under E(z)",
                float((latent * (width * x).square()).sum() / latent.sum()), 1 / theta, 1e-6,
            ),
            slope=round(slope, 6), kl=round(kl, 6), log_z=round(log_z, 6),
        )  # fmt: skip

    def game_slope(self, x: Tensor, theta: float, data: Tensor, draws: Tensor) -> float:
        """Return d/dθ of the critic's loss E_draws f − E_data f with f = −θ x²/2, draws held fixed, by quadrature."""
        at = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        f = -0.5 * at * x.square()
        return float(torch.autograd.grad((draws * f).sum() - (data * f).sum(), at)[0])

    def bound(self, x: Tensor, theta: float, q: Tensor) -> float:
        """Return E_q[−E] + H(q) by quadrature with weights q, in nats."""
        seen = q > 0
        density = q[seen] / float(x[1] - x[0])
        return float((q[seen] * (-0.5 * theta * x[seen].square() - density.log())).sum())

    def pulled_back(self, theta: float, width: float, z: Tensor) -> Tensor:
        """Return f*(G(z)), the best critic's value on the generator's draws, up to a constant."""
        x = width * z
        return -0.5 * theta * x.square() + 0.5 * (x / width).square()

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Read the energy of ``b`` as a critic between the data and draws of the generator ``a``.

        Raises:
            UnsupportedQueryError: A conditional program.
        """
        for each in (a, b):
            if each.context_features:
                raise self.refuse("an unconditional program", each)
        x, _ = b.check_batch(data)
        with seeded(0, b.device), evaluating(a), evaluating(b):
            x = x[torch.randperm(x.shape[0], device=x.device)[:ROWS]]
            y = a.sample(x.shape[0]).to(x)
            claims = [self._gradients(b, x, y), *_transported(b, x, y)]
        value, error = _gap(b, x, y)
        return self.evidence(
            *claims, rows=x.shape[0],
            verdict=f"to this energy, data are likelier than the generator's draws by {value:.2f} ± {error:.2f} nats",
        )  # fmt: skip

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return what the critic of the Wasserstein game minimises, from its values on data and draws."""
        return Wasserstein().critic(real, fake)

    def _gradients(self, program: Program, x: Tensor, y: Tensor) -> Claim:
        """Compare the gradients of contrastive learning and of the game on the same rows."""
        weights = [p for p in program.parameters() if p.requires_grad]
        low, high = minus_log_p(program, x, None), minus_log_p(program, y, None)
        learning = torch.autograd.grad(
            low.mean() - high.mean(), weights, retain_graph=True, allow_unused=True
        )
        playing = torch.autograd.grad(self.critic_loss(-low, -high), weights, allow_unused=True)
        pairs = [
            (one, two)
            for one, two in zip(learning, playing, strict=True)
            if one is not None and two is not None
        ]
        size = max((float(one.abs().max()) for one, _ in pairs), default=0.0)
        worst = max((float((one - two).abs().max()) for one, two in pairs), default=0.0)
        rounding = 100 * torch.finfo(x.dtype).eps
        return Claim(
            "gradient of learning − gradient of the game, relative", worst / max(size, 1e-30), 0.0, rounding
        )

    def figure(self, *, theta: float = 1.5, width: float = 0.7) -> Figure:
        """Draw energy model, generator and best critic, and the bound on log Z over the generator's width."""
        x = torch.linspace(-16.0, 16.0, 16_001, dtype=torch.float64)
        seen, log_z = x.abs() < 3.0, 0.5 * math.log(2 * math.pi / theta)
        widths = torch.linspace(0.25, 2.0, 60).tolist()
        critic = _log_normal(x, theta**-0.5) - _log_normal(x, width)
        with style():
            fig = figure(7.4, 3.1)
            left, right = fig.subplots(1, 2)
            left.plot(x[seen], _normal(x, theta**-0.5)[seen], label="energy model p")
            left.plot(x[seen], _normal(x, width)[seen], label="generator q")
            left.plot(
                x[seen],
                (_normal(x, width) * critic.clamp(max=50.0).exp())[seen],
                ":",
                color=GREY,
                label="q exp f*",
            )
            left.set(xlabel="x", title="a best critic reweights q into p")
            left.legend(fontsize=7)
            step = float(x[1] - x[0])
            right.plot(
                widths, [self.bound(x, theta, _normal(x, w) * step) for w in widths], label="E_q[−E] + H(q)"
            )
            right.axhline(log_z, color=GREY, linestyle=":", label="log Z")
            right.axvline(theta**-0.5, color=COLOURS[1], linestyle=":", label="q = p")
            right.set(
                xlabel="width of the generator", ylabel="nats", title="a generator bounds log Z from below"
            )
            right.legend(fontsize=7)
        return fig


def _log_normal(x: Tensor, sd: float) -> Tensor:
    return -0.5 * (x / sd).square() - math.log(sd) - 0.5 * math.log(2 * math.pi)


def _normal(x: Tensor, sd: float) -> Tensor:
    return _log_normal(x, sd).exp()


def _gap(program: Program, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return E f(x) − E f(y) for f = −E, and its standard error."""
    with torch.no_grad():
        real, fake = (-minus_log_p(program, rows, None).double() for rows in (x, y))
    error = math.sqrt(float(real.var() / real.shape[0] + fake.var() / fake.shape[0]))
    return float(real.mean() - fake.mean()), error


def _transported(program: Program, x: Tensor, y: Tensor) -> list[Claim]:
    """Integrate the score along the segments of the optimal plan from y to x, and bound the gap by sup × W₁."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    flat_x, flat_y = x.flatten(1).double(), y.flatten(1).double()
    cost = torch.cdist(flat_y, flat_x)
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    w1 = float(cost[rows, columns].mean())
    start, way = y[rows], x[columns] - y[rows]

    def integral(nodes: int) -> tuple[float, float]:
        at, weights = np.polynomial.legendre.leggauss(nodes)
        total, steepest = 0.0, 0.0
        for t, w in zip((at + 1) / 2, weights / 2, strict=True):
            slope = program.score(start + float(t) * way).flatten(1).double()
            total += float(w) * float((slope * way.flatten(1)).sum(1).mean())
            steepest = max(steepest, float(slope.norm(dim=1).max()))
        return total, steepest

    (coarse, _), (fine, steepest) = integral(NODES // 2), integral(NODES)
    gap, _ = _gap(program, x, y)
    error = 3 * abs(fine - coarse) + 1e-4 * (abs(gap) + 1)  # of the quadrature, and of float32
    return [
        Claim("E f(x) − E f(y) = E ∫ ∇f·(x − y), along the optimal plan", fine, gap, error),
        Claim("E f(x) − E f(y) ≤ sup‖∇f‖ · W₁", gap, steepest * w1, error, sense="≤"),
    ]
