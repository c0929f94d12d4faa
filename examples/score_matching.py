"""Score matching of an energy, with and without the Laplacian: without it, the best energy is flat.

Left and middle: arrows of the score learned from two Gaussians at (±1, 0), over the contours of the truth. With the
whole objective J = E[½‖s‖² + ∇·s] they point to the modes; with the squares alone, as where the Laplacian is
forgotten, the energy goes flat and nothing is left of them. Right: J, integrated on a grid, falls to minus half the
Fisher information of the data, which no model goes below; random projections (sliced) get there too.
"""

from __future__ import annotations

import argparse

import torch

import unigen as ug
from unigen.data.toy import two_gaussians
from unigen.nn.mlp import MLP
from unigen.objectives.score_matching import ScoreMatchingLoss
from unigen.objectives.score_of import score_of
from unigen.plots.field import plane_points, score_field
from unigen.plots.style import COLOURS, GREY, figure, style


class SquaresAlone(ScoreMatchingLoss):
    """½ ‖s‖², the loss of those who forget the Laplacian."""

    def terms(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Return ½ ‖s(x_i)‖²."""
        return 0.5 * score_of(self.program, x, context)[1].square().sum(1)


def main() -> None:
    """Train three energies by losses that are modules, and integrate J of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    steps, floor = parser.parse_args().steps, -9.879434
    torch.manual_seed(0)
    toy = two_gaussians(1.0, 0.1**0.5, features=2)
    at = plane_points((3.0, 2.0), (121, 81))
    p = toy.log_prob(at).softmax(0)  # the density's weights on the grid

    def j(program: ug.Program) -> float:
        return float(p @ ScoreMatchingLoss(program).terms(at).detach())

    print(f"J, the truth     {j(ug.Potential(lambda x: -toy.log_prob(x), 2)):9.4f}   expected {floor}")
    energies, curves, sliced = {}, {}, ug.SlicedScoreMatching()
    losses = {"whole": ScoreMatchingLoss, "sliced": lambda each: sliced.players(each)[0].loss}
    for name, make in {**losses, "squares alone": SquaresAlone}.items():
        program = energies[name] = ug.EnergyModel(2, energy=MLP(2, 1, hidden=(64, 64)))
        loss, curves[name] = make(program), []
        optimizer = torch.optim.Adam(program.parameters(), lr=5e-3)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(steps):
            optimizer.zero_grad()
            loss(toy.sample((256,))).backward()
            optimizer.step()
            decay.step()
            if step % 50 == 0:
                curves[name].append((step, j(program)))
        fisher = float(p @ program.score(at).square().sum(1))
        print(f"J, {name:13s} {j(program):9.4f}   at least {floor}   E‖s‖² {fisher:7.4f} of 19.758868")

    with style():
        fig = figure(11, 3.3)
        left, middle, right = fig.subplots(1, 3)
        options = {"half": (2.4, 1.7), "length": 0.02, "log_prob": toy.log_prob}
        score_field(left, energies["whole"].score, **options).set_title("score learned by ½‖s‖² + ∇·s")
        wrong = score_field(middle, energies["squares alone"].score, colour=COLOURS[1], **options)
        wrong.set_title("score learned by ½‖s‖² alone")
        for i, (name, curve) in enumerate(curves.items()):
            right.plot(*zip(*curve, strict=True), label=name, color=COLOURS[(0, 2, 1)[i]])
        right.axhline(floor, color=GREY, ls=":", label="−½ Fisher information")
        right.set(xlabel="step", ylabel="J, nats a squared unit", title="J of the model", ylim=(-11, 1))
        right.legend()
        fig.savefig("score_matching.png", dpi=110)


if __name__ == "__main__":
    main()
