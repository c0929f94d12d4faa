"""Modes that adversarial and moment-matching generators recover: a ring of 8 and a grid of 25 Gaussians, five seeds.

    python -m benchmarks.modes --json

The ring has radius 2 and sd .02, the grid spacing 2 and sd .05, as in Srivastava et al. (VEEGAN, 2017). All variants
share one generator (2 latents, three hidden layers of 128), one critic (the same layers on x and 64 random sines and
cosines of it, so that widths of .05 in a square of side 8 are seen early), a schedule, and the moving average of the
generator; what differs is the game, its regularisation and the number of steps. Moment matching has kernels in place of
a critic. A mode is recovered if one of 2,500 draws lies within 3 sd of its centre, the usual count, and the share of
such draws is that of high quality.

Target, on the grid: WGAN with gradient penalty and at least one other variant recover 24 of the 25 modes or more with
80 % of the draws of high quality, from every seed and in at most 300 processor seconds each.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

import unigen as ug
from benchmarks.clock import processor_seconds
from unigen.data.toy import grid, ring
from unigen.errors import DivergedError
from unigen.evaluate.mode_coverage import Coverage, mode_coverage
from unigen.nn.critic import Critic
from unigen.nn.lipschitz import WeightConstraint
from unigen.nn.mlp import MLP
from unigen.objectives.games import Game
from unigen.objectives.objective import Objective

HIDDEN, LATENTS, WAVES, FREQUENCY = (128, 128, 128), 2, 64, 2.0
ROWS, DRAWS = 50_000, 2500
LIMIT = 300.0  # processor seconds
TASKS = {"ring": ring(8, 2.0, 0.02), "grid": grid(5, 2.0, 0.05)}


class Waves(nn.Module):
    """A perceptron on x and random sines and cosines of it (Rahimi & Recht 2007): (N, 2) → (N, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", FREQUENCY * torch.randn(2, WAVES))
        self.net = MLP(2 + 2 * WAVES, 1, hidden=HIDDEN, activation=nn.LeakyReLU(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the critic's value."""
        phase = x @ self.frequencies
        return self.net(torch.cat([x, phase.sin(), phase.cos()], -1))


@dataclass(frozen=True)
class Variant:
    """A game, and how it is played.

    Args:
        game: The game, or an objective without a critic.
        steps: Rounds on the grid; the ring takes half.
        critic_steps: Critic steps a round.
        lr: Adam's learning rate, which falls to a fiftieth along a cosine.
        rates: Factors of it for program and critic.
        betas: Adam's.
        batch_size: Examples a batch.
        constraint: Of the critic's weights, where the game asks for none.
    """

    game: Game | Objective
    steps: int = 6000
    critic_steps: int = 1
    lr: float = 1e-3
    rates: tuple[float, float] = (1.0, 1.0)
    betas: tuple[float, float] = (0.5, 0.9)
    batch_size: int = 256
    constraint: WeightConstraint | None = None

    def objective(self) -> Objective:
        """Return the objective, with a fresh critic where it has one."""
        if isinstance(self.game, Objective):
            return self.game
        critic = Critic(2, net=Waves(), constraint=self.game.constraint or self.constraint)
        return ug.Adversarial(
            self.game, critic=critic, critic_steps=self.critic_steps, lr=self.rates, betas=self.betas
        )


_SLOPES = {"steps": 20_000, "betas": (0.0, 0.9)}
VARIANTS: dict[str, Variant] = {
    "minimax": Variant(ug.Minimax()),
    "non-saturating": Variant(ug.NonSaturating(r1=0.0)),
    "non-saturating + R1": Variant(ug.NonSaturating(r1=0.2)),
    "least squares": Variant(ug.LeastSquares()),
    "hinge": Variant(ug.Hinge()),
    "hinge + R1": Variant(ug.Hinge(r1=0.2)),
    "hinge, spectral norm": Variant(ug.Hinge(), constraint=ug.SpectralNorm()),
    "f-GAN, KL": Variant(ug.FGAN(ug.KullbackLeibler())),
    "f-GAN, reverse KL": Variant(ug.FGAN(ug.ReverseKL(), saturating=True)),
    "f-GAN, Jensen–Shannon": Variant(ug.FGAN(ug.JensenShannon())),
    "f-GAN, Pearson χ²": Variant(ug.FGAN(ug.PearsonChi2())),
    "f-GAN, Hellinger²": Variant(ug.FGAN(ug.SquaredHellinger(), saturating=True)),
    "f-GAN, total variation": Variant(ug.FGAN(ug.TotalVariation())),
    "WGAN, clipping": Variant(ug.Wasserstein(constraint=ug.WeightClipping(0.1)), critic_steps=3),
    "WGAN, gradient penalty": Variant(ug.Wasserstein(0.01, two_sided=True), **_SLOPES),
    "WGAN, one-sided penalty": Variant(ug.Wasserstein(0.01), **_SLOPES),
    "WGAN, spectral norm": Variant(ug.Wasserstein(constraint=ug.SpectralNorm()), betas=(0.0, 0.9)),
    "MMD": Variant(
        ug.MomentMatching(ug.GaussianKernel((0.015, 0.05, 0.15, 0.5, 1.0))), lr=2e-3, batch_size=512
    ),
    "energy distance": Variant(ug.EnergyDistance(), lr=2e-3, batch_size=512),
}


def train(
    name: str, task: str, seed: int, *, scale: float = 1.0, compile: bool = True
) -> tuple[Coverage, float]:
    """Train one variant; return the coverage of its draws, and the processor seconds it took.

    Args:
        name: Of the variant.
        task: "ring" or "grid".
        seed: Of data, starting values and run.
        scale: Factor of the number of steps.
        compile: Whether steps are compiled.
    """
    variant, toy = VARIANTS[name], TASKS[task]
    torch.manual_seed(seed)
    x = toy.sample(torch.Size([ROWS])).float()
    gan = ug.GAN(2, LATENTS, hidden=HIDDEN)
    steps = max(1, int(variant.steps * scale * (0.5 if task == "ring" else 1.0)))
    began = processor_seconds()
    ug.fit(
        gan, x, objective=variant.objective(), steps=steps, batch_size=variant.batch_size, lr=variant.lr,
        schedule=ug.Cosine(final=0.02), ema=0.999, seed=seed, compile=compile, progress=False,
    )  # fmt: skip
    seconds = processor_seconds() - began
    sd = float(toy.scale_tril[0, 0, 0])
    return mode_coverage(gan.sample(DRAWS, seed=seed), toy.means, sd), seconds


@dataclass(frozen=True)
class Row:
    """What the seeds of a variant gave on a task, each a list over seeds; ``failed`` says why a seed gave nothing."""

    variant: str
    task: str
    modes: int
    recovered: list[int]
    high_quality: list[float]
    divergence: list[float]
    seconds: list[float]
    failed: list[str]

    def __str__(self) -> str:
        """Write the row of a table: means over seeds, and the least number of modes."""
        if not self.recovered:
            return f"| {self.variant} | {self.task} | diverged | | | |"
        mean, n = statistics.fmean, len(self.failed)
        note = f"; {n} diverged" if n else ""
        modes = f"{mean(self.recovered):.1f} of {self.modes}, least {min(self.recovered)}{note}"
        return (
            f"| {self.variant} | {self.task} | {modes} | {mean(self.high_quality):.1%} | "
            f"{mean(self.divergence):.2f} | {max(self.seconds):.0f} |"
        )


def row(name: str, task: str, seeds: Sequence[int], scale: float, compile: bool) -> Row:
    """Train a variant from every seed."""
    found = Row(name, task, TASKS[task].means.shape[0], [], [], [], [], [])
    for seed in seeds:
        try:
            coverage, seconds = train(name, task, seed, scale=scale, compile=compile)
        except DivergedError as error:
            found.failed.append(str(error))
            continue
        found.recovered.append(coverage.recovered)
        found.high_quality.append(coverage.high_quality)
        found.divergence.append(coverage.divergence)
        found.seconds.append(seconds)
    return found


def met(each: Row) -> bool:
    """Say whether every seed of a row met the target."""
    good = bool(each.recovered) and not each.failed and min(each.recovered) >= each.modes - 1
    return good and min(each.high_quality) >= 0.8 and max(each.seconds) <= LIMIT


def main() -> None:
    """Train, count, tabulate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON too")
    parser.add_argument("--task", choices=list(TASKS), action="append", help="all if omitted")
    parser.add_argument("--variant", choices=list(VARIANTS), action="append", help="all if omitted")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the number of steps")
    parser.add_argument("--eager", action="store_true", help="do not compile the steps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| variant | data | modes recovered | high quality | KL of the modes, nats | processor s, most |")
    print("|---|---|---|---|---|---|", flush=True)
    rows = []
    for task in options.task or TASKS:
        for name in options.variant or VARIANTS:
            rows.append(row(name, task, range(options.seeds), options.scale, not options.eager))
            print(rows[-1], flush=True)
    winners = [each.variant for each in rows if each.task == "grid" and met(each)]
    print("target met on the grid by:", ", ".join(winners) or "none")
    if options.json:
        print(json.dumps([asdict(each) for each in rows]))


if __name__ == "__main__":
    main()
