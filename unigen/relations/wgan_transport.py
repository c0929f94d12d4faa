r"""The critic of a Wasserstein GAN and optimal transport: the dual is W₁, and a penalty on slopes biases it.

Notation: p the data, q the program, f the critic, F and G the distribution functions of p and q. In one dimension

    W₁(p, q) = ∫ |F − G| dx = max_{‖f'‖ ≤ 1} E_p f − E_q f,      attained where f' = sign(G − F).

For Diracs at distance a the critic −w x minimises −w a + λ (w − 1)₊² at w = 1 + a/(2λ).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unigen.errors import ArgumentError
from unigen.nn.critic import Critic
from unigen.objectives.wasserstein_game import Wasserstein
from unigen.program import Program
from unigen.queries import seeded
from unigen.relations.evidence import Claim, Evidence
from unigen.relations.relation import Relation

QUADRATURE = 1e-5  # error of the trapezoid sums at the kinks of |F − G|, seen by halving the step
ROWS = 400  # of data that are used, at most
TRAINING = 500  # steps of a fresh critic
SHORTFALL = 0.1  # what so short a training may miss of the distance


class WGANtoTransport(Relation):
    """The best critic of a Wasserstein GAN is a Kantorovich potential, and its dual the distance W₁."""

    id = 21
    name = "WGAN – optimal transport"
    families = ("WGAN",)
    statement = (
        "the critic's dual is W₁; a penalty λ on slopes makes it steeper by a/2λ between Diracs at distance a"
    )
    latex = r"W_1(p, q) = \max_{\|f\|_L \le 1} \mathbb{E}_p f - \mathbb{E}_q f, \quad w = 1 + a / 2\lambda"
    source = "Kantorovich & Rubinstein 1958; Arjovsky et al. 2017; Petzka et al. 2018"
    assumptions = ("the critic has Lipschitz constant one", "for the measured value: the critic is optimal")

    def check(
        self, *, mean: float = 2.0, sd: float = 2.0, distance: float = 2.0, penalty: float = 1.0
    ) -> Evidence:
        """Take p = N(0, 1) with N(mean, 1) and with N(0, sd²): primal, dual and other critics by quadrature.

        Args:
            mean: Of the shifted Gaussian.
            sd: Of the widened one, at least 1.
            distance: a, between two Diracs.
            penalty: λ.

        Raises:
            ArgumentError: sd < 1.
        """
        if sd < 1:
            raise ArgumentError(program="relation 21", site="sd", got=sd, expected="≥ 1")
        exact = {"N(m, 1)": abs(mean), "N(0, s²)": (sd - 1) * math.sqrt(2 / math.pi)}
        claims = []
        for (name, value), (m, s) in zip(exact.items(), ((mean, 1.0), (0.0, sd)), strict=True):
            reach = 12 * s + abs(m)
            x = torch.linspace(-reach, reach, 200_001, dtype=torch.float64)
            p, q, gap = _gaussians(x, m, s)
            step = float(x[1] - x[0])
            claims.append(
                Claim(f"∫ |F − G| = W₁ from {name}", float(gap.abs().sum()) * step, value, QUADRATURE)
            )
            f = torch.cumulative_trapezoid(torch.sign(-gap), x)  # E_p f − E_q f = −∫ f' (F − G)
            f = torch.cat([f.new_zeros(1), f])
            f = f - f[x.shape[0] // 2]
            best = self.dual(p, q, f)
            claims.append(Claim(f"dual of the potential of {name} = W₁", best, value, QUADRATURE))
            for label, other in (("0.8 f*", 0.8 * f), ("tanh f*", f.tanh()), ("sin x", x.sin())):
                claims.append(
                    Claim(f"dual of {label} ≤ W₁ from {name}", self.dual(p, q, other), value, 0.0, sense="≤")
                )
        slope = 1 + distance / (2 * penalty)
        claims.append(Claim("slope between Diracs = 1 + a/2λ", self.slope(distance, penalty), slope, 1e-6))
        return self.evidence(*claims, **{f"W₁ from {k}": round(v, 6) for k, v in exact.items()}, slope=slope)

    def dual(self, p: Tensor, q: Tensor, f: Tensor) -> float:
        """Return E_p f − E_q f by quadrature with weights p and q."""
        return float((p * f).sum() - (q * f).sum())

    def slope(self, distance: float, penalty: float) -> float:
        """Return the slope of the affine critic that minimises the game's loss between Diracs at 0 and a."""
        game, critic = Wasserstein(penalty), Critic(1, hidden=()).double()
        x, y = torch.zeros(2, 1, dtype=torch.float64), torch.full((2, 1), distance, dtype=torch.float64)
        weight = critic.net.get_parameter("layers.0.weight")
        with torch.no_grad():
            weight.fill_(-1.5)
        for _ in range(60):  # Newton's method, on a quadratic beyond slope one
            loss = game.critic(critic(x), critic(y)) + game.regulariser(critic, x, y, None)
            (gradient,) = torch.autograd.grad(loss, weight)
            with torch.no_grad():
                weight.sub_(gradient / (2 * penalty))
        return -float(weight.detach())

    def check_programs(self, a: Program, b: Program, data: Tensor) -> Evidence:
        """Train a fresh critic between data and draws, and compare its dual with the optimal assignment of both.

        Raises:
            UnsupportedQueryError: A conditional program.
        """
        if a.context_features:
            raise self.refuse("an unconditional program", a)
        x, _ = a.check_batch(data)
        with seeded(0, a.device):
            x = x[torch.randperm(x.shape[0], device=x.device)[:ROWS]].flatten(1)
            y = a.sample(x.shape[0]).flatten(1)
            critic = self.fresh_critic(x, y)
            dual = float(critic.wasserstein(x, y))
        exact = transport_cost(x, y)
        return self.evidence(
            Claim("dual ≤ W₁ of the samples", dual, exact, 0.01 * exact, sense="≤"),
            Claim("W₁ ≤ dual and what training misses", exact, dual, SHORTFALL * exact, sense="≤"),
            rows=x.shape[0], w1=round(exact, 4), dual=round(dual, 4),
        )  # fmt: skip

    def fresh_critic(self, x: Tensor, y: Tensor) -> Critic:
        """Return a critic trained by the Wasserstein game with a steep penalty, in units of the samples' distance."""
        unit = float((x.mean(0) - y.mean(0)).norm() + x.std(0).norm())
        game = Wasserstein(100.0 * unit)
        critic = Critic(x.shape[1], hidden=(64, 64)).to(x.device, x.dtype).read_as("potential")
        optimizer = torch.optim.Adam(critic.parameters(), lr=5e-3, betas=(0.5, 0.9))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, TRAINING)
        for _ in range(TRAINING):
            i, j = (torch.randint(t.shape[0], (min(256, t.shape[0]),), device=t.device) for t in (x, y))
            optimizer.zero_grad()
            value = game.critic(critic(x[i]), critic(y[j])) + game.regulariser(critic, x[i], y[j], None)
            value.backward()
            optimizer.step()
            schedule.step()
        return critic


def transport_cost(x: Tensor, y: Tensor) -> float:
    """Return W₁ of two samples of the same size (N, D), exactly, by the optimal assignment."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(x.double(), y.double()).cpu().numpy()
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def _gaussians(x: Tensor, mean: float, sd: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights of N(0, 1) and N(mean, sd²) on a grid, and the difference of their distribution functions."""
    step, u = x[1] - x[0], (x - mean) / sd
    p = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi) * step
    q = torch.exp(-u.square() / 2) / (sd * math.sqrt(2 * math.pi)) * step
    return p, q, torch.special.ndtr(x) - torch.special.ndtr(u)
